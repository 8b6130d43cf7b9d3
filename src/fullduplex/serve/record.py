"""A conversation on disk, if the operator wants it: stereo FLAC (left the caller, right the machine) and events."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.errors import MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Pcm

__all__ = ["Recorder"]

_SOUND_FIELDS = ("audio", "delta")


class Recorder:
    """Writes `<name>.flac` (16 kHz) and `<name>.jsonl` (every message without its sound, with the second it fell in)."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open both files.

        Raises:
            MissingExtraError: soundfile is not installed.
        """
        try:
            soundfile: Any = import_module("soundfile")
        except ImportError as error:
            raise MissingExtraError("soundfile", "talk") from error
        folder.mkdir(parents=True, exist_ok=True)
        self._sound = soundfile.SoundFile(
            folder / f"{name}.flac", "w", samplerate=EAR_RATE_HZ, channels=2, format="FLAC"
        )
        self._events = (folder / f"{name}.jsonl").open("w", encoding="utf-8", errors="backslashreplace")
        self._samples = 0

    def sound(self, caller: Pcm, machine: Pcm) -> None:
        """One frame of both sides at EAR_RATE_HZ; the machine's as it was heard."""
        self._samples += caller.size
        self._sound.write(np.stack([caller, machine], axis=1))

    def message(self, sender: str, message: dict[str, Any]) -> None:
        """One message of `sender` ("client" or "server")."""
        sound = message.get("type") in ("input_audio_buffer.append", "response.output_audio.delta")
        plain = {k: v for k, v in message.items() if not (sound and k in _SOUND_FIELDS)}
        record = {"t_s": round(self._samples / EAR_RATE_HZ, 3), "from": sender, **plain}
        self._events.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish both files."""
        self._sound.close()
        self._events.close()

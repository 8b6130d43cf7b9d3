"""A conversation on disk, if the operator wants it: stereo FLAC (left the caller, right the machine) and events."""

import json
import logging
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from fullduplex.base.errors import ConfigError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Pcm

__all__ = ["Recorder", "check_folder"]

_LOG = logging.getLogger(__name__)
_SOUND_FIELDS = ("audio", "delta")


_FAILURES = (OSError, RuntimeError)  # soundfile's errors are RuntimeErrors


def check_folder(folder: Path) -> None:
    """Can conversations be kept in this folder? It is made if it is not there.

    Raises:
        MissingExtraError: soundfile is not installed.
        ConfigError: nothing can be written there.
    """
    _soundfile()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unusable(folder, error) from error


class Recorder:
    """Writes `<name>.flac` (16 kHz) and `<name>.jsonl` (every message without its sound, with the second it fell in).

    Where writing fails later, the log says so once and nothing more is recorded: the conversation goes on.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Open both files.

        Raises:
            MissingExtraError: soundfile is not installed.
            ConfigError: they cannot be written.
        """
        soundfile = _soundfile()
        self._folder = folder
        self._failed = False
        self._samples = 0
        with ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                events = (folder / f"{name}.jsonl").open("w", encoding="utf-8", errors="backslashreplace")
                self._events = opened.enter_context(events)
                self._sound: Any = soundfile.SoundFile(
                    folder / f"{name}.flac", "w", samplerate=EAR_RATE_HZ, channels=2, format="FLAC"
                )
            except _FAILURES as error:
                raise _unusable(folder, error) from error
            opened.pop_all()

    def sound(self, caller: Pcm, machine: Pcm) -> None:
        """One frame of both sides at EAR_RATE_HZ; the machine's as it was heard."""
        self._samples += caller.size
        if not self._failed:
            with self._going_on():
                self._sound.write(np.stack([caller, machine], axis=1))

    def message(self, sender: str, message: dict[str, Any]) -> None:
        """One message of `sender` ("client" or "server")."""
        if self._failed:
            return
        sound = message.get("type") in ("input_audio_buffer.append", "response.output_audio.delta")
        plain = {k: v for k, v in message.items() if not (sound and k in _SOUND_FIELDS)}
        record = {"t_s": round(self._samples / EAR_RATE_HZ, 3), "from": sender, **plain}
        with self._going_on():
            self._events.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish both files."""
        with self._going_on():
            self._sound.close()
        with self._going_on():
            self._events.close()

    @contextmanager
    def _going_on(self) -> Generator[None]:
        try:
            yield
        except _FAILURES as error:
            if not self._failed:
                _LOG.error("a recording in %s ends here (%s); its conversation goes on without it", self._folder, error)
            self._failed = True


def _soundfile() -> Any:
    try:
        return import_module("soundfile")
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error


def _unusable(folder: Path, error: Exception) -> ConfigError:
    why = getattr(error, "strerror", None) or str(error)
    return ConfigError(f"conversations cannot be kept in {folder}: {why}; name a folder that can be written (--record)")

"""Recordings for the keyword task: the catalogue's Piper voice says words in many ways, and other voices test it.

    OUT/{train,val,test}/WORD/NNN.wav     one synthetic speaker; another rendition, speed, loudness and noise each time
    OUT/others/{test}/WORD/NAME.wav       the same words as committed clips of four other synthetic speakers

The voice draws its own noise, so two runs make different recordings; the folder is the data. Everything else follows
the seed.
"""

import re
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.assets import store
from fullduplex.base.errors import InputError
from fullduplex.base.files import whole_file
from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ
from fullduplex.evaluate.clips import clip_names, load_clip
from fullduplex.numerics.resample import resample
from fullduplex.recipes.parts import open_lexicon
from fullduplex.speech.piper import PiperConfig, PiperVoice

__all__ = ["make_keywords", "write_wav"]

Pcm = NDArray[np.float32]

_SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.25)
_LEVELS_DB = (-35.0, -15.0)  # noise below the word


def make_keywords(
    out: Path,
    *,
    renditions: tuple[int, int, int] = (60, 10, 20),
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Say the words of the committed backchannel clips in many ways.

    Args:
        out: folder to fill; recordings that are there already stay.
        renditions: of each word, for training, choosing and testing.
        seed: decides speeds, shifts and noise.
        report: called with how many of how many recordings are there.

    Returns:
        The words, as folder names.

    Raises:
        AssetError: the voice is not installed. InputError: a number of renditions below 1.
    """
    if min(renditions) < 1:
        raise InputError(f"make_keywords got renditions {renditions}; expected 1 or more for each set")
    clips = [load_clip(name) for name in clip_names("backchannel")]
    texts = {_folder(clip.text): clip.text for clip in clips}
    folder, lexicon = store.path("piper-joe"), open_lexicon()
    voices = [
        PiperVoice(
            folder / "en_US-joe-medium.onnx", folder / "en_US-joe-medium.onnx.json", lexicon,
            PiperConfig(length_scale=speed),
        )
        for speed in _SPEEDS
    ]  # fmt: skip
    done, total = 0, len(texts) * sum(renditions)
    for word_index, (word, text) in enumerate(sorted(texts.items())):
        for part_index, (part, count) in enumerate(zip(("train", "val", "test"), renditions, strict=True)):
            for number in range(count):
                file = out / part / word / f"{number:03d}.wav"
                if not file.exists():
                    draw = np.random.default_rng([seed, word_index, part_index, number])
                    said = voices[int(draw.integers(len(voices)))].speak(text).pcm_N
                    write_wav(file, _varied(resample(said, VOICE_RATE_HZ, EAR_RATE_HZ), draw), EAR_RATE_HZ)
                done += 1
                if report is not None:
                    report(done, total)
    for clip in clips:
        write_wav(out / "others" / "test" / _folder(clip.text) / f"{clip.name}.wav", clip.pcm, EAR_RATE_HZ)
    return tuple(sorted(texts))


def write_wav(file: Path, pcm_N: Pcm, rate_hz: int) -> None:
    """One channel, 16 bits; the file appears whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as neighbour, wave.open(str(neighbour), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes((np.clip(pcm_N, -1, 1) * 32767).astype("<i2").tobytes())


def _varied(pcm_N: Pcm, draw: np.random.Generator) -> Pcm:
    """A little silence before, and noise over all of it."""
    padded = np.pad(pcm_N, (int(draw.integers(EAR_RATE_HZ // 20)), 0))
    level = float(np.sqrt(np.mean(np.square(padded)))) * 10 ** (float(draw.uniform(*_LEVELS_DB)) / 20)
    noise = draw.standard_normal(padded.size)
    return (padded + level * noise).astype(np.float32)


def _folder(text: str) -> str:
    return re.sub(r"[^a-z]+", "-", text.lower()).strip("-")

"""Keyword spotting on recordings in folders: which word is this, sample by sample?

    FOLDER/{train,val,test}/WORD/*.wav        16-bit WAV, one channel, all of one rate

The folders decide what is for testing; whoever fills them keeps speakers and renditions apart. `resampled` makes the same
task at half the sample rate, for the test of arXiv 2111.00396 and 2206.11893: train at 16 kHz, read at 8 kHz with steps
twice as long and no training.
"""

import dataclasses
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import FormatError, InputError
from fullduplex.numerics.resample import resample
from fullduplex.ssm.tasks.task import Examples, Task

__all__ = ["KEYWORD_SAMPLES", "read_examples", "read_keywords", "recordings_rate_hz", "resampled"]

F32 = NDArray[np.float32]

KEYWORD_SAMPLES = 4_000  # the loudest quarter of a second at 16 kHz: a short word


def read_keywords(folder: Path, *, num_samples: int = KEYWORD_SAMPLES) -> Task:
    """The recordings of a folder, cut or padded to one length, each at the same loudness.

    Args:
        folder: see the top of this file.
        num_samples: T; a longer recording keeps its loudest T samples.

    Raises:
        FormatError: a folder is missing or empty, or a file is no such WAV.
        InputError: a set knows another word than training does.
    """
    words = sorted(path.name for path in folder.glob("train/*") if path.is_dir())
    if len(words) < 2:
        raise FormatError(
            f"{folder} has {len(words)} words under train; expected folders train/WORD/*.wav of two or more"
        )
    parts = {part: read_examples(folder / part, words, num_samples=num_samples) for part in ("train", "val", "test")}
    return Task(
        name="keywords", goal="class", inputs=1, vocabulary=0, outputs=len(words), **parts,
        chance=1 / len(words), note=f"recordings: {', '.join(words)}",
    )  # fmt: skip


def read_examples(folder: Path, words: list[str], *, num_samples: int) -> Examples:
    """One set of recordings, `folder/WORD/*.wav`.

    Raises:
        FormatError: no recordings, or a file is no 16-bit mono WAV of the common rate.
        InputError: a word that is not in `words`, or a length below 1.
    """
    if num_samples < 1:
        raise InputError(f"got a length of {num_samples} samples; expected 1 or more")
    rows: list[F32] = []
    labels: list[int] = []
    rates: set[int] = set()
    for file in sorted(folder.glob("*/*.wav")):
        if file.parent.name not in words:
            raise InputError(f"{file} is of the word {file.parent.name!r}; training has {', '.join(words)}")
        pcm, rate_hz = _read(file)
        rates.add(rate_hz)
        rows.append(_fit(pcm, num_samples))
        labels.append(words.index(file.parent.name))
    if not rows or len(rates) > 1:
        raise FormatError(f"{folder} has {len(rows)} recordings of rates {sorted(rates)}; expected some, of one rate")
    x_NT1 = np.stack(rows)[..., None]
    lengths_N = np.full(len(rows), num_samples, dtype=np.int64)
    return Examples(x=x_NT1, y=np.array(labels, dtype=np.int64), lengths_N=lengths_N)


def recordings_rate_hz(folder: Path) -> int:
    """The sample rate of `folder/WORD/*.wav`. Raises FormatError: there is none, or it cannot be read."""
    files = sorted(folder.glob("*/*.wav"))
    if not files:
        raise FormatError(f"{folder} has no recordings WORD/*.wav")
    return _read(files[0])[1]


def resampled(examples: Examples, rate_hz: int, new_rate_hz: int) -> Examples:
    """The same recordings at another sample rate, low-passed first."""
    rows = [resample(row[:, 0], rate_hz, new_rate_hz) for row in examples.x]
    length = min(row.size for row in rows)
    x_NT1 = np.stack([row[:length] for row in rows])[..., None].astype(np.float32)
    return dataclasses.replace(examples, x=x_NT1, lengths_N=np.full(len(rows), length, dtype=np.int64))


def _read(file: Path) -> tuple[F32, int]:
    try:
        with wave.open(str(file), "rb") as sound:
            if sound.getsampwidth() != 2 or sound.getnchannels() != 1:
                raise FormatError(
                    f"{file} has {sound.getnchannels()} channels of {8 * sound.getsampwidth()} bits; give 16-bit mono"
                )
            content, rate_hz = sound.readframes(sound.getnframes()), sound.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise FormatError(f"{file} cannot be read ({error}); give 16-bit mono WAV files") from error
    if not content:
        raise FormatError(f"{file} holds no samples")
    return (np.frombuffer(content, dtype="<i2") / 32768).astype(np.float32), rate_hz


def _fit(pcm: F32, num_samples: int) -> F32:
    if pcm.size > num_samples:
        energy = np.concatenate([[0.0], np.cumsum(np.square(pcm, dtype=np.float64))])
        start = int(np.argmax(energy[num_samples:] - energy[:-num_samples]))
        pcm = pcm[start : start + num_samples]
    level = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))
    out = np.zeros(num_samples, dtype=np.float32)
    out[: pcm.size] = pcm / max(level, 1e-4)
    return out

"""Figures of sounds and of detections: pure functions, 16 kHz unless a rate is given.

Axes: N samples, F frames of 512 samples, K taps.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES

__all__ = [
    "active_frames",
    "attenuation_db",
    "delay_samples",
    "onset_of",
    "onsets",
    "sdr_db",
    "shifted",
    "steadiness_db",
    "word_errors",
]

Pcm = NDArray[np.float32]

_MASK_TAPS = 160  # 10 ms: what a canceller may do to a voice without being charged for it
_MASK_LEAD = 32


def delay_samples(heard: Pcm, sent: Pcm, *, most: int) -> int:
    """How much later `sent` lies in `heard`, -most to most samples, by the peak of their cross-correlation."""
    size = 1 << (heard.size + sent.size).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size))
    peak = np.fft.irfft(product, size)
    lags = np.concatenate([peak[-most:], peak[: most + 1]])
    return int(np.argmax(np.abs(lags))) - most


def shifted(pcm: Pcm, delay: int, length: int) -> Pcm:
    """`pcm` brought forward by `delay` samples (backward if negative), cut or filled with silence to `length`."""
    moved = pcm[delay:] if delay >= 0 else np.concatenate([np.zeros(-delay, np.float32), pcm])
    return np.concatenate([moved[:length], np.zeros(max(length - moved.size, 0), np.float32)])


def attenuation_db(before: Pcm, after: Pcm) -> float:
    """By how much less power there is in `after`."""
    powers = (float(np.mean(np.square(x, dtype=np.float64))) for x in (before, after))
    return 10 * float(np.log10((next(powers) + 1e-14) / (next(powers) + 1e-14)))


def steadiness_db(sent: Pcm, heard: Pcm) -> float:
    """How far the difference of two recordings lies below the first in the worst second; about 0 if one has slipped."""
    starts = range(0, sent.size - EAR_RATE_HZ + 1, EAR_RATE_HZ)
    seconds = [slice(start, start + EAR_RATE_HZ) for start in starts]
    return min(attenuation_db(sent[second], sent[second] - heard[second]) for second in seconds)


def active_frames(probability_F: Sequence[float], believed_F: Sequence[bool], *, enter: float, run: int) -> list[bool]:
    """In which frames the detector says that somebody speaks: after `run` believed frames at `enter` in a row."""
    active: list[bool] = []
    count = 0
    for probability, believed in zip(probability_F, believed_F, strict=True):
        count = count + 1 if believed and probability >= enter else 0
        active.append(count >= run or (count > 0 and bool(active) and active[-1]))
    return active


def onsets(active_F: Sequence[bool]) -> list[int]:
    """Frames in which speech begins."""
    pairs = zip([False, *active_F], active_F, strict=False)
    return [i for i, (before, now) in enumerate(pairs) if now and not before]


def onset_of(active_F: Sequence[bool], start: int, end: int) -> tuple[int | None, bool]:
    """When a stretch of speech [start, end) in samples is noticed.

    Returns: the first frame that ends after `start`, begins before `end` and is active; and whether the detector was
    active before, so that the answer says nothing.
    """
    first, last = start // FRAME_SAMPLES, (end - 1) // FRAME_SAMPLES
    already = first > 0 and active_F[first - 1]
    found = next((i for i in range(first, min(last + 1, len(active_F))) if active_F[i]), None)
    return found, already


def sdr_db(heard: Pcm, clean: Pcm, *, first_s: float | None = None) -> float:
    """Power of the voice in `heard` over that of everything else there, as in BSS Eval, with a filter of 10 ms.

    Args:
        heard: (N,) voice and what else is left.
        clean: (N,) the voice, aligned to some milliseconds.
        first_s: rate only so much of the beginning (the filter is fitted to the whole).
    """
    padded = np.concatenate([np.zeros(_MASK_TAPS - 1 - _MASK_LEAD), clean, np.zeros(_MASK_LEAD)])
    shifts_NK = sliding_window_view(padded, _MASK_TAPS).astype(np.float64)
    gram_KK = shifts_NK.T @ shifts_NK
    gram_KK += 1e-9 * np.trace(gram_KK) / _MASK_TAPS * np.eye(_MASK_TAPS)
    voice = shifts_NK @ np.linalg.solve(gram_KK, shifts_NK.T @ heard.astype(np.float64))
    stop = clean.size if first_s is None else int(first_s * EAR_RATE_HZ)
    rest = (heard - voice)[:stop]
    return 10 * float(np.log10((np.sum(voice[:stop] ** 2) + 1e-12) / (np.sum(rest**2) + 1e-12)))


def word_errors(said: Sequence[str], understood: Sequence[str]) -> int:
    """Substitutions, deletions and insertions of the cheapest alignment."""
    row = list(range(len(understood) + 1))
    for i, word in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(understood, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]

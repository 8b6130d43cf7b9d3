"""Speech features before and after an overlap (Full-Duplex-Bench v1.5): rate, loudness, pitch, sudden cut-offs.

UTMOSv2, the naturalness model of the benchmark, is not here. Pitch is found by autocorrelation, not by Praat: means are
comparable between our own runs, not with published ones.

Axes: N samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.takeover import extent
from fullduplex.evaluate.timing.spans import Word

__all__ = [
    "PairedTest",
    "intensity_db",
    "paired_test",
    "pitch_hz",
    "split_time_s",
    "sudden_cutoffs",
    "words_per_minute",
]

Pcm = NDArray[np.float32]
_CUTOFF_FRAME_S, _CUTOFF_DB, _MARGIN_DB, _HISTORY = 0.03, -18.0, 6.0, 30


def words_per_minute(words: Sequence[Word]) -> float:
    """Words over the time from the first one's start to the last one's end; NaN when that is no time."""
    span = extent(words)
    return len(words) / ((span[1] - span[0]) / 60) if span and span[1] > span[0] else math.nan


def split_time_s(overlap_end_s: float, words: Sequence[Word]) -> float:
    """Where "after" begins: at the start of the word under way, or of the next one; the last word's end after all."""
    timed = [(w.start_s, w.end_s) for w in words if w.start_s is not None and w.end_s is not None]
    for start, end in sorted(timed):
        if overlap_end_s < end:
            return start
    return max((end for _, end in timed), default=overlap_end_s)


def sudden_cutoffs(pcm_N: Pcm, rate_hz: int) -> tuple[float, ...]:
    """Times (s) at which the level falls by 18 dB or more from one 30 ms frame to the next.

    Only from a frame at least 6 dB above the 10th percentile of the last 30 levels: the end of a sentence in quiet is none.
    """
    hop = int(rate_hz * _CUTOFF_FRAME_S)
    if hop < 1:
        raise InputError(f"rate_hz is {rate_hz}; expected at least 34")
    levels_db = _levels_db(pcm_N, hop)
    found: list[float] = []
    for i in range(1, levels_db.size):
        floor_db = float(np.percentile(levels_db[max(1, i + 1 - _HISTORY) : i + 1], 10))
        if levels_db[i] - levels_db[i - 1] <= _CUTOFF_DB and levels_db[i - 1] >= floor_db + _MARGIN_DB:
            found.append(i * _CUTOFF_FRAME_S)
    return tuple(found)


def _levels_db(pcm_N: Pcm, hop: int) -> NDArray[np.float64]:
    count = pcm_N.size // hop
    power = np.mean(np.square(pcm_N[: count * hop].reshape(count, hop), dtype=np.float64), axis=1)
    return 20 * np.log10(np.sqrt(power) + 1e-10)


def intensity_db(pcm_N: Pcm, rate_hz: int) -> tuple[float, float]:
    """(mean, standard deviation with n - 1) of the level in 10 ms frames above -60 dBFS; NaN where there are too few."""
    levels_db = _levels_db(pcm_N, max(rate_hz // 100, 1))
    return _mean_sd(levels_db[levels_db > -60])


def pitch_hz(pcm_N: Pcm, rate_hz: int, *, low_hz: float = 60.0, high_hz: float = 400.0) -> tuple[float, float]:
    """(mean, standard deviation with n - 1) of the fundamental over voiced 40 ms frames; NaN where there are too few.

    A frame is voiced when its normalised autocorrelation has a peak above 0.6 between the two limits.
    """
    size, hop = int(0.04 * rate_hz), int(0.01 * rate_hz)
    shortest, longest = max(int(rate_hz / high_hz), 2), int(rate_hz / low_hz)
    found: list[float] = []
    for start in range(0, pcm_N.size - size + 1, hop):
        frame = pcm_N[start : start + size].astype(np.float64)
        frame -= frame.mean()
        power = float(frame @ frame)
        if power / size < 1e-6:
            continue
        spectrum = np.fft.rfft(frame, 2 * size)
        correlation = np.fft.irfft(spectrum * np.conj(spectrum))[: longest + 2]
        lags = np.arange(correlation.size)
        # Fewer products overlap at longer lags: divide by their number, or every pitch is read an octave high.
        shape = correlation / power * size / (size - lags)
        if shape[shortest : longest + 1].max(initial=0.0) > 0.6:
            found.append(rate_hz / _peak(shape, _first_peak(shape, shortest, longest)))
    return _mean_sd(np.asarray(found))


def _first_peak(shape: NDArray[np.float64], shortest: int, longest: int) -> int:
    """The shortest lag with a summit nearly as high as the highest: whole multiples of a period correlate as well."""
    inside = shape[shortest : longest + 1]
    summit = (inside >= shape[shortest - 1 : longest]) & (inside >= shape[shortest + 1 : longest + 2])
    high = np.flatnonzero(summit & (inside >= 0.9 * inside.max()))
    return shortest + int(high[0] if high.size else np.argmax(inside))


def _peak(values: NDArray[np.float64], at: int) -> float:
    """The summit of the parabola through three points."""
    left, middle, right = values[at - 1], values[at], values[at + 1]
    curve = left - 2 * middle + right
    return at + (0.5 * (left - right) / curve if curve < 0 else 0.0)


def _mean_sd(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = float(values.mean()) if values.size else math.nan
    return mean, float(values.std(ddof=1)) if values.size > 1 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Student's t of paired differences, and its two-sided probability."""

    mean_difference: float
    t: float
    num_pairs: int
    p: float


def paired_test(before: Sequence[float], after: Sequence[float]) -> PairedTest:
    """Do the pairs differ? Pairs with a NaN are left out; fewer than two, or no spread, give NaN.

    Raises:
        InputError: sequences of different lengths.
    """
    if len(before) != len(after):
        raise InputError(f"{len(before)} values before and {len(after)} after; expected pairs")
    difference = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    difference = difference[np.isfinite(difference)]
    mean, sd = _mean_sd(difference)
    if difference.size < 2 or not sd > 0:
        return PairedTest(mean_difference=mean, t=math.nan, num_pairs=int(difference.size), p=math.nan)
    t = mean / (sd / math.sqrt(difference.size))
    return PairedTest(mean_difference=mean, t=t, num_pairs=int(difference.size), p=_student_p(t, difference.size - 1))


def _student_p(t: float, freedom: int) -> float:
    """Two-sided, by Simpson's rule on the density in theta = atan(t / sqrt(freedom)): smooth and bounded."""
    theta = np.linspace(0.0, math.atan(abs(t) / math.sqrt(freedom)), 2001)
    density = np.cos(theta) ** (freedom - 1)
    step = theta[1] - theta[0]
    area = float(step / 3 * (density[0] + 4 * density[1:-1:2].sum() + 2 * density[2:-1:2].sum() + density[-1]))
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return min(max(1.0 - 2 * constant * area, 0.0), 1.0)

"""How far back a memory reaches, in samples and seconds, instead of a step nobody can picture.

The matrices of a family have a time of their own: a window is 1 long, a fading memory falls by e in time 1 or 2. The
step Delta says how much of it one sample is, and nothing else. So "remember 2 s" and "decay over 30 s" each fix it.

A window method is blind beyond its window: halve the length it needs and it fails completely. A fading one only gets
less exact (arXiv 2206.12037, section 4.3 and its delay task).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import KINDS, family

__all__ = ["Timescale", "decay_s", "decay_samples", "remember_s", "remember_samples"]

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timescale:
    """A family and the step that one sample takes in its time.

    Args:
        kind: one of `fullduplex.ssm.hippo.families.KINDS`.
        step: Delta > 0.
    """

    kind: str
    step: float

    def __post_init__(self) -> None:
        family(self.kind)
        if not 0 < self.step < math.inf:
            raise InputError(f"a timescale of {self.kind} got a step of {self.step}; expected a number > 0")

    @property
    def span_samples(self) -> float:
        """The length of the window, or the time in which the past fades by e."""
        entry = family(self.kind)
        span = entry.window or entry.fade
        if span is None:
            raise InputError(f"{self.kind} has no single timescale: its modes fade at different speeds")
        return span / self.step

    def span_s(self, rate_hz: float) -> float:
        """`span_samples` in seconds, at a sample rate."""
        return self.span_samples / _positive("a sample rate", rate_hz)

    def times(self, ages_samples_T: ArrayLike) -> F64:
        """Ages in samples, 0 for the newest, as times of the matrices: the middle of the step a sample was held."""
        ages_T = np.asarray(ages_samples_T, dtype=np.float64)
        if ages_T.ndim != 1 or not np.all(np.isfinite(ages_T)) or np.any(ages_T < 0):
            raise InputError(f"ages of shape {ages_T.shape} or below 0 or not finite; expected (T,) of samples >= 0")
        return (ages_T + 0.5) * self.step


def remember_samples(kind: str, span_samples: float) -> Timescale:
    """A window that holds the last `span_samples` samples and nothing older.

    Raises:
        InputError: the kind has no window, or the span is not a number of 1 or more.
    """
    window = family(kind).window
    if window is None:
        raise InputError(f"{kind} fades and has no window; use decay_samples, or one of {', '.join(_having('window'))}")
    return Timescale(kind=kind, step=window / _span(span_samples))


def remember_s(kind: str, span_s: float, rate_hz: float) -> Timescale:
    """`remember_samples` in seconds: "remember 2 s" is `remember_s("legt", 2, rate_hz)`."""
    return remember_samples(kind, _positive("a span", span_s) * _positive("a sample rate", rate_hz))


def decay_samples(kind: str, span_samples: float) -> Timescale:
    """A memory whose weight falls by e every `span_samples` samples.

    Raises:
        InputError: the kind does not fade, or the span is not a number of 1 or more.
    """
    fade = family(kind).fade
    if fade is None:
        raise InputError(f"{kind} does not fade as one; use remember_samples, or one of {', '.join(_having('fade'))}")
    return Timescale(kind=kind, step=fade / _span(span_samples))


def decay_s(kind: str, span_s: float, rate_hz: float) -> Timescale:
    """`decay_samples` in seconds: "decay over 30 s" is `decay_s("legs", 30, rate_hz)`."""
    return decay_samples(kind, _positive("a span", span_s) * _positive("a sample rate", rate_hz))


def _having(what: str) -> list[str]:
    return [kind for kind, entry in KINDS.items() if getattr(entry, what) is not None]


def _span(span_samples: float) -> float:
    if not 1 <= span_samples < math.inf:
        raise InputError(f"a span of {span_samples} samples; expected 1 or more")
    return span_samples


def _positive(what: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise InputError(f"{what} of {value}; expected a number > 0")
    return value

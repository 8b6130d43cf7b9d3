"""Spans of speech and words with times: what every measure of this room works on.

A span is (start, end) in seconds, start < end. The spans of one side are in time order and do not overlap.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fullduplex.base.errors import InputError

__all__ = ["Recording", "Side", "Span", "Word", "checked", "clipped", "gaps_between", "merged", "shared", "total_s"]

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word. A recogniser may not know when a word began or ended: None."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a conversation: when it was audible, and what it said if that is known.

    Raises:
        InputError: a span is not a span, or spans are out of order or overlap.
    """

    spans: tuple[Span, ...] = ()
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        checked(self.spans)

    @property
    def text(self) -> str:
        """All words, with blanks between."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A conversation of two sides on one clock, from 0 to `duration_s`.

    Raises:
        InputError: a span or word lies outside the recording, or the duration is not a positive number.
    """

    name: str
    user: Side
    system: Side
    duration_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise InputError(f"{self.name}: duration_s is {self.duration_s}; expected a positive number of seconds")
        for who, side in (("user", self.user), ("system", self.system)):
            if side.spans and (side.spans[0][0] < 0 or side.spans[-1][1] > self.duration_s + 1e-6):
                raise InputError(
                    f"{self.name}: {who} spans reach from {side.spans[0][0]} to {side.spans[-1][1]} s; expected them "
                    f"inside 0 to {self.duration_s} s"
                )
            for word in side.words:
                times = [time for time in (word.start_s, word.end_s) if time is not None]
                if any(not math.isfinite(time) or not 0 <= time <= self.duration_s + 1e-6 for time in times):
                    raise InputError(
                        f"{self.name}: {who} word {word.text!r} is at {word.start_s} to {word.end_s} s; expected times "
                        f"inside 0 to {self.duration_s} s"
                    )


def checked(spans: Sequence[Span]) -> Sequence[Span]:
    """`spans`, if they are finite, in order and do not overlap.

    Raises:
        InputError: naming the first that is wrong.
    """
    last = -math.inf
    for number, (start, end) in enumerate(spans):
        if not (math.isfinite(start) and math.isfinite(end) and start < end):
            raise InputError(f"span {number} is ({start}, {end}); expected finite seconds with start < end")
        if start < last:
            raise InputError(
                f"span {number} begins at {start} s, before {last} s, the end of the one before; sort them"
            )
        last = end
    return spans


def merged(spans: Iterable[Span], gap_s: float = 0.0) -> tuple[Span, ...]:
    """Spans in any order as spans in order; silences of at most `gap_s` between them are closed."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start - out[-1][1] <= gap_s:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def shared(first: Sequence[Span], second: Sequence[Span]) -> tuple[Span, ...]:
    """Where both are speaking. Two passes in step: linear in the number of spans."""
    out: list[Span] = []
    i = j = 0
    while i < len(first) and j < len(second):
        low, high = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if low < high:
            out.append((low, high))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def clipped(spans: Iterable[Span], low_s: float, high_s: float) -> tuple[Span, ...]:
    """The parts of the spans inside [low_s, high_s]."""
    cut = ((max(start, low_s), min(end, high_s)) for start, end in spans)
    return tuple((start, end) for start, end in cut if start < end)


def gaps_between(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The silences between consecutive spans."""
    return tuple((before[1], after[0]) for before, after in pairwise(spans) if before[1] < after[0])


def total_s(spans: Iterable[Span]) -> float:
    """Seconds in all spans together."""
    return math.fsum(end - start for start, end in spans)

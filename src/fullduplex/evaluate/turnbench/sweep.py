"""TurnBench's sweep: frame probabilities to committed times at every threshold, and the operating point.

Axes: T frames of one speaker; frame i covers [i / rate, (i + 1) / rate).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.evaluate.turnbench.floor import Anchor
from fullduplex.evaluate.turnbench.gold import Masked
from fullduplex.evaluate.turnbench.score import TaskScore, score_task, summed

__all__ = ["SweepItem", "SweepPoint", "commit_times", "operating_point", "sweep", "thresholds"]

NUM_QUANTILES, REFRACTORY_S, FP_BUDGET = 512, 2.0, 0.1

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepItem:
    """One conversation: gold of one task, and each speaker's probability by frame.

    Raises:
        InputError: a probability outside 0 to 1 or NaN, or other than floor(duration * rate) frames.
    """

    positives: Sequence[Anchor]
    negatives: Sequence[Masked]
    excluded: Sequence[Masked]
    probabilities: Mapping[int, ArrayLike]
    duration_s: float
    rate_hz: float

    def __post_init__(self) -> None:
        expected = floor(self.duration_s * self.rate_hz)
        for speaker in (1, 2):
            values_T = self.values(speaker)
            if values_T.shape != (expected,):
                raise InputError(
                    f"speaker {speaker} has {values_T.size} frames; expected {expected}: {self.duration_s} s at "
                    f"{self.rate_hz} Hz, cut down to whole frames"
                )
            if not ((values_T >= 0) & (values_T <= 1)).all():
                raise InputError(f"speaker {speaker}: probabilities must be numbers from 0 to 1")

    def values(self, speaker: int) -> F64:
        """(T,) probabilities of one speaker."""
        if speaker not in self.probabilities:
            raise InputError(f"no probabilities for speaker {speaker}; expected 1 and 2")
        return np.asarray(self.probabilities[speaker], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """What one threshold gives."""

    threshold: float
    score: TaskScore


def thresholds(items: Sequence[SweepItem]) -> F64:
    """512 quantiles of all scores above 0, together with 0.01, 0.02 … 0.99; ascending, each once."""
    grid = np.round(0.01 * np.arange(1, 100), 2).astype(np.float64)
    everything = [item.values(speaker) for item in items for speaker in (1, 2)]
    pooled = np.concatenate(everything) if everything else np.zeros(0)
    pooled = pooled[pooled > 0]
    if not pooled.size:
        return grid
    return np.unique(np.concatenate([np.quantile(pooled, np.linspace(0, 1, NUM_QUANTILES)), grid])).astype(np.float64)


def commit_times(
    values_T: ArrayLike, rate_hz: float, threshold: float, *, refractory_s: float = REFRACTORY_S
) -> tuple[float, ...]:
    """A commit at every rising edge over the threshold, stamped with its frame's end.

    An edge within `refractory_s` of the last *commit* is dropped; a dropped edge does not prolong the wait.
    """
    above_T = np.asarray(values_T, np.float64) > threshold
    edges = np.flatnonzero(above_T & ~np.concatenate([[False], above_T[:-1]]))
    wait = max(1, round(refractory_s * rate_hz))
    times: list[float] = []
    last = -wait
    for edge in edges.tolist():
        if edge - last >= wait:
            times.append((edge + 1) / rate_hz)
            last = edge
    return tuple(times)


def sweep(items: Sequence[SweepItem], candidates: Sequence[float] | None = None) -> list[SweepPoint]:
    """Score every threshold over all conversations."""
    if not items:
        raise InputError("nothing to sweep; expected at least one conversation")
    levels = thresholds(items).tolist() if candidates is None else candidates
    points: list[SweepPoint] = []
    for level in levels:
        scores = [
            score_task(
                item.positives,
                item.negatives,
                {speaker: commit_times(item.values(speaker), item.rate_hz, level) for speaker in (1, 2)},
                item.excluded,
            )
            for item in items
        ]
        points.append(SweepPoint(threshold=float(level), score=summed(scores)))
    return points


def operating_point(points: Sequence[SweepPoint], *, fp_budget: float = FP_BUDGET) -> SweepPoint | None:
    """The highest recall whose false-positive rate keeps to the budget; the lowest such threshold of equals; or None."""
    allowed = [point for point in points if point.score.fp_rate <= fp_budget]
    return max(allowed, key=lambda point: point.score.recall, default=None)

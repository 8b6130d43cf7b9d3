"""TurnBench's scorer: committed times against gold, one task at a time.

Positive at t: a prediction in [t - 0.25, min(t + 3.0, the same speaker's next event)]. In order of time each positive
claims the earliest prediction nobody has claimed. Negative span: one false positive at most, when an unclaimed prediction
lies in [start - 0.25, end] and in no positive window. What falls into excluded spans of that speaker does not exist.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.evaluate.turnbench.floor import Anchor, Gold
from fullduplex.evaluate.turnbench.gold import Masked

__all__ = ["TAU_MAX_S", "TAU_PRE_S", "Predictions", "TaskScore", "score_conversation", "score_task", "summed"]

TAU_PRE_S, TAU_MAX_S = 0.25, 3.0
MAX_TEST_FP_RATE = 0.15  # a submission above it is refused on the hidden test set

# speaker (1 or 2) -> committed times in seconds, strictly increasing
Predictions = Mapping[int, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """Counts, and the latency of every true positive in order of time."""

    tp: int = 0
    fn: int = 0
    fp: int = 0
    tn: int = 0
    latencies_s: tuple[float, ...] = ()

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN without positives."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else nan

    @property
    def fp_rate(self) -> float:
        """FP / (FP + TN); NaN without negatives."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else nan

    def latency_s(self, percentile: float) -> float:
        """A percentile (0 to 100) of the latencies; NaN without any."""
        return float(np.percentile(self.latencies_s, percentile)) if self.latencies_s else nan

    def figures(self) -> dict[str, float]:
        """Counts, rates and latencies by name."""
        percentiles = {f"latency_s_p{p}": self.latency_s(p) for p in (10, 50, 90)}
        counts = {"tp": float(self.tp), "fn": float(self.fn), "fp": float(self.fp), "tn": float(self.tn)}
        return {"recall": self.recall, "fp_rate": self.fp_rate, **percentiles, **counts}


def summed(scores: Sequence[TaskScore]) -> TaskScore:
    """Several conversations as one."""
    return TaskScore(
        tp=sum(score.tp for score in scores),
        fn=sum(score.fn for score in scores),
        fp=sum(score.fp for score in scores),
        tn=sum(score.tn for score in scores),
        latencies_s=tuple(value for score in scores for value in score.latencies_s),
    )


class _Ledger:
    """One speaker's predictions, each to be claimed once."""

    def __init__(self, times_s: Sequence[float], excluded: Sequence[Masked]) -> None:
        self._times_s = [t for t in times_s if not any(span.start_s <= t <= span.end_s for span in excluded)]
        self._claimed: set[int] = set()
        self._windows: list[tuple[float, float]] = []

    def _free(self, low_s: float, high_s: float) -> list[int]:
        begin, end = bisect_left(self._times_s, low_s), bisect_right(self._times_s, high_s)
        return [index for index in range(begin, end) if index not in self._claimed]

    def claim(self, low_s: float, high_s: float) -> float | None:
        """The earliest free prediction of a positive's window."""
        self._windows.append((low_s, high_s))
        free = self._free(low_s, high_s)
        if not free:
            return None
        self._claimed.add(free[0])
        return self._times_s[free[0]]

    def fires(self, low_s: float, high_s: float) -> bool:
        """Is there a free prediction that no positive's window excuses?"""
        return any(
            not any(low <= self._times_s[index] <= high for low, high in self._windows)
            for index in self._free(low_s, high_s)
        )


def score_task(
    positives: Sequence[Anchor], negatives: Sequence[Masked], predictions: Predictions, excluded: Sequence[Masked] = ()
) -> TaskScore:
    """Score one task of one conversation.

    Raises:
        InputError: a speaker's times are not strictly increasing, not finite, or the speaker is not 1 or 2.
    """
    ledgers = {
        speaker: _Ledger(_checked(predictions.get(speaker, ()), speaker), [m for m in excluded if m.speaker == speaker])
        for speaker in (1, 2)
    }
    if not set(predictions) <= {1, 2}:
        raise InputError(f"predictions are for speakers {sorted(predictions)}; expected 1 and 2")
    anchors = {who: sorted(anchor.time_s for anchor in positives if anchor.speaker == who) for who in (1, 2)}
    latencies_s: list[float] = []
    for anchor in sorted(positives, key=lambda found: found.time_s):
        own = anchors[anchor.speaker]
        following = bisect_right(own, anchor.time_s)
        deadline_s = min(anchor.time_s + TAU_MAX_S, own[following] if following < len(own) else inf)
        time_s = ledgers[anchor.speaker].claim(anchor.time_s - TAU_PRE_S, deadline_s)
        if time_s is not None:
            latencies_s.append(time_s - anchor.time_s)
    false = sum(ledgers[span.speaker].fires(span.start_s - TAU_PRE_S, span.end_s) for span in negatives)
    return TaskScore(
        tp=len(latencies_s),
        fn=len(positives) - len(latencies_s),
        fp=false,
        tn=len(negatives) - false,
        latencies_s=tuple(latencies_s),
    )


def _checked(times_s: Sequence[float], speaker: int) -> Sequence[float]:
    last = -inf
    for time_s in times_s:
        if not (last < time_s < inf):
            raise InputError(
                f"speaker {speaker}: {time_s} s follows {last} s; expected finite, strictly increasing commit times"
            )
        last = time_s
    return times_s


def score_conversation(gold: Gold, eot: Predictions, interruption: Predictions) -> tuple[TaskScore, TaskScore]:
    """(end of turn, interruption) of one conversation."""
    return (
        score_task(gold.eot_positives, gold.eot_negatives, eot, gold.eot_excluded),
        score_task(gold.int_positives, gold.int_negatives, interruption, gold.int_excluded),
    )

"""The scorer of the Numenta Anomaly Benchmark (Lavin and Ahmad, arXiv:1510.03336), and a detector to check it with.

A detection inside a labelled window earns the more the earlier it comes; the earliest one counts. A detection outside
costs, less so right after a window; a window without any costs most. Scores are sums over all files, mapped so that
silence is 0 and the first row of every window is 100.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import InputError

__all__ = [
    "PROFILES",
    "LabelledRun",
    "Profile",
    "best_threshold",
    "probation_rows",
    "score_detections",
    "windowed_gaussian",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a detection is worth: right, false, missed."""

    right: float = 1.0
    false: float = 0.11
    missed: float = 1.0


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(),
    "reward_low_FP_rate": Profile(false=0.22),
    "reward_low_FN_rate": Profile(missed=2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRun:
    """A detector's scores for one file, and where the anomalies are.

    Args:
        scores_T: anomaly score of every row, in [0, 1].
        windows: first and last row of every labelled window, in order, not overlapping.
    """

    scores_T: Float64Array
    windows: Sequence[tuple[int, int]]

    def __post_init__(self) -> None:
        ends = [edge for window in self.windows for edge in window]
        if (
            self.scores_T.ndim != 1
            or ends != sorted(ends)
            or (ends and not 0 <= ends[0] <= ends[-1] < self.scores_T.size)
        ):
            raise InputError(
                f"windows {list(self.windows)} of {self.scores_T.shape} scores; expected ordered row ranges"
            )
        if np.isnan(self.scores_T).any():
            raise InputError("a score is missing")


def probation_rows(num_rows: int) -> int:
    """Rows at the start of a file in which nothing is scored: 15 %, at most 750."""
    return int(min(math.floor(0.15 * num_rows), 0.15 * 5000))


def score_detections(runs: Sequence[LabelledRun], threshold: float, profile: Profile) -> float:
    """The benchmark's score at one threshold: 0 for silence, 100 for the first row of every window and nothing else.

    Raises:
        InputError: there is no labelled window, so the scale has no length.
    """
    total_windows = sum(len(run.windows) for run in runs)
    if not total_windows:
        raise InputError("no labelled window in any file; the score has no scale")
    raw = 0.0
    for run in runs:
        worth_T, window_T = _worth(run, profile)
        flagged = run.scores_T >= threshold
        flagged[: probation_rows(run.scores_T.size)] = False
        raw += float(worth_T[flagged & (window_T < 0)].sum())
        for index in range(len(run.windows)):
            hits = worth_T[flagged & (window_T == index)]
            raw += float(hits.max()) if hits.size else -profile.missed
    silence, perfect = -profile.missed * total_windows, profile.right * total_windows
    return 100 * (raw - silence) / (perfect - silence)


def best_threshold(runs: Sequence[LabelledRun], profile: Profile) -> tuple[float, float]:
    """The threshold with the best score, and that score: the benchmark's own rule, chosen on the very files it scores.

    That flatters every detector; a threshold for use has to come from other data.
    """
    changes: dict[float, float] = {}
    for run in runs:
        worth_T, window_T = _worth(run, profile)
        first = probation_rows(run.scores_T.size)
        for index in range(-1, len(run.windows)):
            rows = np.flatnonzero(window_T == index)
            rows = rows[rows >= first]
            rows = rows[np.argsort(-run.scores_T[rows], kind="stable")]
            reached = -profile.missed
            for row in rows:
                gain = worth_T[row] if index < 0 else max(0.0, worth_T[row] - reached)
                reached = max(reached, worth_T[row])
                if gain:
                    changes[float(run.scores_T[row])] = changes.get(float(run.scores_T[row]), 0.0) + float(gain)
    thresholds = np.array(sorted(changes, reverse=True))
    gains = np.cumsum([changes[value] for value in thresholds])
    if not gains.size or gains.max() <= 0:
        return math.nextafter(1.0, 2.0), score_detections(runs, math.inf, profile)
    chosen = float(thresholds[int(gains.argmax())])
    return chosen, score_detections(runs, chosen, profile)


def windowed_gaussian(values_T: Float64Array, window: int = 6400, stride: int = 100) -> Float64Array:
    """The benchmark's baseline: one minus the Gaussian tail of a value, given the values before it; shape (T,).

    Args:
        values_T: the series.
        window: values that mean and deviation come from; until it is full, all values so far.
        stride: values after which a full window moves on.

    The published results were written with 12 digits, so that a score of 1 - 4e-13 counts as 1: round to 12 decimals
    to get the published figures.
    """
    scores_T = np.zeros(values_T.size)
    kept = values_T[:0]
    waiting = 0
    mean, deviation = 0.0, 1.0
    for row, value in enumerate(values_T):
        if row:
            scores_T[row] = 1 - 0.5 * math.erfc(abs(value - mean) / deviation / math.sqrt(2))
        if row < window:
            kept = values_T[: row + 1]
        else:
            waiting += 1
            if waiting < stride:
                continue
            waiting = 0
            kept = values_T[row + 1 - window : row + 1]
        mean, deviation = float(kept.mean()), float(kept.std()) or 1e-6
    return scores_T


def _worth(run: LabelledRun, profile: Profile) -> tuple[Float64Array, Int64Array]:
    """What a detection at every row is worth, and the window it lies in (-1: none)."""
    count = run.scores_T.size
    worth_T, window_T = np.full(count, -profile.false), np.full(count, -1, np.int64)
    for index, (first, last) in enumerate(run.windows):
        width = last - first + 1
        inside = np.arange(first, last + 1)
        worth_T[inside] = _sigmoid(-(last - inside + 1) / width) / _sigmoid(np.array(-1.0)) * profile.right
        window_T[inside] = index
        until = run.windows[index + 1][0] if index + 1 < len(run.windows) else count
        after = np.arange(last + 1, until)
        # A window of one row has no width to measure the distance by; everything after it is far away.
        distance = (after - last) / (width - 1) if width > 1 else np.full(after.size, np.inf)
        worth_T[after] = _sigmoid(distance) * profile.false
    return worth_T, window_T


def _sigmoid(position: Float64Array) -> Float64Array:
    """1 early in a window, 0 at its end, -1 far behind it."""
    near = np.minimum(position, 3.0)
    return np.where(position > 3.0, -1.0, 2 / (1 + np.exp(5 * near)) - 1)

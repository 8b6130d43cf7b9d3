"""The interaction metrics of LSLM (2408.02622, section 5): does generation stop when, and only when, it is interrupted?

An interruption is hit when generation stops within [0, 2 mu] of its onset, mu = 0.5 s. The paper says no more; here a
stop outside the window misses (false negative), and any stop of an item without an interruption is a false positive.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import cast

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.timing.files import read_json

__all__ = ["MU_S", "StopScore", "StopTrial", "random_stops", "read_trials", "stop_score"]

MU_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTrial:
    """One item: when the interruption began (None: there was none), when generation stopped early (None: it did not)."""

    onset_s: float | None
    stop_s: float | None

    def __post_init__(self) -> None:
        for name, value in (("onset_s", self.onset_s), ("stop_s", self.stop_s)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}; expected seconds from 0 on, or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class StopScore:
    """Counts. `num_early` of the misses stopped before the interruption, `num_late` after the window."""

    tp: int
    fn: int
    fp: int
    tn: int
    num_early: int = 0
    num_late: int = 0

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else nan

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else nan

    @property
    def f1(self) -> float:
        """Harmonic mean of the two: 2 TP / (2 TP + FP + FN)."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else nan


def stop_score(trials: Iterable[StopTrial], *, mu_s: float = MU_S) -> StopScore:
    """Count hits, misses and false stops over any number of trials."""
    counts = {"tp": 0, "fn": 0, "fp": 0, "tn": 0, "num_early": 0, "num_late": 0}
    for trial in trials:
        if trial.onset_s is None:
            counts["tn" if trial.stop_s is None else "fp"] += 1
            continue
        hit = trial.stop_s is not None and trial.onset_s <= trial.stop_s <= trial.onset_s + 2 * mu_s
        counts["tp" if hit else "fn"] += 1
        if not hit and trial.stop_s is not None:
            counts["num_early" if trial.stop_s < trial.onset_s else "num_late"] += 1
    return StopScore(**counts)


def read_trials(file: Path) -> list[StopTrial]:
    """Trials from JSON: a list of {"onset_s", "stop_s"}, null for None.

    Raises:
        FormatError: not such a file. InputError: a time that cannot be.
    """
    plain = read_json(file)
    try:
        return [StopTrial(onset_s=_time(row["onset_s"]), stop_s=_time(row["stop_s"])) for row in plain]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{file}: expected a list of onset_s and stop_s ({error!r})") from error


def _time(value: object) -> float | None:
    return None if value is None else float(cast("float", value))


def random_stops(hazard_per_s: float, window_s: float, duration_s: float) -> tuple[float, float]:
    """(recall, false-positive rate) of a control that hears nothing and stops at a constant rate.

    1 - exp(-h w) for a window it entered still speaking, 1 - exp(-h T) for an item of `duration_s` without interruption.
    """
    return 1 - math.exp(-hazard_per_s * window_s), 1 - math.exp(-hazard_per_s * duration_s)

"""How good anomaly scores are, given labels: measures that are hard to flatter, and one that is easy, beside its control.

VUS-PR (Paparrizos et al., VLDB 2022) and the affiliation measures (Huet et al., KDD 2022) come from the package `vus`, which
holds the authors' code of both. It asks pip for TensorFlow and more that these measures do not use:
`pip install --no-deps vus` beside scikit-learn, pandas and tqdm is enough.

Point adjustment counts a whole labelled stretch as found when one row of it is. The longer the stretches, the surer a
random score finds one row of each (Kim et al., AAAI 2022): so that number is only given together with what random
scores reach.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import InputError, MissingExtraError

__all__ = ["Affiliation", "PointAdjusted", "affiliation", "best_f1", "point_adjusted_f1", "vus_pr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affiliation:
    """Precision and recall in [0, 1]: how near flags are to labels, and labels to flags, against flags thrown at random."""

    precision: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PointAdjusted:
    """Best F1 after point adjustment: of the scores, and the mean over several draws of random scores."""

    scores: float
    random: float


def vus_pr(scores_T: Float64Array, labels_T: Int64Array, window: int = 100) -> float:
    """Volume under the surface of precision and recall over all thresholds and buffers of 0 to `window` rows.

    Raises:
        InputError: labels other than 0 and 1 or all alike, a missing score.
        MissingExtraError: `vus` is not installed.
    """
    _check(scores_T, labels_T)
    try:
        from vus.utils.metrics import metricor  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("vus (pip install --no-deps vus)", "forecast") from error
    *_, volume = metricor().RangeAUC_volume_opt(labels_T.astype(np.float64), scores_T, window)
    return float(volume)


def affiliation(flags_T: Int64Array, labels_T: Int64Array) -> Affiliation:
    """Affiliation precision and recall of flagged rows; nothing flagged has both 0.

    Raises:
        InputError: flags or labels other than 0 and 1, or no labelled row.
        MissingExtraError: `vus` is not installed.
    """
    _check(flags_T.astype(np.float64), labels_T)
    if not flags_T.any():
        return Affiliation(precision=0.0, recall=0.0)
    try:
        from vus.affiliation.generics import convert_vector_to_events  # pyright: ignore[reportMissingImports]
        from vus.affiliation.metrics import pr_from_events  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("vus (pip install --no-deps vus)", "forecast") from error
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, Any] = pr_from_events(
            convert_vector_to_events(flags_T), convert_vector_to_events(labels_T), (0, len(labels_T))
        )
    return Affiliation(precision=float(found["Affiliation_Precision"]), recall=float(found["Affiliation_Recall"]))


def best_f1(scores_T: Float64Array, labels_T: Int64Array) -> float:
    """The largest F1 over all thresholds, row by row. The threshold is chosen on the labels: a bound, not a promise.

    Raises:
        InputError: labels other than 0 and 1 or all alike, a missing score.
    """
    _check(scores_T, labels_T)
    order = np.argsort(-scores_T, kind="stable")
    hits = np.cumsum(labels_T[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + labels_T.sum())
    # A threshold takes all rows of one score or none.
    ends = np.append(np.flatnonzero(np.diff(scores_T[order])), len(hits) - 1)
    return float(f1[ends].max())


def point_adjusted_f1(
    scores_T: Float64Array, labels_T: Int64Array, *, num_draws: int = 10, seed: int = 0
) -> PointAdjusted:
    """Best F1 after point adjustment, beside what random scores get on the same labels.

    Args:
        scores_T: of every row.
        labels_T: 0 or 1.
        num_draws: of uniform random scores.
        seed: of them.

    Raises:
        InputError: labels other than 0 and 1 or all alike, a missing score.
    """
    _check(scores_T, labels_T)
    generator = np.random.default_rng(seed)
    drawn = [best_f1(_adjusted(generator.random(len(labels_T)), labels_T), labels_T) for _ in range(num_draws)]
    return PointAdjusted(scores=best_f1(_adjusted(scores_T, labels_T), labels_T), random=float(np.mean(drawn)))


def _adjusted(scores_T: Float64Array, labels_T: Int64Array) -> Float64Array:
    """Every row of a labelled stretch takes the largest score of the stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels_T, [0]])))
    adjusted_T = scores_T.copy()
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        adjusted_T[first:stop] = scores_T[first:stop].max()
    return adjusted_T


def _check(scores_T: Float64Array, labels_T: Int64Array) -> None:
    if scores_T.ndim != 1 or scores_T.shape != labels_T.shape or np.isnan(scores_T).any():
        raise InputError(f"scores {scores_T.shape}, labels {labels_T.shape}; expected one of each a row, none missing")
    if not np.isin(labels_T, (0, 1)).all() or labels_T.min(initial=1) == labels_T.max(initial=0):
        raise InputError("labels are all alike, or not 0 and 1; these measures need both kinds of rows")

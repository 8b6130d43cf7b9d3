"""Which classes were taken for which, counted and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Int64Array
from fullduplex.forecast.picture import panels_of

__all__ = ["count_confusions", "draw_confusions"]


def count_confusions(
    labels: Sequence[str], named: Sequence[str], classes: Sequence[str]
) -> tuple[Int64Array, tuple[str, ...]]:
    """Counts of shape (K, K), true class by named class, and the K names: `classes`, then labels that are none of them."""
    names = (*classes, *sorted(set(labels) - set(classes)))
    counts_KK = np.zeros((len(names), len(names)), np.int64)
    for label, own in zip(labels, named, strict=True):
        counts_KK[names.index(label), names.index(own)] += 1
    return counts_KK, names


def draw_confusions(path: Path, counts_KK: Int64Array, names: Sequence[str]) -> None:
    """Write a PNG: rows are true classes, columns what they were named.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    side = 2.5 + 0.45 * len(names)
    figure, (panel,) = panels_of(1, side, side)
    panel.imshow(counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts_KK):
        share = counts_KK[row, column] / counts_KK[row].sum()
        panel.text(
            column, row, str(counts_KK[row, column]), ha="center", va="center", color="w" if share > 0.5 else "k"
        )
    panel.set_xticks(range(len(names)), names, rotation=90)
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("named")
    panel.set_ylabel("is")
    right = counts_KK.trace() / max(counts_KK.sum(), 1)
    panel.set_title(f"{right:.1%} of {counts_KK.sum()} right")
    figure.savefig(path, dpi=120)

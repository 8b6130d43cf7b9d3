"""A figure without a screen: matplotlib, asked for only when something is drawn."""

from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.canvas import new_figure

__all__ = ["figure_and_axes", "save"]


def figure_and_axes(width_in: float, height_in: float, rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width_in, height_in)
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Any, file: Path) -> None:
    """Write a PNG, and the folder it lies in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)

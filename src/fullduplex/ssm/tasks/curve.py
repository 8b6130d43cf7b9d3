"""The curve of a training run: the loss of every step, and the score on the validation set where it was taken."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fullduplex.base.errors import FormatError
from fullduplex.ssm.tasks.fit import Point
from fullduplex.ssm.view.canvas import figure_and_axes, save

__all__ = ["draw_curve", "read_curve", "write_point"]

_SMOOTHED = 25


def write_point(file: Path, point: Point) -> None:
    """Add a line `step,loss,val` to a CSV file."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{point.step},{point.loss!r},{'' if point.val is None else repr(point.val)}\n")


def read_curve(file: Path) -> tuple[Point, ...]:
    """The lines of `write_point`; of a step that was made twice, the newer.

    Raises:
        FormatError: a line is something else.
    """
    found: dict[int, Point] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            step, loss, val = line.split(",")
            found[int(step)] = Point(step=int(step), loss=float(loss), val=float(val) if val else None)
        except ValueError as error:
            raise FormatError(f"{file.name} line {number} is no step of a curve: {error}") from error
    return tuple(found[step] for step in sorted(found))


def draw_curve(file: Path, curve: Sequence[Point], *, title: str, score: str) -> None:
    """Write a PNG.

    Args:
        file: where.
        curve: steps in order.
        title: of the picture.
        score: what `val` is, for the axis.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, (loss, val) = figure_and_axes(11, 4, 1, 2)
    steps = np.array([point.step for point in curve])
    losses = np.array([point.loss for point in curve])
    loss.plot(steps, losses, color="0.8", lw=0.7)
    width = min(_SMOOTHED, losses.size)
    if width:
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        loss.plot(steps[width - 1 :], smooth, color="tab:blue", lw=1.2)
    loss.set(xlabel="step", title="loss of a batch, and the mean of the last 25")
    seen = [(point.step, point.val) for point in curve if point.val is not None]
    val.plot([step for step, _ in seen], [value for _, value in seen], "o-", color="tab:red", ms=3)
    val.set(xlabel="step", title=f"{score} on the validation set")
    figure.suptitle(title)
    save(figure, file)

"""Runs and their law as a picture."""

from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.forecast.picture import panels_of
from fullduplex.forecast.scaling_law.fit import Law

__all__ = ["draw_law"]


def draw_law(path: Path, x_N: Float64Array, loss_N: Float64Array, law: Law, *, names: tuple[str, str]) -> None:
    """Write a PNG: the runs, the law with its band, and ten times beyond the largest size dashed.

    Args:
        path: of the PNG.
        x_N: sizes.
        loss_N: losses.
        law: the fitted law.
        names: of x and of the loss.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, (panel,) = panels_of(1, 7, 4.6)
    low, high = law.span
    grid = np.geomspace(low, 10 * high, 120)
    curve = np.array([law.at(float(x)) for x in grid])
    seen = grid <= high
    panel.fill_between(
        grid, curve[:, 1], curve[:, 2], color="tab:blue", alpha=0.2, label=f"law, {law.config.level:.0%}"
    )
    panel.plot(grid[seen], curve[seen, 0], color="tab:blue")
    panel.plot(grid[~seen], curve[~seen, 0], color="tab:blue", linestyle="--", label="beyond the runs")
    panel.plot(x_N, loss_N, "o", color="0.2", markersize=4, label="runs")
    panel.set_xscale("log")
    if not law.config.nats:
        panel.set_yscale("log")
    panel.set_xlabel(names[0])
    panel.set_ylabel(names[1])
    first, last = law.exponent_interval
    panel.set_title(f"{law.chosen.form.text}: a = {law.exponent:.3g} ({first:.3g} to {last:.3g})")
    panel.grid(alpha=0.3, which="both")
    panel.legend(fontsize="small", loc="upper right")
    figure.savefig(path, dpi=120)

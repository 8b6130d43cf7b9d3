"""Series, forecast and interval as a picture; and the panels of every picture of this family."""

from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.canvas import new_figure

__all__ = ["draw_forecast", "panels_of"]

_MOST_CHANNELS = 8


def draw_forecast(
    path: Path,
    past_TC: Float64Array,
    forecast_HC: Float64Array,
    names: tuple[str, ...],
    *,
    title: str,
    interval: tuple[Float64Array, Float64Array] | None = None,
) -> None:
    """Write a PNG: one panel a channel (the first eight), the past in grey, the forecast and its interval in colour.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = min(len(names), _MOST_CHANNELS)
    figure, panels = panels_of(count, 10, 1.2 + 1.7 * count)
    ahead = np.arange(len(past_TC), len(past_TC) + len(forecast_HC))
    for channel, panel in enumerate(panels):
        panel.plot(np.arange(len(past_TC)), past_TC[:, channel], color="0.4", linewidth=1, label="past")
        panel.plot(ahead, forecast_HC[:, channel], color="tab:blue", linewidth=1.5, label="forecast")
        if interval is not None:
            panel.fill_between(
                ahead, interval[0][:, channel], interval[1][:, channel], color="tab:blue", alpha=0.2, label="interval"
            )
        panel.set_ylabel(names[channel])
        panel.margins(x=0.01)
        panel.grid(alpha=0.3)
    panels[0].legend(loc="upper left", ncols=3, fontsize="small")
    panels[0].set_title(title + (f"; {len(names) - count} more series not drawn" if len(names) > count else ""))
    panels[-1].set_xlabel("step")
    figure.savefig(path, dpi=120)


def panels_of(count: int, width_inches: float, height_inches: float) -> tuple[Any, list[Any]]:
    """A figure to save and its `count` panels, one below the other, with one x axis.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(width_inches, height_inches, extra="forecast")
    return figure, list(np.atleast_1d(figure.subplots(count, 1, sharex=True)))

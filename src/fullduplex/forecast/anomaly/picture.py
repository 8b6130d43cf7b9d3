"""Series and their anomaly scores as a picture."""

from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.forecast.picture import panels_of

__all__ = ["draw_scores"]

_MOST_CHANNELS = 6


def draw_scores(
    path: Path, values_TC: Float64Array, scores_T: Float64Array, names: tuple[str, ...], threshold: float
) -> None:
    """Write a PNG: one panel a channel (the first six) with the rows at or above the threshold in red, then the scores.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    count = min(len(names), _MOST_CHANNELS)
    figure, panels = panels_of(count + 1, 10, 2.4 + 1.4 * count)
    rows, flagged = np.arange(len(values_TC)), scores_T >= threshold
    for channel, panel in enumerate(panels[:count]):
        panel.plot(rows, values_TC[:, channel], color="0.4", linewidth=0.8)
        panel.plot(rows[flagged], values_TC[flagged, channel], ".", color="tab:red", markersize=5)
        panel.set_ylabel(names[channel])
    last = panels[-1]
    last.plot(rows, scores_T, color="tab:blue", linewidth=0.8)
    last.axhline(threshold, color="tab:red", linewidth=0.8, label=f"threshold {threshold:g}")
    last.set_ylabel("score")
    last.set_xlabel("row behind those it learnt from")
    last.legend(loc="upper left", fontsize="small")
    for panel in panels:
        panel.margins(x=0.01)
        panel.grid(alpha=0.3)
    more = f"; {len(names) - count} more series not drawn" if len(names) > count else ""
    panels[0].set_title(f"{int(flagged.sum())} of {len(scores_T)} rows at or above the threshold{more}")
    figure.savefig(path, dpi=120)

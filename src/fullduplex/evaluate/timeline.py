"""A picture of a conversation: two lanes of sound, what was said, who had the floor."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.canvas import new_figure
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.measures import audible_spans

__all__ = ["Label", "draw_timeline"]

Pcm = NDArray[np.float32]
_ROW_S = 20.0
_CALLER, _MACHINE, _OVERLAP = "#2a6fbb", "#c8553d", "#f2c14e"
_FLOORS = {
    "idle": "#e8e8e8",
    "listening": "#a9c9ea",
    "thinking": "#d9c7ee",
    "speaking": "#f3c0b4",
    "overlap": "#f2c14e",
    "closed": "#999999",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words at a time. `lane`: "caller" or "machine"."""

    at_s: float
    lane: str
    text: str


def _envelope(track: Pcm, start: int, stop: int, points: int = 1200) -> tuple[Pcm, Pcm]:
    piece = track[start:stop]
    hop = max(piece.size // points, 1)
    count = piece.size // hop
    peak = np.abs(piece[: count * hop].reshape(count, hop)).max(axis=1) if count else np.zeros(0, np.float32)
    return ((np.arange(count) * hop + start) / EAR_RATE_HZ).astype(np.float32), peak.astype(np.float32)


def _both_speak(caller: Pcm, machine: Pcm) -> list[tuple[int, int]]:
    ours, theirs = audible_spans(caller, bridge_s=0.1), audible_spans(machine, bridge_s=0.1)
    both = [(max(a, c), min(b, d)) for a, b in ours for c, d in theirs]
    return [(low, high) for low, high in both if low < high]


def draw_timeline(
    file: Path,
    caller: Pcm,
    machine: Pcm,
    *,
    labels: Sequence[Label] = (),
    floors: Sequence[tuple[float, str]] = (),
    title: str = "",
) -> None:
    """Write a PNG.

    Args:
        file: where to.
        caller, machine: tracks at EAR_RATE_HZ, equal lengths.
        labels: words and when they began.
        floors: (time, floor) at every change, in order.
        title: a line on top.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    duration_s = max(caller.size / EAR_RATE_HZ, 0.1)
    rows = int(np.ceil(duration_s / _ROW_S))
    figure = new_figure(16, 2.3 * rows + 0.6)
    overlaps = _both_speak(caller, machine)
    for row, axes in enumerate(np.atleast_1d(figure.subplots(rows, 1))):
        low_s, high_s = row * _ROW_S, (row + 1) * _ROW_S
        axes.set_xlim(low_s, high_s)
        axes.set_ylim(-1.35, 1.35)
        _draw_floors(axes, floors, low_s, min(high_s, duration_s))
        for start, end in overlaps:
            axes.axvspan(start / EAR_RATE_HZ, end / EAR_RATE_HZ, 0.08, 1.0, color=_OVERLAP, alpha=0.5, lw=0)
        span = (int(low_s * EAR_RATE_HZ), int(high_s * EAR_RATE_HZ))
        for track, offset, colour in ((caller, 0.5, _CALLER), (machine, -0.5, _MACHINE)):
            time_s, peak = _envelope(track, *span)
            axes.fill_between(time_s, offset - 0.42 * peak, offset + 0.42 * peak, color=colour, lw=0)
        _draw_labels(axes, labels, low_s, high_s)
        axes.set_yticks([0.5, -0.5], ["caller", "machine"])
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.supxlabel("seconds; the strip below shows who has the floor, yellow is both at once", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def _draw_floors(axes: Any, floors: Sequence[tuple[float, str]], low_s: float, high_s: float) -> None:
    changes = [(0.0, "idle"), *floors, (high_s, "closed")]
    for (start_s, floor), (end_s, _next) in pairwise(changes):
        start, end = max(start_s, low_s), min(end_s, high_s)
        if start < end:
            axes.axvspan(start, end, 0.0, 0.06, color=_FLOORS.get(floor, "#ffffff"), lw=0)


def _draw_labels(axes: Any, labels: Sequence[Label], low_s: float, high_s: float) -> None:
    for label in labels:
        if low_s <= label.at_s < high_s:
            text = label.text if len(label.text) <= 90 else label.text[:88] + "…"
            up = label.lane == "caller"
            axes.text(label.at_s, 1.05 if up else -0.02, text, fontsize=7.5, color=_CALLER if up else _MACHINE)

"""Pictures for people: who spoke when, how turns were exchanged, and several systems on one radar."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.canvas import new_figure
from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Recording, shared
from fullduplex.evaluate.timing.statistics import Statistics

__all__ = ["draw_gaps", "draw_radar", "draw_spans"]

_USER, _SYSTEM, _BOTH = "#2a6fbb", "#c8553d", "#f2c14e"
_ROW_S, _MAX_ROWS = 30.0, 12


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def draw_gaps(file: Path, statistics: Statistics, *, title: str = "", people: Sequence[float] = ()) -> None:
    """Write a PNG: floor-transfer offsets in bins of 0.1 s, to the system and to the user; left of 0 is overlap.

    Args:
        file: where to.
        statistics: of one or more conversations.
        title: a line on top.
        people: offsets of a conversation between people, drawn as an outline.
    """
    figure = new_figure(9, 4)
    axes = figure.subplots()
    bins = np.arange(-2.0, 3.05, 0.1)
    sides = (
        (statistics.offsets_to_system_s, _SYSTEM, "to the system"),
        (statistics.offsets_to_user_s, _USER, "to the user"),
    )
    for values, colour, label in sides:
        if values:
            shown = np.clip(values, bins[0] + 0.05, bins[-1] - 0.05)
            axes.hist(
                shown,
                bins=bins,
                color=colour,
                alpha=0.65,
                label=f"{label}: {len(values)}, median {np.median(values):.2f} s",
            )
    if people:
        axes.hist(
            np.clip(people, bins[0], bins[-1]), bins=bins, histtype="step", color="0.3", label=f"people: {len(people)}"
        )
    axes.axvline(0, color="0.3", lw=0.8)
    axes.set_xlabel("floor-transfer offset, seconds (the outermost bins hold what lies beyond)")
    axes.set_ylabel("changes of speaker")
    if statistics.offsets_s or people:
        axes.legend(frameon=False, loc="upper right")
    axes.set_title(title or "Floor-transfer offsets", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def draw_spans(file: Path, recording: Recording, *, title: str = "") -> None:
    """Write a PNG: both sides' spans in rows of 30 s, overlaps marked; at most twelve rows."""
    rows = min(max(int(np.ceil(recording.duration_s / _ROW_S)), 1), _MAX_ROWS)
    figure = new_figure(12, 0.6 + 1.0 * rows)
    both = shared(recording.user.spans, recording.system.spans)
    for row, axes in enumerate(np.atleast_1d(figure.subplots(rows, 1))):
        low_s = row * _ROW_S
        axes.set_xlim(low_s, low_s + _ROW_S)
        axes.set_ylim(0, 2)
        for low, high in both:
            axes.axvspan(low, high, color=_BOTH, alpha=0.6, lw=0)
        for spans, bottom, colour in ((recording.user.spans, 1.15, _USER), (recording.system.spans, 0.15, _SYSTEM)):
            axes.broken_barh([(start, end - start) for start, end in spans], (bottom, 0.7), color=colour, lw=0)
        axes.set_yticks([1.5, 0.5], ["user", "system"])
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(title or recording.name, fontsize=11)
    figure.supxlabel("seconds; yellow: both speak", fontsize=9)
    _save(figure, file)


def draw_radar(file: Path, systems: Mapping[str, Mapping[str, float]], *, title: str = "") -> None:
    """Write a PNG: one polygon a system; every axis runs from 0 in the centre (worst) to 1 (best).

    Args:
        file: where to.
        systems: system -> axis -> share, 0 to 1. NaN is drawn at the centre with a hollow point.
        title: a line on top.

    Raises:
        InputError: fewer than three axes, systems with different axes, or a value outside 0 to 1.
    """
    names = list(next(iter(systems.values()), {}))
    if len(names) < 3 or any(list(values) != names for values in systems.values()):
        raise InputError(f"a radar needs the same three or more axes for every system; got {names}")
    figure = new_figure(7, 6)
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    for number, (system, values) in enumerate(systems.items()):
        found = [values[name] for name in names]
        if any(isfinite(value) and not 0 <= value <= 1 for value in found):
            raise InputError(f"{system}: a radar shows shares from 0 to 1; got {found}")
        radii = [value if isfinite(value) else 0.0 for value in found]
        colour = f"C{number}"
        axes.plot([*angles, angles[0]], [*radii, radii[0]], color=colour, lw=1.5, label=system)
        axes.fill([*angles, angles[0]], [*radii, radii[0]], color=colour, alpha=0.12)
        for angle, value in zip(angles, found, strict=True):
            if not isfinite(value):
                axes.plot([angle], [0.0], marker="o", mfc="white", color=colour)
    axes.set_xticks(angles, names)
    axes.tick_params(axis="x", pad=22)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=min(len(systems), 3))
    axes.set_title(title, fontsize=11)
    _save(figure, file)

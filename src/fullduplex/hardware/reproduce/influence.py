"""How much each thing that the paper does not say matters: its numbers again with one of them changed at a time."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fullduplex.hardware.presets import Presets
from fullduplex.hardware.reproduce.comparison import Unknowns, compare
from fullduplex.hardware.reproduce.table import Row, full_table, throughput_rows
from fullduplex.hardware.sweep import run_points

__all__ = ["SWEPT", "Influence", "influence", "num_settings"]

SWEPT: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "dram_efficiency": (0.65, 0.75, 0.85, 1.0),
        "hop_s": (0.8e-6, 3e-6, 5e-6, 7e-6),
        "spread": (0.0, 0.1, 0.3, 0.5),
        "zipf": (0.0, 0.5, 1.0, 1.5),
        "spaces": (False, True),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """All rows for each value of one unknown: {value: rows}."""

    rows: Mapping[str, tuple[Row, ...]]

    def here(self, index: int) -> list[float]:
        """Ours of row `index`, in the order of the values."""
        return [rows[index].here for rows in self.rows.values()]

    def reaches(self, index: int) -> bool:
        """Whether the paper's number of row `index` lies within what this unknown alone can make of it."""
        here = self.here(index)
        paper = next(iter(self.rows.values()))[index].paper
        return min(here) <= paper <= max(here)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """One point: what a worker needs to know."""

    presets: Presets
    unknowns: Unknowns
    everything: bool

    def run(self) -> tuple[Row, ...]:
        if not self.everything:
            return tuple(throughput_rows(compare(self.presets, self.unknowns)))
        return tuple(full_table(self.presets, self.unknowns)[1])


def influence(
    presets: Presets,
    base: Unknowns,
    *,
    everything: bool = True,
    progress: Callable[[], object] = lambda: None,
    ray: str | None = None,
) -> dict[str, Influence]:
    """The table with one unknown changed at a time.

    Args:
        everything: all rows of the table, or those of throughput alone.
        progress: called after each of `num_settings`.
        ray: as in `compare`.
    """
    settings = _changed(base)
    different = list(dict.fromkeys(settings.values()))
    points = [_Setting(presets=presets, unknowns=unknowns, everything=everything) for unknowns in different]
    known = dict(zip(different, run_points(_Setting.run, points, ray=ray, progress=progress), strict=True))
    found: dict[str, dict[str, tuple[Row, ...]]] = {}
    for (field, value), unknowns in settings.items():
        found.setdefault(field, {})[f"{value:g}"] = known[unknowns]
    return {field: Influence(rows=rows) for field, rows in found.items()}


def num_settings(base: Unknowns) -> int:
    """How many different tables `influence` makes."""
    return len(set(_changed(base).values()))


def _changed(base: Unknowns) -> dict[tuple[str, float], Unknowns]:
    return {
        (field, value): dataclasses.replace(base, **{field: value})  # pyright: ignore[reportArgumentType]
        for field, values in SWEPT.items()
        for value in values
    }

"""HoloBeam beside its rivals: error, gain, throughput, with 95 % intervals; what wins, wins."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fullduplex.base.errors import InputError, MissingExtraError
from fullduplex.links.beam.align import METHODS, AlignConfig, Method, align, random_directions
from fullduplex.links.beam.noise import Law, noise_from_snr

__all__ = ["Row", "best_budget", "compare", "draw_study", "study", "table", "throughput"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method at one signal-to-noise ratio and budget.

    `error`: share of trials whose pair is not the best on the grid, between `error_low` and `error_high` (Wilson, 95 %).
    `gain`: mean power beside the best on the grid. `throughput`: mean bits a symbol, pilots taken off.
    """

    method: str
    snr_db: float
    budget: int
    trials: int
    error: float
    error_low: float
    error_high: float
    gain: float
    gain_half_width: float
    throughput: float
    pilots: int
    starved: bool


def throughput(snr_db: float, power: np.ndarray | float, pilots: int, frame: int) -> float:
    """Mean of log2(1 + SNR * power) (1 - pilots / frame) over trials. Raises `InputError` for an empty frame."""
    if frame < 1 or pilots < 0:
        raise InputError(f"frame is {frame} symbols and pilots {pilots}; expected at least 1 and 0")
    return float(np.log2(1 + 10 ** (snr_db / 10) * np.asarray(power)).mean() * max(0.0, 1 - pilots / frame))


def _wilson(errors: int, trials: int) -> tuple[float, float]:
    z, rate = 1.959964, errors / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def compare(
    config: AlignConfig, methods: Iterable[Method], *, snr_db: float, trials: int, frame: int, seed: int
) -> list[Row]:
    """Every method on the same directions. `config.noise` has the law already; `snr_db` is repeated in the rows."""
    direction_B2 = random_directions(config, trials, seed=seed)
    rows: list[Row] = []
    for method in methods:
        found = align(config, method, direction_B2, seed=seed)
        wrong = int((~found.right_B).sum())
        low, high = _wilson(wrong, trials)
        rows.append(
            Row(
                method=method,
                snr_db=snr_db,
                budget=config.budget,
                trials=trials,
                error=wrong / trials,
                error_low=low,
                error_high=high,
                gain=float(found.ratio_B.mean()),
                gain_half_width=float(1.96 * found.ratio_B.std() / math.sqrt(trials)),
                throughput=throughput(snr_db, found.power_B, found.pilots, frame),
                pilots=found.pilots,
                starved=found.starved,
            )
        )
    return rows


def study(
    base: AlignConfig,
    *,
    snrs_db: tuple[float, ...] = (50.0, 70.0, 90.0),
    budgets: tuple[int, ...] = (100, 200, 400, 800),
    methods: tuple[Method, ...] = METHODS,
    law: Law = "physical",
    trials: int = 1000,
    frame: int = 10_000,
    seed: int = 0,
) -> list[Row]:
    """The comparison over signal-to-noise ratios and budgets."""
    rows: list[Row] = []
    for snr_db in snrs_db:
        for budget in budgets:
            config = replace(base, budget=budget, noise=noise_from_snr(snr_db, law))
            rows += compare(config, methods, snr_db=snr_db, trials=trials, frame=frame, seed=seed)
    return rows


def best_budget(rows: Iterable[Row]) -> dict[tuple[str, float], int]:
    """For every method and ratio the budget with the greatest throughput: more pilots align better and cost symbols."""
    best: dict[tuple[str, float], Row] = {}
    for row in rows:
        key = (row.method, row.snr_db)
        if key not in best or row.throughput > best[key].throughput:
            best[key] = row
    return {key: row.budget for key, row in best.items()}


def draw_study(rows: list[Row], file: Path) -> None:
    """Error over budget with intervals, one panel a ratio. Raises `MissingExtraError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "talk") from None
    snrs = sorted({row.snr_db for row in rows})
    figure = Figure(figsize=(4.2 * len(snrs), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, snr_db in enumerate(snrs):
        axes = figure.add_subplot(1, len(snrs), panel + 1)
        for method in dict.fromkeys(row.method for row in rows):
            own = [row for row in rows if row.method == method and row.snr_db == snr_db]
            below = [row.error - row.error_low for row in own]
            above = [row.error_high - row.error for row in own]
            axes.errorbar(
                [row.budget for row in own],
                [row.error for row in own],
                (below, above),
                marker="o",
                ms=3,
                lw=1,
                label=method,
            )
        axes.set_title(f"peak SNR {snr_db:g} dB")
        axes.set_xscale("log")
        axes.set_xticks(budgets := sorted({row.budget for row in rows}), [str(b) for b in budgets], minor=False)
        axes.minorticks_off()
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("pilots")
        axes.set_ylabel("not the best beam")
        if panel == len(snrs) - 1:
            axes.legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def table(rows: list[Row]) -> list[dict[str, object]]:
    """Rows as plain data."""
    return [asdict(row) for row in rows]

"""HoloBeam beside its rivals: error, gain, throughput, with 95 % intervals; what wins, wins."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from fullduplex.base.canvas import new_figure
from fullduplex.base.errors import InputError
from fullduplex.links.beam.align import METHODS, AlignConfig, Method, align, random_directions
from fullduplex.links.beam.grid import check_unimodal, exact_grid
from fullduplex.links.beam.noise import Law, Noise, noise_from_snr
from fullduplex.links.beam.search import eliminate_thirds
from fullduplex.links.beam.surface import Surface, two_path_gain

__all__ = [
    "Row",
    "SecondPath",
    "best_budget",
    "compare",
    "draw_study",
    "second_path",
    "study",
    "table",
    "throughput",
]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondPath:
    """What a second path does to one axis, without any noise.

    `unimodal_share`: of pairs of directions. `error`: share of trials in which eliminating thirds misses the best arm,
    between `error_low` and `error_high` (Wilson, 95 %); with one path it is 0. `gain`: mean power beside the best.
    """

    strength: float
    unimodal_share: float
    error: float
    error_low: float
    error_high: float
    gain: float


def second_path(surface: Surface, strength: float, *, trials: int = 2000, seed: int = 0) -> SecondPath:
    """Two random directions, the second with `strength` times the first's amplitude: is the structure still there?

    Raises:
        InputError: a strength below 0 or not finite, or no trials.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}; expected at least 1")
    grid_M = exact_grid(surface)
    shape = check_unimodal(surface, grid_M, second_path=strength, seed=seed)
    draw = np.random.default_rng(seed)
    first_B1, second_B1 = draw.uniform(grid_M[0], grid_M[-1], (2, trials, 1))
    amplitude_BM = two_path_gain(surface, first_B1 - grid_M, second_B1 - grid_M, strength)
    chosen_B = eliminate_thirds(amplitude_BM, 4 * grid_M.size, Noise(sigma=0.0), draw).best_B
    top_B = amplitude_BM.max(axis=1)
    found_B = amplitude_BM[np.arange(trials), chosen_B]
    wrong = int((found_B < top_B).sum())
    low, high = _wilson(wrong, trials)
    return SecondPath(
        strength=strength,
        unimodal_share=shape.share,
        error=wrong / trials,
        error_low=low,
        error_high=high,
        gain=float(np.square(found_B / top_B).mean()),
    )


def draw_study(rows: list[Row], file: Path) -> None:
    """Error (with intervals) and throughput over pilots, one column a ratio. Raises `MissingExtraError` without matplotlib."""
    snrs = sorted({row.snr_db for row in rows})
    budgets = sorted({row.budget for row in rows})
    figure = new_figure(max(6.0, 4.2 * len(snrs)), 6.8)
    panels = figure.subplots(2, len(snrs), squeeze=False)
    for (upper, lower), snr_db in zip(panels.T, snrs, strict=True):
        for method in dict.fromkeys(row.method for row in rows):
            own = [row for row in rows if row.method == method and row.snr_db == snr_db]
            spent = [row.budget for row in own]
            between = ([row.error - row.error_low for row in own], [row.error_high - row.error for row in own])
            upper.errorbar(spent, [row.error for row in own], between, marker="o", ms=3, lw=1, label=method)
            lower.plot(spent, [row.throughput for row in own], marker="o", ms=3, lw=1, label=method)
        upper.set_title(f"peak SNR {snr_db:g} dB")
        upper.set_ylim(-0.03, 1.03)
        upper.set_ylabel("not the best beam")
        lower.set_ylabel("bits a symbol, pilots taken off")
        lower.set_ylim(bottom=0)
        for axes in (upper, lower):
            axes.set_xscale("log")
            axes.set_xticks(budgets, [str(budget) for budget in budgets])
            axes.minorticks_off()
            axes.set_xlabel("pilots")
    panels[0, -1].legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def table(rows: list[Row]) -> list[dict[str, object]]:
    """Rows as plain data."""
    return [asdict(row) for row in rows]

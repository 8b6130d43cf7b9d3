"""Align a surface along both axes with T pilots in all: HoloBeam, its robust variants, and what it is compared with.

HoloBeam (2401.05420) learns one parameter at a time: beta_2 fixed, beta_1 is found with half of the pilots; beta_1 fixed,
beta_2 with the rest (the share is our choice: `first_share`). While beta_2 is wrong, phase one sees everything through
the second axis' pattern, which is exactly zero if alpha_2 lies on the grid. The cure is a fan beam: only `fan` wavelengths
of the second axis transmit, which has no zero within -1 to 1 but K / fan times less amplitude.

Axes: B trials, M gradients of the first axis, P of the second.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.links.beam.grid import exact_grid
from fullduplex.links.beam.noise import Float, Noise
from fullduplex.links.beam.schedule import even_counts
from fullduplex.links.beam.search import SEARCHES, sequential_halving
from fullduplex.links.beam.surface import Surface, gain

__all__ = ["BLOCK", "METHODS", "AlignConfig", "Alignment", "Method", "align", "random_directions"]

Method = Literal[
    "holobeam",
    "holobeam-fan",
    "holobeam-restarts",
    "halving-fan",
    "rejects-fan",
    "line-fan",
    "sweep-fan",
    "halving-2d",
    "hierarchical",
]
METHODS: tuple[Method, ...] = get_args(Method)
# Searched along one axis, then along the other, behind a fan beam; all other methods eliminate thirds.
_ALONG_AXES = {"halving-fan": "halving", "rejects-fan": "rejects", "line-fan": "line", "sweep-fan": "exhaustive"}
BLOCK = 512  # trials are always drawn in whole blocks, so a trial's outcome does not depend on how many there are
_RESTARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    """`first`, `second`: the aperture along each axis; `budget`: pilots in all; `noise`: of a report.

    `shift`: begin every alignment with the grids shifted by a random part of a step. A direction that lies on the grid
    gives nothing at any other point, so no search can climb to it; shifted, it does so with probability zero.
    `fan`: aperture of the fan beam in wavelengths; below 1, or it has a zero at the edges.
    `refine`: end with the parametric estimator, which reads a gradient between two grid points off two neighbours'
    amplitudes with pilots kept back for it (`refine_pilots` an axis). `first_share` of the rest goes to the first axis.

    Raises:
        ConfigError: a number is out of range.
    """

    first: Surface = Surface(size=32)
    second: Surface = Surface(size=32)
    budget: int = 200
    noise: Noise = Noise()
    first_share: float = 0.5
    fan: float = 0.75
    shift: bool = False
    refine: bool = False
    refine_pilots: int = 12

    def __post_init__(self) -> None:
        if self.budget < 1 or not 0 < self.first_share < 1 or self.refine_pilots < 3 or not 0 < self.fan <= 1:
            raise ConfigError(
                f"budget is {self.budget}, first_share {self.first_share}, refine_pilots {self.refine_pilots}, "
                f"fan {self.fan}; expected at least 1, within 0 to 1, at least 3, above 0 and at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """For every trial the gradients chosen, the power they give beside perfect alignment and beside the best on the grid.

    `right_B`: the best pair on the grid was chosen. `undetermined_B`: a choice was a coin toss. `starved`: there were too
    few pilots for one each; `pilots` is what was used.
    """

    gradient_B2: Float
    power_B: Float
    ratio_B: Float
    right_B: NDArray[np.bool_]
    undetermined_B: NDArray[np.bool_]
    pilots: int
    starved: bool


def random_directions(config: AlignConfig, trials: int, *, seed: int) -> Float:
    """Directions (B, 2), even over the range of both grids, drawn in blocks. Raises `InputError` without trials."""
    if trials < 1:
        raise InputError(f"trials is {trials}; expected at least 1")
    edges = np.array([exact_grid(config.first)[-1], exact_grid(config.second)[-1]])
    blocks = [
        np.random.default_rng([seed, 1, number]).uniform(-edges, edges, (BLOCK, 2))
        for number in range(-(-trials // BLOCK))
    ]
    return np.concatenate(blocks)[:trials]


def align(config: AlignConfig, method: Method, direction_B2: Float, *, seed: int) -> Alignment:
    """Align in every trial; the receiver of trial b is in direction `direction_B2[b]`.

    Raises:
        ConfigError: the method is not known. InputError: directions that are no (trials, 2) numbers within -1 to 1.
    """
    if method not in METHODS:
        raise ConfigError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    direction_B2 = np.asarray(direction_B2, np.float64)
    if direction_B2.ndim != 2 or direction_B2.shape[1] != 2 or not len(direction_B2):
        raise InputError(f"directions have shape {direction_B2.shape}; expected (trials, 2), at least one")
    if not (np.abs(direction_B2) <= 1).all():
        raise InputError("directions must be within -1 to 1 (sines of angles) and finite")
    parts = []
    for number, at in enumerate(range(0, len(direction_B2), BLOCK)):
        block = direction_B2[at : at + BLOCK]
        full = np.concatenate([block, np.zeros((BLOCK - len(block), 2))])
        parts.append((_Run(config, full, np.random.default_rng([seed, 2, number])).result(method), len(block)))
    whole = {
        name: np.concatenate([getattr(part, name)[:count] for part, count in parts])
        for name in ("gradient_B2", "power_B", "ratio_B", "right_B", "undetermined_B")
    }
    return Alignment(pilots=parts[0][0].pilots, starved=parts[0][0].starved, **whole)


class _Run:
    """One block of trials."""

    def __init__(self, config: AlignConfig, direction_B2: Float, draw: np.random.Generator) -> None:
        self.config = config
        self.draw = draw
        surfaces = (config.first, config.second)
        self.grids = tuple(exact_grid(surface) for surface in surfaces)
        # In units of a step, within half of one either side; the same for all arms of an axis.
        part_B2 = draw.uniform(-0.5, 0.5, direction_B2.shape) if config.shift else np.zeros(direction_B2.shape)
        self.shift_B2 = part_B2 / np.array([surface.size for surface in surfaces])
        self.gains = tuple(
            gain(surface, (direction_B2[:, axis] - self.shift_B2[:, axis])[:, None] - grid)
            for axis, (surface, grid) in enumerate(zip(surfaces, self.grids, strict=True))
        )
        self.direction_B2 = direction_B2
        self.used = 0
        self.undetermined_B = np.zeros(len(direction_B2), np.bool_)
        self.starved = False

    def result(self, method: Method) -> Alignment:
        budget = self.config.budget
        kept = min(2 * self.config.refine_pilots, budget // 2) if self.config.refine else 0
        first, second = self._choose(method, budget - kept)
        gradient_B2 = np.stack([self.grids[0][first], self.grids[1][second]], axis=1) + self.shift_B2
        if kept >= 6:
            gradient_B2 = self._refined(first, second, kept)
        gradient_B2 = np.clip(gradient_B2, -1.0, 1.0)
        surfaces = (self.config.first, self.config.second)
        power_B = np.prod(
            [gain(s, self.direction_B2[:, i] - gradient_B2[:, i]) ** 2 for i, s in enumerate(surfaces)], axis=0
        )
        best = [np.abs(g).argmax(axis=1) for g in self.gains]
        top_B = np.prod([np.abs(g).max(axis=1) ** 2 for g in self.gains], axis=0)
        assert self.used <= budget
        return Alignment(
            gradient_B2=gradient_B2,
            power_B=power_B,
            ratio_B=power_B / top_B,
            right_B=(first == best[0]) & (second == best[1]),
            undetermined_B=self.undetermined_B,
            pilots=self.used,
            starved=self.starved,
        )

    def _choose(self, method: Method, budget: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if method == "halving-2d":
            return self._both_at_once(budget)
        if method == "hierarchical":
            halves = (budget // 2, budget - budget // 2)
            first = self._hierarchy(0, halves[0], 1 / self.config.second.size)
            return first, self._hierarchy(1, halves[1], self._at(0, first))
        share = max(1, min(budget - 1, round(self.config.first_share * budget))) if budget > 1 else 1
        if method == "holobeam":
            start = self.draw.integers(0, self.grids[1].size, len(self.direction_B2))
            first = self._search("thirds", 0, share, self._at(1, start))
        elif method == "holobeam-restarts":
            first = self._restarts(share)
        else:
            first = self._search(_ALONG_AXES.get(method, "thirds"), 0, share, self._fan())
        return first, self._search(_ALONG_AXES.get(method, "thirds"), 1, budget - share, self._at(0, first))

    def _fan(self) -> Float:
        """A narrow strip of the second axis, pointed ahead: amplitude fan / K times a pattern without zeros."""
        width = min(self.config.fan, self.config.second.size)
        return np.sinc(width * self.direction_B2[:, 1]) * width / self.config.second.size

    def _at(self, axis: int, arm_B: NDArray[np.int64]) -> Float:
        return np.take_along_axis(self.gains[axis], arm_B[:, None], axis=1)[:, 0]

    def _search(self, name: str, axis: int, budget: int, other_B: Float) -> NDArray[np.int64]:
        """Search one axis with the other's amplitude as it is."""
        if budget < 1:
            self.undetermined_B[:] = True
            self.starved = True
            return self.draw.integers(0, self.grids[axis].size, len(other_B))
        found = SEARCHES[name](self.gains[axis] * other_B[:, None], budget, self.config.noise, self.draw)
        self.used += found.pilots
        self.undetermined_B = self.undetermined_B | found.undetermined_B
        self.starved = self.starved or found.starved
        return found.best_B

    def _restarts(self, budget: int) -> NDArray[np.int64]:
        """A few random beta_2, each with its share; the strongest answer of the last look wins."""
        look = max(1, budget // 20)
        each = max(1, (budget - _RESTARTS * look) // _RESTARTS)
        if budget < 2 * _RESTARTS:
            start = self.draw.integers(0, self.grids[1].size, len(self.direction_B2))
            return self._search("thirds", 0, budget, self._at(1, start))
        arms, reports = [], []
        for _ in range(_RESTARTS):
            start = self.draw.integers(0, self.grids[1].size, len(self.direction_B2))
            arm_B = self._search("thirds", 0, each, self._at(1, start))
            self.used += look
            arms.append(arm_B)
            reports.append(self.config.noise.observe(self._at(0, arm_B) * self._at(1, start), look, self.draw))
        winner_B = np.stack(reports).argmax(axis=0)
        return np.stack(arms)[winner_B, np.arange(len(winner_B))]

    def _both_at_once(self, budget: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sequential halving over every pair."""
        pairs_BMP = self.gains[0][:, :, None] * self.gains[1][:, None, :]
        found = sequential_halving(pairs_BMP.reshape(len(pairs_BMP), -1), budget, self.config.noise, self.draw)
        self.used += found.pilots
        self.undetermined_B = found.undetermined_B
        self.starved = found.starved
        first, second = np.divmod(found.best_B, self.grids[1].size)
        return first, second

    def _hierarchy(self, axis: int, budget: int, other_B: Float | float) -> NDArray[np.int64]:
        """Wide beams first: at each level half of the range is kept, with an aperture that fits the half.

        The narrower aperture of an early level answers with its share of the full amplitude.
        """
        grid, size = self.grids[axis], (self.config.first, self.config.second)[axis].size
        low_B = np.zeros(len(self.direction_B2), np.int64)
        width = grid.size
        levels = max(1, int(np.ceil(np.log2(max(2, grid.size)))))
        tie_B = np.zeros(low_B.shape, np.bool_)
        for count in even_counts(budget, levels):
            if width <= 1:
                break
            half = (width + 1) // 2
            aperture = min(size, max(1.0, size / half))
            centres = low_B[:, None] + np.array([(half - 1) / 2, width - 1 - (half - 1) / 2])
            beam = grid[0] + centres / size + self.shift_B2[:, axis, None]
            answer = gain(Surface(size=aperture), self.direction_B2[:, axis, None] - beam) * aperture / size
            answer = answer * np.broadcast_to(np.asarray(other_B), low_B.shape)[:, None]
            if count < 2:
                self.starved = True
            left = self.config.noise.observe(answer[:, 0], (count + 1) // 2, self.draw)
            right = self.config.noise.observe(answer[:, 1], count // 2, self.draw)
            self.used += count
            tie_B = right == left
            goes_right_B = (right > left) | (tie_B & (self.draw.random(low_B.size) < 0.5))
            low_B = low_B + np.where(goes_right_B, width - half, 0)
            width = half
        self.undetermined_B = self.undetermined_B | tie_B
        return low_B

    def _refined(self, first: NDArray[np.int64], second: NDArray[np.int64], kept: int) -> Float:
        """Between two grid points the amplitudes fall as 1 / distance: delta = a_right / (a_right + a_left)."""
        chosen = [first, second]
        out = []
        for axis in (0, 1):
            grid, arm_B = self.grids[axis], chosen[axis]
            other_B = self._at(1 - axis, chosen[1 - axis])
            wanted_B3 = arm_B[:, None] + np.array([-1, 0, 1])
            near_B3 = np.clip(wanted_B3, 0, grid.size - 1)
            true_B3 = np.take_along_axis(self.gains[axis], near_B3, axis=1) * other_B[:, None]
            count = kept // 6
            self.used += 3 * count
            report_B3 = self.config.noise.observe(true_B3, count, self.draw)
            root_B3 = np.sqrt(np.maximum(_power(report_B3, self.config.noise), 0.0))
            root_B3 = np.where(wanted_B3 == near_B3, root_B3, 0.0)  # beyond the end of the grid there is no neighbour
            right_B = root_B3[:, 2] >= root_B3[:, 0]
            beside_B = np.where(right_B, root_B3[:, 2], root_B3[:, 0])
            share_B = beside_B / np.maximum(beside_B + root_B3[:, 1], 1e-300)
            step_B = np.where(right_B, 1.0, -1.0) * np.minimum(share_B, 0.5)
            out.append(grid[arm_B] + step_B * (grid[1] - grid[0] if grid.size > 1 else 0.0))
        return np.stack(out, axis=1) + self.shift_B2


def _power(report: Float, noise: Noise) -> Float:
    """Received power without the noise's own, from a mean report."""
    if noise.law == "gaussian":
        return report
    if noise.law == "physical":
        return report - noise.sigma**2
    scale = 1.0 if noise.law == "log" else np.log(10) / 10
    return np.exp(report * scale) - noise.sigma**2

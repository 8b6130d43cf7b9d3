"""Which phase gradients to try: the one spacing for which the received power is unimodal in the index.

With a step of exactly 1/K (K wavelengths of aperture), |h_n|^2 = sin^2(pi delta) / (pi (delta - n))^2: the numerator is the
same for every n, so the power falls strictly on both sides of the best. Integer multiples of the step keep the property;
no other step does. Elements wrap around: directions and gradients are up to 2 apart, and the kernel of elements d wavelengths
apart rises again beyond 1 / (2 d), so for directions up to -1 and 1 they must be at most a quarter of a wavelength apart.
"""

import math
from dataclasses import dataclass

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.links.beam.surface import Float, Surface, two_path_gain

__all__ = ["Unimodality", "check_unimodal", "checked_grid", "exact_grid"]


def exact_grid(surface: Surface) -> Float:
    """Phase gradients from -1 to 1 in steps of 1/K that include 0: floor(2 K) + 1 of them or one less, ascending."""
    reach = math.floor(surface.size + 1e-9)
    return np.arange(-reach, reach + 1) / surface.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Unimodality:
    """What a check found: the share of directions whose powers are unimodal in the index, and a direction that fails."""

    share: float
    tried: int
    counterexample: float | None

    @property
    def holds(self) -> bool:
        """For every direction tried."""
        return self.share == 1.0


def check_unimodal(
    surface: Surface, grid_M: Float, *, second_path: float = 0.0, num_directions: int = 2000, seed: int = 0
) -> Unimodality:
    """Are the powers over the grid unimodal, whatever the direction? Random directions within the grid, and its points.

    Args:
        surface: of one axis.
        grid_M: ascending phase gradients.
        second_path: amplitude, beside the first, of a second path from another random direction (0: none).
        num_directions: random ones, beside those of the grid.
        seed: of the directions.

    Raises:
        InputError: the grid is empty, not ascending, or not finite; an amplitude that is not.
    """
    grid_M = np.asarray(grid_M, np.float64)
    if grid_M.ndim != 1 or grid_M.size < 1 or not np.isfinite(grid_M).all() or np.any(np.diff(grid_M) <= 0):
        raise InputError("the grid must be finite numbers in ascending order, at least one")
    if not 0 <= second_path < math.inf:
        raise InputError(
            f"second_path is {second_path}; expected a finite amplitude beside the first path's, 0 or more"
        )
    draw = np.random.default_rng(seed)
    direction_B = np.concatenate([draw.uniform(grid_M[0], grid_M[-1], num_directions), grid_M])
    other_B = draw.uniform(grid_M[0], grid_M[-1], direction_B.size)
    power_BM = two_path_gain(surface, direction_B[:, None] - grid_M, other_B[:, None] - grid_M, second_path) ** 2
    good_B = _unimodal(power_BM)
    bad = np.flatnonzero(~good_B)
    return Unimodality(
        share=float(good_B.mean()),
        tried=direction_B.size,
        counterexample=float(direction_B[bad[0]]) if bad.size else None,
    )


def checked_grid(surface: Surface, grid_M: Float) -> Float:
    """`grid_M`, if elimination is sound on it.

    Raises:
        InputError: there is a direction for which the powers over the grid are not unimodal; the message names one.
    """
    found = check_unimodal(surface, grid_M)
    if not found.holds:
        raise InputError(
            f"on this grid {1 - found.share:.1%} of directions are not unimodal, {found.counterexample:.4f} for one; "
            f"expected steps of {1 / surface.size:.6g} (1/K) or a multiple, elements at most a quarter of a wavelength apart"
        )
    return np.asarray(grid_M, np.float64)


def _unimodal(power_BM: Float) -> np.ndarray:
    """Rows that rise to their greatest value and fall after it, up to rounding where a row is all but zero."""
    slack = 1e-12 * power_BM.max(axis=1, keepdims=True)
    step_BM = np.diff(power_BM, axis=1)
    best_B1 = power_BM.argmax(axis=1)[:, None]
    index = np.arange(step_BM.shape[1])[None, :]
    rises = (index < best_B1) & (step_BM < -slack)
    falls = (index >= best_B1) & (step_BM > slack)
    return ~(rises | falls).any(axis=1)

"""Which phase gradients to try: the one spacing for which the received power is unimodal in the index.

With a step of exactly 1/K (K wavelengths of aperture), |h_n|^2 = sin^2(pi delta) / (pi (delta - n))^2: the numerator is the
same for every n, so the power falls strictly on both sides of the best. Integer multiples of the step keep the property;
no other step does. Elements half a wavelength apart or more wrap around and lose it too.
"""

import math
from dataclasses import dataclass

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.links.beam.surface import Float, Surface, gain

__all__ = ["Unimodality", "check_unimodal", "exact_grid"]


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


def check_unimodal(surface: Surface, grid_M: Float, *, num_directions: int = 2000, seed: int = 0) -> Unimodality:
    """Are the powers over the grid unimodal, whatever the direction? Random directions within the grid, and its points.

    Raises:
        InputError: the grid is empty, not ascending, or not finite.
    """
    grid_M = np.asarray(grid_M, np.float64)
    if grid_M.ndim != 1 or grid_M.size < 1 or not np.isfinite(grid_M).all() or np.any(np.diff(grid_M) <= 0):
        raise InputError("the grid must be finite numbers in ascending order, at least one")
    direction_B = np.random.default_rng(seed).uniform(grid_M[0], grid_M[-1], num_directions)
    power_BM = gain(surface, direction_B[:, None] - grid_M[None, :]) ** 2
    good_B = _unimodal(power_BM)
    bad = np.flatnonzero(~good_B)
    return Unimodality(
        share=float(good_B.mean()),
        tried=num_directions,
        counterexample=float(direction_B[bad[0]]) if bad.size else None,
    )


def _unimodal(power_BM: Float) -> np.ndarray:
    """Rows that rise to their greatest value and fall after it, up to rounding where a row is all but zero."""
    slack = 1e-12 * power_BM.max(axis=1, keepdims=True)
    step_BM = np.diff(power_BM, axis=1)
    best_B1 = power_BM.argmax(axis=1)[:, None]
    index = np.arange(step_BM.shape[1])[None, :]
    rises = (index < best_B1) & (step_BM < -slack)
    falls = (index >= best_B1) & (step_BM > slack)
    return ~(rises | falls).any(axis=1)

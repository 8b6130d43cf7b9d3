"""An upper bound on the error of eliminating thirds, for reports that are power plus Gaussian noise (sub-Gaussian, sigma).

While the peak is in the right third, dropping that third takes a report of the point at two thirds that is below one of
the two on its left. With n pilots an arm and a gap Delta between the points at one and two thirds, each of these happens
with probability at most exp(-n Delta^2 / (4 sigma^2)); the peak in the middle third cannot be lost. The last phase errs
with at most the sum of the same over its wrong arms. The bound is for the path that keeps the peak: its worst member.
"""

import math

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.links.beam.noise import Float, Noise
from fullduplex.links.beam.schedule import even_counts, schedule

__all__ = ["error_bound"]


def error_bound(power_M: Float, budget: int, noise: Noise) -> float:
    """P(the arm chosen is not the best) is at most this, for one direction.

    Args:
        power_M: mean report of every arm, unimodal in the index.
        budget: pilots T.
        noise: of law "gaussian", sigma above 0.

    Raises:
        InputError: the powers are not unimodal or not finite, sigma is not positive, or the law is another: the proof
        needs reports whose mean is the power and whose tails are Gaussian.
    """
    if noise.law != "gaussian":
        raise InputError(f"no bound is known for reports of law {noise.law!r}; expected 'gaussian'")
    sigma = noise.sigma
    power_M = np.asarray(power_M, np.float64)
    if power_M.ndim != 1 or not power_M.size or not np.isfinite(power_M).all() or not sigma > 0:
        raise InputError("expected finite powers of at least one arm, and a sigma above 0")
    peak = int(power_M.argmax())
    if np.any(np.diff(power_M[: peak + 1]) < 0) or np.any(np.diff(power_M[peak:]) > 0):
        raise InputError(
            "the powers are not unimodal in the index: the bound, like the algorithm, does not hold for them"
        )
    plan = schedule(power_M.size, budget)
    reachable, total = {0}, 0.0
    for size, pilots in zip(plan.sizes[:-1], plan.pilots[:-1], strict=True):
        third = (size - 1) // 3
        counts = even_counts(pilots, 4)
        worst, after = 0.0, set[int]()
        for low in reachable:
            left, right = low + third, low + size - 1 - third
            if peak <= right:
                after.add(low)
            if peak >= left:
                after.add(low + third)
            if peak < left:
                worst = max(worst, _swap(power_M[left] - power_M[right], min(counts), sigma))
            elif peak > right:
                worst = max(worst, _swap(power_M[right] - power_M[left], min(counts), sigma))
        total += 2 * worst
        reachable = after
    count = min(even_counts(plan.pilots[-1], plan.sizes[-1]))
    last = [
        sum(
            _swap(power_M[peak] - power_M[arm], count, sigma) for arm in range(low, low + plan.sizes[-1]) if arm != peak
        )
        for low in reachable
    ]
    return min(1.0, total + max(last))


def _swap(gap: float, count: int, sigma: float) -> float:
    return math.exp(-count * gap**2 / (4 * sigma**2))

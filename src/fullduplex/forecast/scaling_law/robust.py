"""Robust least squares for many small problems at once (Levenberg-Marquardt with Huber's weights).

Axes: R problems (bootstrap copies, starts), N points, K parameters.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from fullduplex.base.arrays import Float64Array

__all__ = ["Curve", "huber_cost", "minimise", "robust_scale"]

# From parameters (R, K) to predictions (R, N) and their derivatives (R, N, K).
Curve: TypeAlias = Callable[[Float64Array], tuple[Float64Array, Float64Array]]

_STEPS = 100
_HUBER = 1.345  # of the scale: 95 % as efficient as least squares where errors are normal (Huber 1981)


def minimise(curve: Curve, y_RN: Float64Array, start_RK: Float64Array, threshold: float) -> Float64Array:
    """Parameters, shape (R, K), that make Huber's cost of y - curve smallest, each from its own start.

    Args:
        curve: predictions and derivatives.
        y_RN: what was observed.
        start_RK: where each problem begins.
        threshold: residual from which the cost grows linearly; infinite is least squares.
    """
    found_RK, open_R = start_RK.copy(), np.arange(len(start_RK))
    damping_R = np.full(len(start_RK), 1e-2)
    eye_KK = np.eye(start_RK.shape[1])
    for _ in range(_STEPS):
        theta_RK, target_RN = found_RK[open_R], y_RN[open_R]
        made_RN, slope_RNK = curve(theta_RK)
        residual_RN = target_RN - made_RN
        cost_R = huber_cost(residual_RN, threshold)
        weight_RN = np.minimum(1.0, threshold / np.maximum(np.abs(residual_RN), 1e-300))
        weighted_RKN = (slope_RNK * weight_RN[..., None]).swapaxes(1, 2)
        normal_RKK, gradient_RK1 = weighted_RKN @ slope_RNK, weighted_RKN @ residual_RN[..., None]
        diagonal_RK = np.einsum("rkk->rk", normal_RKK) + 1e-14
        damped_RKK = normal_RKK + (damping_R[open_R, None] * diagonal_RK)[..., None] * eye_KK + 1e-14 * eye_KK
        step_RK1 = np.linalg.solve(damped_RKK, gradient_RK1)
        trial_RK = theta_RK + np.clip(step_RK1[..., 0], -3, 3)
        better_R = huber_cost(target_RN - curve(trial_RK)[0], threshold) < cost_R
        found_RK[open_R[better_R]] = trial_RK[better_R]
        damping_R[open_R] = np.clip(damping_R[open_R] * np.where(better_R, 0.1, 5.0), 1e-10, 1e10)
        # What the step promises, in the quadratic model; where that is nothing, the search is over.
        promised_R = (step_RK1 * gradient_RK1).sum(axis=(1, 2))
        open_R = open_R[promised_R > 1e-9 * cost_R + 1e-300]
        if not open_R.size:
            break
    return found_RK


def huber_cost(residual_RN: Float64Array, threshold: float) -> Float64Array:
    """Sum over points of r^2 up to the threshold t and of 2 t |r| - t^2 beyond; shape (R,)."""
    size_RN = np.abs(residual_RN)
    if not np.isfinite(threshold):
        return (size_RN**2).sum(axis=-1)
    linear_RN = 2 * threshold * size_RN - threshold**2
    return np.where(size_RN <= threshold, size_RN**2, linear_RN).sum(axis=-1)


def robust_scale(residual_N: Float64Array, num_parameters: int) -> tuple[float, float]:
    """A scale of the residuals that a few outliers do not move, and Huber's threshold for it."""
    spare = max(1, residual_N.size - num_parameters)
    median = float(np.median(np.abs(residual_N))) * 1.4826
    scale = max(median * np.sqrt(residual_N.size / spare), 1e-10)
    return scale, _HUBER * scale

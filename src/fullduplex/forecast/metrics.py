"""Errors of point forecasts, quantiles and ensembles.

Missing observations (NaN in `actual`) are left out; a missing forecast is an error. Arrays of any shape, all equal.
"""

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = [
    "coverage",
    "crps_ensemble",
    "crps_quantiles",
    "mae",
    "mape",
    "mase",
    "mse",
    "owa",
    "quantile_loss",
    "smape",
]


def mse(actual: Float64Array, forecast: Float64Array) -> float:
    """Mean squared error."""
    a, f = _pair(actual, forecast)
    return float(np.mean((f - a) ** 2))


def mae(actual: Float64Array, forecast: Float64Array) -> float:
    """Mean absolute error."""
    a, f = _pair(actual, forecast)
    return float(np.mean(np.abs(f - a)))


def mape(actual: Float64Array, forecast: Float64Array) -> float:
    """Mean absolute error over the observation, in percent; every point counts, however bad.

    Raises:
        InputError: an observation is 0: the measure does not exist there.
    """
    a, f = _pair(actual, forecast)
    if not a.all():
        raise InputError("an observation is 0, where a percentage of it means nothing; use smape or mase")
    return float(100 * np.mean(np.abs((f - a) / a)))


def smape(actual: Float64Array, forecast: Float64Array) -> float:
    """Symmetric percentage error 200 |f - a| / (|a| + |f|), in 0 to 200 (M4 competition); 0 where both are 0."""
    a, f = _pair(actual, forecast)
    size = np.abs(a) + np.abs(f)
    return float(200 * np.mean(np.divide(np.abs(f - a), size, out=np.zeros_like(size), where=size > 0)))


def mase(actual: Float64Array, forecast: Float64Array, past_T: Float64Array, season: int) -> float:
    """Mean absolute error over that of the seasonal naive forecast inside the past (Hyndman and Koehler 2006).

    Args:
        actual: observations.
        forecast: the forecast of each.
        past_T: the series before the forecast, shape (T,).
        season: steps of a season, at least 1.

    Raises:
        InputError: the past is no longer than a season, or repeats itself exactly so that nothing can be compared.
    """
    if season < 1 or past_T.ndim != 1 or past_T.size <= season:
        raise InputError(f"mase needs a past of one axis longer than a season of {season}; it has shape {past_T.shape}")
    steps = np.abs(past_T[season:] - past_T[:-season])
    scale = float(np.nanmean(steps)) if not np.isnan(steps).all() else 0.0
    if not scale > 0:
        raise InputError(f"the past repeats itself exactly every {season} steps; mase has no scale there")
    return mae(actual, forecast) / scale


def owa(smape_of_it: float, mase_of_it: float, smape_naive2: float, mase_naive2: float) -> float:
    """Overall weighted average of the M4 competition: the mean of both errors, each over that of Naive 2."""
    if not (smape_naive2 > 0 and mase_naive2 > 0):
        raise InputError(f"the errors of Naive 2 are {smape_naive2} and {mase_naive2}; expected numbers above 0")
    return 0.5 * (smape_of_it / smape_naive2 + mase_of_it / mase_naive2)


def quantile_loss(actual: Float64Array, forecast: Float64Array, level: float) -> float:
    """Mean pinball loss of the quantile `level`, in (0, 1): max(q (a - f), (q - 1)(a - f))."""
    if not 0 < level < 1:
        raise InputError(f"the level is {level}; expected a number between 0 and 1")
    a, f = _pair(actual, forecast)
    return float(np.mean(np.maximum(level * (a - f), (level - 1) * (a - f))))


def crps_quantiles(actual: Float64Array, quantiles: Float64Array, levels: Float64Array) -> float:
    """Continuous ranked probability score from quantiles: twice the mean pinball loss over the levels.

    Args:
        actual: observations, any shape.
        quantiles: forecasts of every level on a last axis more, shape (..., Q).
        levels: shape (Q,), each in (0, 1); evenly spread levels approach the integral.
    """
    if quantiles.shape != (*actual.shape, levels.size):
        raise InputError(f"quantiles have shape {quantiles.shape}; expected {(*actual.shape, levels.size)}")
    losses = [quantile_loss(actual, quantiles[..., index], float(q)) for index, q in enumerate(levels)]
    return 2 * float(np.mean(losses))


def crps_ensemble(actual: Float64Array, members: Float64Array) -> float:
    """Score of an ensemble on a last axis more, shape (..., M): E|X - a| - E|X - X'| / 2 (Gneiting and Raftery 2007)."""
    if members.ndim != actual.ndim + 1 or members.shape[:-1] != actual.shape or not members.shape[-1]:
        raise InputError(f"members have shape {members.shape}; expected {actual.shape} and one axis more")
    present = ~np.isnan(actual)
    a, x = actual[present], np.sort(members[present], axis=-1)
    if not a.size or not np.isfinite(x).all():
        raise InputError("nothing was observed, or a member is missing")
    count = x.shape[-1]
    # Sorted members turn the mean over all pairs into one weighted sum.
    weights = 2 * np.arange(1, count + 1) - count - 1
    spread = (x * weights).sum(axis=-1) / count**2
    return float(np.mean(np.abs(x - a[:, None]).mean(axis=-1) - spread))


def coverage(actual: Float64Array, lower: Float64Array, upper: Float64Array) -> float:
    """Share of observations inside the interval, ends included."""
    a, low = _pair(actual, lower)
    _, high = _pair(actual, upper)
    return float(np.mean((low <= a) & (a <= high)))


def _pair(actual: Float64Array, forecast: Float64Array) -> tuple[Float64Array, Float64Array]:
    if actual.shape != forecast.shape:
        raise InputError(f"{actual.shape} observations, {forecast.shape} forecasts; expected the same shape")
    present = ~np.isnan(actual)
    a, f = actual[present], forecast[present]
    if not a.size:
        raise InputError("there is no observation to compare with")
    if not np.isfinite(f).all() or not np.isfinite(a).all():
        raise InputError("a forecast is missing or infinite, or an observation is infinite")
    return a, f

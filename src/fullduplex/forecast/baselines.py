"""Forecasts that any model has to beat: naive, seasonal naive, Naive 2 of M4, a closed-form linear map.

Axes: T steps in time, C channels, N windows, L context, H horizon.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.windows import History, cut_windows, filled, num_windows

__all__ = [
    "Base",
    "FittedLinear",
    "FittedSeasonalNaive",
    "LinearForecaster",
    "SeasonalNaive",
    "base_map",
    "naive2",
    "repeat_map",
    "seasonal_indices",
]

Base = Literal["none", "last", "season", "linear", "best"]  # what a learned model may stand on and begin as

_EPSILON = 1e-5  # of the window's variance
_BLOCK_WINDOWS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedSeasonalNaive:
    """The last season again and again."""

    season: int
    horizon: int

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C); a missing last value (NaN) takes that of the season before.

        Raises:
            InputError: the context is shorter than a season, or holds none of a season's values.
        """
        if context_NLC.shape[1] < self.season:
            raise InputError(
                f"a context of {context_NLC.shape[1]} steps; a season has {self.season}; give a longer one"
            )
        last_NSC = context_NLC[:, -self.season :]
        ends = context_NLC.shape[1]
        while np.isnan(last_NSC).any() and ends >= 2 * self.season:
            ends -= self.season
            last_NSC = np.where(np.isnan(last_NSC), context_NLC[:, ends - self.season : ends], last_NSC)
        if np.isnan(last_NSC).any():
            raise InputError("a step of the season has no value anywhere in the context; fill gaps (--gaps linear)")
        return last_NSC[:, np.arange(self.horizon) % self.season]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonalNaive:
    """The seasonal naive forecast; the season is that of the history (1: the last value)."""

    context: int
    horizon: int
    name: str = "seasonal-naive"

    def fit(self, history: History) -> FittedSeasonalNaive:
        """Nothing is learned."""
        return FittedSeasonalNaive(season=history.season, horizon=self.horizon)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLinear:
    """Forecast = mean + deviation * (standardised context @ weights), the same map for every channel.

    Args:
        weights_LH: shape (L, H).
        season: where a missing value is looked up first.
    """

    weights_LH: Float64Array
    season: int = 1

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C); missing values (NaN) are filled from the context's own past (`filled`).

        Raises:
            InputError: a channel is missing in a whole context, or the context has another length.
        """
        if context_NLC.shape[1] != len(self.weights_LH):
            raise InputError(
                f"a context of {context_NLC.shape[1]} steps; this map was fitted on {len(self.weights_LH)}"
            )
        z_NLC, mean_N1C, std_N1C = _standardised(filled(context_NLC, self.season))
        y_NHC = np.matmul(z_NLC.transpose(0, 2, 1), self.weights_LH).transpose(0, 2, 1)
        return y_NHC * std_N1C + mean_N1C


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearForecaster:
    """Ridge regression from standardised context to horizon, one map shared by all channels, solved in closed form.

    Args:
        context: steps it sees.
        horizon: steps it forecasts.
        ridge: penalty on the squared weights, in units of one standardised value.
    """

    context: int
    horizon: int
    ridge: float = 0.1
    name: str = "linear"

    def __post_init__(self) -> None:
        if not self.ridge >= 0:
            raise ConfigError(f"ridge is {self.ridge}; expected 0 or more")

    def fit(self, history: History) -> FittedLinear:
        """Solve the normal equations over every training window and channel; windows with a missing value are left out.

        Raises:
            InputError: no window is complete.
        """
        context_NLC, target_NHC = cut_windows(history.train_TC, self.context, self.horizon)
        gram_LL = np.zeros((self.context, self.context))
        moment_LH = np.zeros((self.context, self.horizon))
        rows = 0
        for first in range(0, len(context_NLC), _BLOCK_WINDOWS):
            z_NLC, mean_N1C, std_N1C = _standardised(context_NLC[first : first + _BLOCK_WINDOWS])
            t_NHC = (target_NHC[first : first + _BLOCK_WINDOWS] - mean_N1C) / std_N1C
            z_RL = z_NLC.transpose(0, 2, 1).reshape(-1, self.context)
            t_RH = t_NHC.transpose(0, 2, 1).reshape(-1, self.horizon)
            whole = np.isfinite(z_RL).all(axis=1) & np.isfinite(t_RH).all(axis=1)
            z_RL, t_RH = z_RL[whole], t_RH[whole]
            gram_LL += z_RL.T @ z_RL
            moment_LH += z_RL.T @ t_RH
            rows += len(z_RL)
        if not rows:
            raise InputError("every training window has a missing value; fill gaps first (--gaps linear)")
        # Least squares instead of a solve: standardised windows lie in a plane, so without a ridge the system is singular.
        weights_LH = np.linalg.lstsq(gram_LL + self.ridge * np.eye(self.context), moment_LH, rcond=None)[0]
        return FittedLinear(weights_LH=np.asarray(weights_LH, np.float64), season=history.season)


def repeat_map(context: int, horizon: int, season: int) -> Float64Array:
    """The last season again and again (1: the last value), as a map for `FittedLinear`; shape (L, H).

    Raises:
        InputError: the context is shorter than a season.
    """
    if not 1 <= season <= context:
        raise InputError(f"a season of {season} steps, a context of {context}; give a longer context")
    weights_LH = np.zeros((context, horizon))
    weights_LH[context - season + np.arange(horizon) % season, np.arange(horizon)] = 1
    return weights_LH


def base_map(name: Base, history: History, context: int, horizon: int) -> Float64Array:
    """The forecast that a learned model stands on, as a map of `FittedLinear`; shape (L, H).

    Args:
        name: `"last"` value, last `"season"`, the `"linear"` map, or the `"best"` of them: that with the least squared
            error over all windows of `history.validate_TC`. Where none fits in there, `"best"` is the linear map.
        history: all that is known.
        context: L.
        horizon: H.

    Raises:
        InputError: the context is shorter than a season, or `LinearForecaster` can use no window.
        ConfigError: there is no such map.
    """
    if name == "last":
        return repeat_map(context, horizon, 1)
    if name == "season":
        return repeat_map(context, horizon, history.season)
    linear_LH = LinearForecaster(context=context, horizon=horizon).fit(history).weights_LH
    if name == "linear":
        return linear_LH
    if name != "best":
        raise ConfigError(f"base is {name!r}; expected 'last', 'season', 'linear' or 'best'")
    rows_TC = np.concatenate([history.train_TC[-context:], history.validate_TC])
    if not len(history.validate_TC) or num_windows(len(rows_TC), context, horizon) < 1:
        return linear_LH
    maps = [repeat_map(context, horizon, season) for season in {1, history.season} if season <= context]
    return min([*maps, linear_LH], key=lambda weights_LH: _squared_error(weights_LH, rows_TC, history.season))


def _squared_error(weights_LH: Float64Array, rows_TC: Float64Array, season: int) -> float:
    context_NLC, target_NHC = cut_windows(rows_TC, *weights_LH.shape)
    fitted, total = FittedLinear(weights_LH=weights_LH, season=season), 0.0
    for first in range(0, len(context_NLC), _BLOCK_WINDOWS):
        piece = slice(first, first + _BLOCK_WINDOWS)
        total += float(np.nansum((fitted.predict(context_NLC[piece]) - target_NHC[piece]) ** 2))
    return total


def _standardised(context_NLC: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    mean_N1C = context_NLC.mean(axis=1, keepdims=True)
    std_N1C = np.sqrt(context_NLC.var(axis=1, keepdims=True) + _EPSILON)
    return (context_NLC - mean_N1C) / std_N1C, mean_N1C, std_N1C


def naive2(past_T: Float64Array, horizon: int, season: int) -> Float64Array:
    """Naive 2 of the M4 competition: the last value, seasonally adjusted where a 90 % test finds a season; shape (H,).

    Args:
        past_T: the series, without missing values.
        horizon: steps to forecast.
        season: steps of a season.
    """
    if not np.isfinite(past_T).all() or past_T.size < 1:
        raise InputError("Naive 2 needs a past without missing values")
    if not _has_season(past_T, season):
        return np.full(horizon, past_T[-1])
    indices_S = seasonal_indices(past_T, season)
    phase = past_T.size % season
    ahead = indices_S[(phase + np.arange(horizon)) % season]
    return past_T[-1] / indices_S[(phase - 1) % season] * ahead


def seasonal_indices(past_T: Float64Array, season: int) -> Float64Array:
    """Indices of a classical multiplicative decomposition, shape (season,), of mean 1; the first is that of step 0."""
    if past_T.size < 2 * season:
        raise InputError(f"{past_T.size} steps; indices of a season of {season} need two seasons")
    even = season % 2 == 0
    weights = np.r_[0.5, np.ones(season - 1), 0.5] / season if even else np.full(season, 1 / season)
    trend = np.convolve(past_T, weights, mode="valid")
    half = (weights.size - 1) // 2
    ratio = past_T[half : half + trend.size] / trend
    phases = (np.arange(half, half + trend.size)) % season
    indices_S = np.array([ratio[phases == phase].mean() for phase in range(season)])
    return indices_S / indices_S.mean()


def _has_season(past_T: Float64Array, season: int) -> bool:
    """M4's test: is the autocorrelation at a season outside its 90 % limits (Bartlett)?"""
    if season <= 1 or past_T.size < 3 * season:
        return False
    centred = past_T - past_T.mean()
    power = float(centred @ centred)
    if power == 0:
        return False
    correlations = np.array([centred[lag:] @ centred[:-lag] / power for lag in range(1, season + 1)])
    limit = 1.645 * np.sqrt((1 + 2 * float((correlations[:-1] ** 2).sum())) / past_T.size)
    return bool(abs(correlations[-1]) > limit)

"""How good a forecaster is on rows it has never seen.

The order of things is fixed here, so that no leak has a place: the scaler is fitted on the training rows; a forecaster is
handed a `History` that ends before the first test row; every test window is forecast, the last ones included; nothing is
chosen by a test error. `refuse_leak` looks for what a forecaster may have smuggled in.

Axes: T rows, C channels, N windows, L context, H horizon.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FullduplexError, InputError
from fullduplex.forecast import metrics
from fullduplex.forecast.conformal import Intervals, calibrate
from fullduplex.forecast.scale import Scaler, fit_scaler
from fullduplex.forecast.windows import History, Split, cut_windows, num_windows

__all__ = ["BacktestResult", "Fitted", "Forecaster", "LeakError", "Prepared", "backtest", "prepare", "refuse_leak"]

_BLOCK_WINDOWS = 512


class LeakError(FullduplexError):
    """Forecasts of the past change when only the future is changed."""


class Fitted(Protocol):
    """A model that has been fitted."""

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C) for contexts of shape (N, L, C)."""
        ...


class Forecaster(Protocol):
    """What can be fitted; a value."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    @property
    def context(self) -> int:
        """Steps it sees."""
        ...

    @property
    def horizon(self) -> int:
        """Steps it forecasts."""
        ...

    def fit(self, history: History) -> Fitted:
        """Fit on the past, and on nothing else."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A series in standard scores of its training rows, and where its parts end."""

    scaled_TC: Float64Array
    scaler: Scaler
    split: Split
    season: int

    @property
    def history(self) -> History:
        """All that a forecaster is given: a copy, which ends before the first test row."""
        split = self.split
        return History(
            train_TC=self.scaled_TC[: split.train].copy(),
            validate_TC=self.scaled_TC[split.train : split.past].copy(),
            season=self.season,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """Errors over all test windows; `mse` and `mae` in standard scores of the training rows.

    `mase` is the mean over channels, `coverage` that of the conformal intervals at `level`, None without validation rows.
    """

    name: str
    num_windows: int
    mse: float
    mae: float
    mase: float | None
    coverage: float | None
    level: float
    mse_by_step_H: Float64Array


def prepare(values_TC: Float64Array, split: Split, season: int = 1) -> Prepared:
    """Scale a series by its training rows.

    Raises:
        InputError: the series has fewer rows than the split.
    """
    total = split.past + split.test
    if len(values_TC) < total:
        raise InputError(f"the series has {len(values_TC)} rows, the split {total}; shorten the split")
    scaler = fit_scaler(values_TC[: split.train])
    return Prepared(scaled_TC=scaler.scale(values_TC[:total]), scaler=scaler, split=split, season=season)


def backtest(
    forecaster: Forecaster,
    prepared: Prepared,
    *,
    level: float = 0.9,
    most: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> BacktestResult:
    """Fit on the past, forecast every test window, or as many as one says.

    Args:
        forecaster: what to fit.
        prepared: the series, from `prepare`.
        level: of the intervals, calibrated on the validation windows.
        most: test windows, and windows to calibrate on, evenly spread; for a model that is fitted to every window.
        progress: called with the number of windows just forecast.

    Raises:
        InputError: the test part is shorter than the horizon, or a forecast is missing.
    """
    split, context, horizon = prepared.split, forecaster.context, forecaster.horizon
    count = num_windows(min(context, split.past) + split.test, context, horizon)
    if count < 1:
        raise InputError(f"{split.test} test rows do not hold a horizon of {horizon}; shorten --horizon")
    fitted = forecaster.fit(prepared.history)
    intervals = _intervals(fitted, forecaster, prepared, level, most)
    rows_TC = prepared.scaled_TC[split.past - context :]
    squared_H, absolute_C, seen_HC = (
        np.zeros(horizon),
        np.zeros(rows_TC.shape[1]),
        np.zeros((horizon, rows_TC.shape[1])),
    )
    inside = 0
    for context_NLC, target_NHC in _blocks(rows_TC, context, horizon, most):
        forecast_NHC = _predicted(fitted, forecaster.name, context_NLC, target_NHC)
        errors_NHC = forecast_NHC - target_NHC
        squared_H += np.nansum(errors_NHC**2, axis=(0, 2))
        absolute_C += np.nansum(np.abs(errors_NHC), axis=(0, 1))
        seen_HC += (~np.isnan(errors_NHC)).sum(axis=0)
        if intervals is not None:
            inside += int((np.abs(errors_NHC) <= intervals.width_HC).sum())
        if progress is not None:
            progress(len(context_NLC))
    if most is not None and most < 1:
        raise InputError(f"most is {most}; expected 1 or more")
    if not seen_HC.sum():
        raise InputError("the test part has no observation")
    return BacktestResult(
        name=forecaster.name,
        num_windows=count if most is None else min(most, count),
        mse=float(squared_H.sum() / seen_HC.sum()),
        mae=float(absolute_C.sum() / seen_HC.sum()),
        mase=_mean_mase(absolute_C, seen_HC.sum(axis=0), prepared),
        coverage=None if intervals is None else float(inside / seen_HC.sum()),
        level=level,
        mse_by_step_H=squared_H / np.maximum(seen_HC.sum(axis=1), 1),
    )


def refuse_leak(
    pipeline: Callable[[Float64Array], Float64Array], values_TC: Float64Array, cut: int, seed: int = 0
) -> None:
    """Check that forecasts made of rows before `cut` do not change when rows from `cut` on do.

    Args:
        pipeline: from a whole series of shape (T, C) to forecasts that should need rows before `cut` only: scaling,
            fitting and forecasting in one.
        values_TC: the series.
        cut: first row of the future, in 1 to T - 1.
        seed: of the changed future.

    Raises:
        LeakError: the forecasts differ by a bit.
        InputError: there is no past or no future.
    """
    if not 0 < cut < len(values_TC):
        raise InputError(f"the cut is {cut} of {len(values_TC)} rows; expected a past and a future")
    changed_TC = values_TC.copy()
    spread = float(np.nanstd(values_TC)) or 1.0
    changed_TC[cut:] += spread * (3 + np.random.default_rng(seed).standard_normal(changed_TC[cut:].shape))
    before, after = pipeline(values_TC.copy()), pipeline(changed_TC)
    if not np.array_equal(before, after, equal_nan=True):
        worst = float(np.nanmax(np.abs(before - after)))
        raise LeakError(
            f"forecasts from rows before {cut} moved by up to {worst:.3g} when only later rows were changed"
        )


def _blocks(
    rows_TC: Float64Array, context: int, horizon: int, most: int | None
) -> Iterator[tuple[Float64Array, Float64Array]]:
    contexts_NLC, targets_NHC = cut_windows(rows_TC, context, horizon)
    if most is not None and most < len(contexts_NLC):
        spread = np.linspace(0, len(contexts_NLC) - 1, most).round().astype(int)
        contexts_NLC, targets_NHC = contexts_NLC[spread], targets_NHC[spread]
    for first in range(0, len(contexts_NLC), _BLOCK_WINDOWS):
        yield contexts_NLC[first : first + _BLOCK_WINDOWS], targets_NHC[first : first + _BLOCK_WINDOWS]


def _predicted(fitted: Fitted, name: str, context_NLC: Float64Array, target_NHC: Float64Array) -> Float64Array:
    forecast_NHC = fitted.predict(context_NLC)
    if forecast_NHC.shape != target_NHC.shape or not np.isfinite(forecast_NHC).all():
        shapes = f"{forecast_NHC.shape}, expected {target_NHC.shape}"
        raise InputError(f"{name} gave forecasts of shape {shapes}, or some are missing or infinite")
    return forecast_NHC


def _intervals(
    fitted: Fitted, forecaster: Forecaster, prepared: Prepared, level: float, most: int | None
) -> Intervals | None:
    split, context, horizon = prepared.split, forecaster.context, forecaster.horizon
    rows_TC = prepared.scaled_TC[max(0, split.train - context) : split.past]
    count = num_windows(len(rows_TC), context, horizon)
    if not split.validate or min(count, most or count) < level / (1 - level):
        return None
    blocks = [
        (target, _predicted(fitted, forecaster.name, seen, target))
        for seen, target in _blocks(rows_TC, context, horizon, most)
    ]
    targets: Sequence[Float64Array] = [target for target, _ in blocks]
    return calibrate(np.concatenate(targets), np.concatenate([made for _, made in blocks]), level)


def _mean_mase(absolute_C: Float64Array, seen_C: Float64Array, prepared: Prepared) -> float | None:
    """Mean over channels; None where a channel's past has no scale (constant, or shorter than a season)."""
    past_TC = prepared.history.past_TC
    found: list[float] = []
    for channel in range(past_TC.shape[1]):
        error = np.array([absolute_C[channel] / max(seen_C[channel], 1)])
        try:
            found.append(metrics.mase(np.zeros(1), error, past_TC[:, channel], prepared.season))
        except InputError:
            return None
    return float(np.mean(found))

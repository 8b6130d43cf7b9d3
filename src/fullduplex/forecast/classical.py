"""AutoETS and AutoTheta of statsforecast as baselines: one model a series and window, so slow in a backtest."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import ConfigError, MissingExtraError
from fullduplex.forecast.windows import History, filled

__all__ = ["CLASSICAL", "ClassicalForecaster", "FittedClassical"]

CLASSICAL = ("auto-ets", "auto-theta")


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedClassical:
    """Fits a model to every context it is given; what comes before a context is not used."""

    name: str
    season: int
    horizon: int

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C); missing values (NaN) are filled from the context's own past.

        Raises:
            InputError: a channel is missing in a whole context.
        """
        context_NLC = filled(context_NLC, self.season)
        count, _, channels = context_NLC.shape
        forecast_NHC = np.empty((count, self.horizon, channels))
        for index in range(count):
            for channel in range(channels):
                series_L = np.ascontiguousarray(context_NLC[index, :, channel])
                forecast_NHC[index, :, channel] = self._one(series_L)
        return forecast_NHC

    def _one(self, series_L: Float64Array) -> Float64Array:
        if np.ptp(series_L) == 0:  # a constant has no model to choose; its forecast is the constant
            return np.full(self.horizon, series_L[-1])
        # A season of which the context holds less than two cannot be estimated.
        season = self.season if series_L.size >= 2 * self.season + 2 else 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its numerical warnings are about candidates it then drops
            return np.asarray(_model(self.name, season).forecast(y=series_L, h=self.horizon)["mean"], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicalForecaster:
    """AutoETS (Hyndman et al. 2002) or AutoTheta (Fiorucci et al. 2016) with the season of the history.

    Raises:
        ConfigError: the name is neither.
    """

    name: str
    context: int
    horizon: int

    def __post_init__(self) -> None:
        if self.name not in CLASSICAL:
            raise ConfigError(f"model {self.name!r}; expected {' or '.join(CLASSICAL)}")

    def fit(self, history: History) -> FittedClassical:
        """Nothing yet: the model is chosen for each context.

        Raises:
            MissingExtraError: statsforecast is not installed.
        """
        _model(self.name, 1)
        return FittedClassical(name=self.name, season=history.season, horizon=self.horizon)


def _model(name: str, season: int) -> Any:
    try:
        from statsforecast.models import AutoETS, AutoTheta  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("statsforecast", "forecast-peers") from error
    return AutoETS(season_length=season) if name == "auto-ets" else AutoTheta(season_length=season)

"""Our forecasters inside Nixtla's StatsForecast: `StatsForecast(models=[NixtlaModel(...)], freq="h")`.

StatsForecast asks a model for `new`, `fit`, `predict` and `forecast` on one series at a time, and for a name. Nothing of
Nixtla's is imported here. Axes: T rows, H horizon.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.forecast.api.forecaster import Forecast, SeriesForecaster
from fullduplex.forecast.backtest import Forecaster

__all__ = ["NixtlaModel"]


class NixtlaModel:
    """One forecaster under Nixtla's conventions; point forecasts and conformal intervals.

    Args:
        model: a name of `MODELS`, or any `Forecaster`, ours or yours.
        horizon: the most steps that will be asked for; None: those of the first `forecast`, and 1 season for `fit`.
        season_length: steps of a season.
        context: steps the model sees.
        epochs: of a model that is trained.
        seed: of a model that is trained.
        alias: its column in the result.
    """

    uses_exog = False
    prediction_intervals = None

    def __init__(
        self,
        model: str | Forecaster = "linear",
        *,
        horizon: int | None = None,
        season_length: int = 1,
        context: int | None = None,
        epochs: int = 3,
        seed: int = 0,
        alias: str | None = None,
    ) -> None:
        self.model, self.horizon, self.season_length, self.context = model, horizon, season_length, context
        self.epochs, self.seed = epochs, seed
        self.alias = alias or (model if isinstance(model, str) else model.name)
        self._fitted: SeriesForecaster | None = None

    def __repr__(self) -> str:
        return self.alias

    def new(self) -> Self:
        """A copy that is not fitted."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._fitted = None
        return copy

    def fit(self, y: Float64Array, X: Float64Array | None = None) -> Self:
        """Fit one series.

        Raises:
            InputError: there are other series to go by (`X`), which no model here takes; or the series is too short.
        """
        if X is not None and np.size(X):
            raise InputError("these models take no exogenous series; leave X out")
        horizon = self.horizon or max(self.season_length, 1)
        maker = SeriesForecaster(
            horizon=horizon,
            model=self.model,
            context=self.context,
            season=self.season_length,
            epochs=self.epochs,
            seed=self.seed,
        )
        self._fitted = maker.fit(np.asarray(y, np.float64))
        return self

    def predict(
        self,
        h: int,
        X: Float64Array | None = None,
        level: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """The next `h` steps: `mean`, and `lo-90`, `hi-90` for a level of 90.

        Raises:
            InputError: it was not fitted, or `h` is longer than its horizon.
        """
        if self._fitted is None:
            raise InputError("nothing was fitted yet; call fit(y) first")
        return _answer(self._fitted, h, level)

    def forecast(
        self,
        y: Float64Array,
        h: int,
        X: Float64Array | None = None,
        X_future: Float64Array | None = None,
        level: Sequence[float] | None = None,
        fitted: bool = False,
    ) -> dict[str, Any]:
        """Fit and predict in one, as `StatsForecast.forecast` and `cross_validation` do.

        Raises:
            InputError: as `fit`; or values inside the past are asked for (`fitted=True`).
        """
        if fitted:
            raise InputError("these models do not give fitted values inside the past; leave fitted=True out")
        one = self.new()
        one.horizon = one.horizon or h
        return one.fit(y, X).predict(h, level=level)


def _answer(model: SeriesForecaster, h: int, level: Sequence[float] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": model.predict(h).mean_HC[:, 0]}
    for percent in level or ():
        made: Forecast = model.predict(h, level=percent / 100)
        found[f"lo-{percent}"], found[f"hi-{percent}"] = made.lower_HC[:, 0], made.upper_HC[:, 0]
    return found

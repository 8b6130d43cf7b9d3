"""Our forecasters as an sktime forecaster: `SktimeForecaster(model="timemixer").fit(y, fh=[1, 2, 3]).predict()`.

Importing this module imports sktime (`pip install 'fullduplex[forecast-peers]'`).
"""

from typing import Any

import numpy as np

from fullduplex.base.errors import MissingExtraError
from fullduplex.forecast.api.forecaster import SeriesForecaster

try:
    import pandas
    from sktime.forecasting.base import BaseForecaster  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise MissingExtraError(str(error.name or "sktime"), "forecast-peers") from error

__all__ = ["SktimeForecaster"]


class SktimeForecaster(BaseForecaster):  # pyright: ignore[reportUntypedBaseClass]
    """One forecaster under sktime's conventions: several columns at once, conformal intervals.

    Args:
        model: a name of `fullduplex.forecast.api.choice.MODELS`, or any `Forecaster` of the horizon that is asked for.
        context: steps the model sees; None chooses.
        season: steps of a season.
        epochs: of a model that is trained.
        seed: of a model that is trained.
    """

    _tags = {  # noqa: RUF012 - sktime's own convention
        "requires-fh-in-fit": True,
        "capability:exogenous": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:insample": False,
        "capability:missing_values": False,
        "capability:multivariate": True,
        "y_inner_mtype": ["pd.Series", "pd.DataFrame"],
    }

    def __init__(self, model="linear", context=None, season=1, epochs=3, seed=0):
        self.model = model
        self.context = context
        self.season = season
        self.epochs = epochs
        self.seed = seed
        super().__init__()

    def _fit(self, y: Any, X: Any, fh: Any) -> "SktimeForecaster":
        horizon = int(np.max(fh.to_relative(self.cutoff).to_numpy()))
        maker = SeriesForecaster(
            horizon=horizon,
            model=self.model,
            context=self.context,
            season=self.season,
            epochs=self.epochs,
            seed=self.seed,
        )
        self._maker = maker.fit(y.to_numpy(np.float64))
        self._series_name = getattr(y, "name", None)
        self._columns = y.columns if isinstance(y, pandas.DataFrame) else None
        return self

    def _predict(self, fh: Any, X: Any) -> Any:
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int) - 1
        made_HC = self._maker.predict().mean_HC[steps]
        index = fh.to_absolute_index(self.cutoff)
        if self._columns is None:
            return pandas.Series(made_HC[:, 0], index=index, name=self._series_name)
        return pandas.DataFrame(made_HC, index=index, columns=self._columns)

    def _predict_interval(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fh: Any, X: Any, coverage: Any
    ) -> Any:
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int) - 1
        names = self._get_varnames()
        columns = pandas.MultiIndex.from_product([names, coverage, ["lower", "upper"]])
        frame = pandas.DataFrame(index=fh.to_absolute_index(self.cutoff), columns=columns, dtype=float)
        for share in coverage:
            # A share of 0 or 1 has no conformal interval: the point itself, and everything.
            made = self._maker.predict(level=min(max(float(share), 1e-9), 1 - 1e-9))
            for channel, name in enumerate(names):
                frame[(name, share, "lower")] = made.lower_HC[steps, channel]
                frame[(name, share, "upper")] = made.upper_HC[steps, channel]
        return frame

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> Any:
        """Settings that sktime's own checks are run with."""
        return [{"model": "linear", "context": 4}, {"model": "seasonal-naive", "context": 3, "season": 2}]

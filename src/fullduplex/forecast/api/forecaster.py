"""One object with fit, predict, save and load: a model, its scaler, its interval and the end of the series it saw.

Axes: T rows, C channels, L context, H horizon.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FormatError, InputError
from fullduplex.forecast.api.choice import default_context, make_forecaster
from fullduplex.forecast.backtest import Fitted, Forecaster
from fullduplex.forecast.baselines import FittedLinear, FittedSeasonalNaive
from fullduplex.forecast.classical import CLASSICAL, FittedClassical
from fullduplex.forecast.conformal import Intervals, calibrate
from fullduplex.forecast.scale import Scaler, fit_scaler
from fullduplex.forecast.series import Series, season_of
from fullduplex.forecast.windows import History, cut_windows, num_windows

__all__ = ["Forecast", "SeriesForecaster"]

_CALIBRATION_WINDOWS = 500
_CLASSICAL_WINDOWS = 20  # each is a fit
_FILE, _ARRAYS, _WEIGHTS = "forecaster.json", "arrays.npz", "model.ckpt"


class Saveable(Protocol):
    """A fitted model with a file of its own."""

    def save(self, path: Path) -> None:
        """Write it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected, in the units of the series; shapes (H, C).

    `lower_HC` and `upper_HC` are infinite where too few forecasts were ever made to know.
    """

    mean_HC: Float64Array
    lower_HC: Float64Array
    upper_HC: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    fitted: Fitted
    name: str
    scaler: Scaler
    errors_NHC: Float64Array  # on rows it was not fitted on
    tail_LC: Float64Array  # in standard scores


class SeriesForecaster:
    """`SeriesForecaster(horizon=24).fit(series).predict(24)`.

    The newest rows are kept out of the fit; the errors on them are the interval (split conformal).

    Args:
        horizon: the most steps that can be forecast.
        model: a name of `MODELS`, or any `Forecaster` of that horizon.
        context: steps the model sees; None: 96 or two seasons, fewer of a short series.
        season: None: from the times of a `Series`, 1 for an array.
        level: of the interval.
        epochs: of a model that is trained.
        seed: of a model that is trained.
    """

    def __init__(
        self,
        *,
        horizon: int,
        model: str | Forecaster = "linear",
        context: int | None = None,
        season: int | None = None,
        level: float = 0.9,
        epochs: int = 3,
        seed: int = 0,
    ) -> None:
        if horizon < 1 or not 0 < level < 1:
            raise InputError(f"horizon {horizon}, level {level}; expected 1 or more, 0 to 1")
        self.horizon, self.model, self.context, self.season = horizon, model, context, season
        self.level, self.epochs, self.seed = level, epochs, seed
        self._state: _State | None = None

    def fit(self, series: Series | Float64Array) -> Self:
        """Fit and calibrate; returns itself.

        Args:
            series: a `Series`, or an array of shape (T,) or (T, C) with missing values as NaN.

        Raises:
            InputError: there are too few rows for the horizon, a channel has no value, or a value is infinite.
        """
        values_TC, season = _rows(series)
        season = season if self.season is None else self.season
        if len(values_TC) < 2 * self.horizon + 2:
            raise InputError(
                f"{len(values_TC)} rows for a horizon of {self.horizon}; expected more than twice the horizon"
            )
        # The newest rows calibrate: a fifth of them, as many as say enough.
        held = max(min(len(values_TC) // 5, _CALIBRATION_WINDOWS + self.horizon), self.horizon)
        older = len(values_TC) - held
        scaler = fit_scaler(values_TC[:older])
        scaled_TC = scaler.scale(values_TC)
        forecaster = self._forecaster(older, season)
        if older < forecaster.context:
            raise InputError(f"{older} rows to fit on, a context of {forecaster.context}; shorten the context")
        fitted = forecaster.fit(
            History(train_TC=scaled_TC[:older].copy(), validate_TC=scaled_TC[older:].copy(), season=season)
        )
        self._state = _State(
            fitted=fitted,
            name=forecaster.name,
            scaler=scaler,
            errors_NHC=_errors(fitted, forecaster, scaled_TC[older - forecaster.context :]),
            tail_LC=scaled_TC[-forecaster.context :].copy(),
        )
        return self

    def predict(
        self, horizon: int | None = None, context_LC: Float64Array | None = None, level: float | None = None
    ) -> Forecast:
        """The next steps, after the series it was fitted on or after rows that came later.

        Args:
            horizon: at most that of the object; None takes it all.
            context_LC: the newest rows, in the units of the series; None takes the end of the series.
            level: of the interval; None takes that of the object.

        Raises:
            InputError: it was not fitted, the horizon is longer than the object's, there are too few rows, or their
                channels are others than in the fit.
        """
        state = self._fitted()
        steps = self.horizon if horizon is None else horizon
        if not 1 <= steps <= self.horizon:
            raise InputError(f"a horizon of {steps}; this forecaster was made for 1 to {self.horizon}")
        tail_LC = state.tail_LC
        if context_LC is not None:
            rows_LC, _ = _rows(context_LC)
            if len(rows_LC) < len(tail_LC):
                raise InputError(f"{len(rows_LC)} rows; this model sees {len(tail_LC)}")
            tail_LC = state.scaler.scale(rows_LC)[-len(tail_LC) :]
        mean_HC = state.fitted.predict(tail_LC[None])[0]
        lower_HC, upper_HC = _intervals(state.errors_NHC, self.level if level is None else level).around(mean_HC)
        mean_HC, lower_HC, upper_HC = (state.scaler.unscale(part)[:steps] for part in (mean_HC, lower_HC, upper_HC))
        return Forecast(mean_HC=mean_HC, lower_HC=lower_HC, upper_HC=upper_HC)

    def save(self, folder: Path) -> None:
        """Write everything to a folder.

        Raises:
            InputError: it was not fitted, or its model cannot be saved.
        """
        state = self._fitted()
        arrays = {
            "mean": state.scaler.mean_C,
            "std": state.scaler.std_C,
            "errors": state.errors_NHC,
            "tail": state.tail_LC,
        }
        about: dict[str, object] = {"horizon": self.horizon, "level": self.level, "name": state.name}
        folder.mkdir(parents=True, exist_ok=True)
        fitted = state.fitted
        if isinstance(fitted, FittedLinear):
            arrays["weights"] = fitted.weights_LH
            about["season"] = fitted.season
        elif isinstance(fitted, FittedSeasonalNaive | FittedClassical):
            about["season"] = fitted.season
        elif hasattr(fitted, "save"):
            cast("Saveable", fitted).save(folder / _WEIGHTS)
        else:
            raise InputError(f"a fitted {state.name} has no way to be saved")
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
        (folder / _FILE).write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SeriesForecaster":
        """Read what `save` wrote; its forecasts are bit-equal.

        Raises:
            FormatError: a file is missing, damaged or of another kind.
        """
        try:
            about = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            with np.load(folder / _ARRAYS, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name], np.float64) for name in archive.files}
            made = cls(horizon=about["horizon"], model=about["name"], level=about["level"])
            made._state = _State(
                fitted=_loaded(about, arrays, folder),
                name=about["name"],
                scaler=Scaler(mean_C=arrays["mean"], std_C=arrays["std"]),
                errors_NHC=arrays["errors"],
                tail_LC=arrays["tail"],
            )
        except FormatError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{folder} holds no forecaster that can be read: {error}") from error
        return made

    def _forecaster(self, num_rows: int, season: int) -> Forecaster:
        if not isinstance(self.model, str):
            if self.model.horizon != self.horizon:
                raise InputError(f"the model forecasts {self.model.horizon} steps, expected {self.horizon}")
            return self.model
        context = default_context(num_rows, self.horizon, season) if self.context is None else self.context
        return make_forecaster(self.model, context=context, horizon=self.horizon, epochs=self.epochs, seed=self.seed)

    def _fitted(self) -> _State:
        if self._state is None:
            raise InputError("nothing was fitted yet; call fit(series) first")
        return self._state


def _rows(series: Series | Float64Array) -> tuple[Float64Array, int]:
    if isinstance(series, Series):
        return series.values_TC, season_of(series.frequency)
    values = np.asarray(series, np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise InputError(f"a series of shape {values.shape}; expected (time,) or (time, channel)")
    return values, 1


def _errors(fitted: Fitted, forecaster: Forecaster, rows_TC: Float64Array) -> Float64Array:
    """Of every window of rows the model was not fitted on, shape (N, H, C); N may be 0."""
    if num_windows(len(rows_TC), forecaster.context, forecaster.horizon) < 1:
        return np.zeros((0, forecaster.horizon, rows_TC.shape[1]))
    context_NLC, target_NHC = cut_windows(rows_TC, forecaster.context, forecaster.horizon)
    if forecaster.name in CLASSICAL:
        spread = np.unique(np.linspace(0, len(context_NLC) - 1, _CLASSICAL_WINDOWS).astype(int))
        context_NLC, target_NHC = context_NLC[spread], target_NHC[spread]
    return target_NHC - fitted.predict(context_NLC)


def _intervals(errors_NHC: Float64Array, level: float) -> Intervals:
    if not 0 < level < 1:
        raise InputError(f"the level is {level}; expected a number between 0 and 1")
    counts_HC = (~np.isnan(errors_NHC)).sum(axis=0)
    if counts_HC.min() < level / (1 - level):
        # Too few forecasts were ever made to know; an interval without ends is the honest one.
        return Intervals(width_HC=np.full(errors_NHC.shape[1:], np.inf), level=level)
    return calibrate(errors_NHC, np.where(np.isnan(errors_NHC), np.nan, 0.0), level)


def _loaded(about: dict[str, object], arrays: dict[str, Float64Array], folder: Path) -> Fitted:
    name, horizon = cast("str", about["name"]), cast("int", about["horizon"])
    if name == "linear":
        return FittedLinear(weights_LH=arrays["weights"], season=cast("int", about["season"]))
    if name == "seasonal-naive":
        return FittedSeasonalNaive(season=cast("int", about["season"]), horizon=horizon)
    if name in CLASSICAL:
        return FittedClassical(name=name, season=cast("int", about["season"]), horizon=horizon)
    if name == "timemixer":
        from fullduplex.forecast.timemixer.fit import load_timemixer

        return load_timemixer(folder / _WEIGHTS)
    if name == "chimera":
        from fullduplex.forecast.chimera.fit import load_chimera

        return load_chimera(folder / _WEIGHTS)
    raise FormatError(f"{folder} holds a fitted {name}, which this version cannot read")

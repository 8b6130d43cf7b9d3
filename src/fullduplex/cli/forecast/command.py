"""`fullduplex forecast`: the next values of the series in a file, with intervals and with the errors to expect."""

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.forecast.backtest import BacktestResult, Fitted, Forecaster, Prepared, backtest, prepare
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.classical import CLASSICAL, ClassicalForecaster
from fullduplex.forecast.conformal import Intervals, calibrate
from fullduplex.forecast.picture import draw_forecast
from fullduplex.forecast.series import ReadConfig, Series, read_series, season_of
from fullduplex.forecast.windows import ETT_HOURLY, History, Split, cut_windows, num_windows

__all__ = ["MODELS", "main"]

MODELS = ("seasonal-naive", "linear", "timemixer", *CLASSICAL)

_CALIBRATION_WINDOWS = 500  # of a classical model far fewer: each is a fit
_CLASSICAL_WINDOWS = 20

_ABOUT = """\
Forecasts every series of a CSV or Parquet file. Before it does, each model is fitted on the older rows and tried on
every window of the newest ones; the model with the least absolute error there makes the forecast, and its errors there
become the prediction interval. Seasonal naive and a closed-form linear map are always in the table: a model that
does not beat them is not worth its time.

  fullduplex forecast load.csv --horizon 24
  fullduplex forecast load.csv --horizon 96 --models seasonal-naive,linear,timemixer
  fullduplex forecast ETTh1.csv --horizon 96 --backtest --split ett-hourly
  fullduplex forecast sales.csv --horizon 8 --series shop --time day --gaps linear
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex forecast", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help=".csv or .parquet, one column a series, or long with --series")
    parser.add_argument("--horizon", type=int, required=True, metavar="H", help="steps to forecast")
    parser.add_argument("--context", type=int, metavar="L", help="steps a model sees (default: 96 or more, see below)")
    parser.add_argument("--models", default="seasonal-naive,linear", metavar="M,M,…", help=", ".join(MODELS))
    parser.add_argument("--season", type=int, metavar="N", help="steps of a season (default: from the times)")
    parser.add_argument("--level", type=float, default=0.9, metavar="P", help="of the interval (default: 0.9)")
    parser.add_argument(
        "--backtest", action="store_true", help="only measure: all windows of the test rows, no forecast"
    )
    parser.add_argument(
        "--split", default="0.7,0.2", metavar="TRAIN,TEST", help="shares of the rows, or ett-hourly (default: 0.7,0.2)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write forecast.csv and forecast.png there")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--time", metavar="COLUMN", help="column of times (default: the first that reads as times)")
    reading.add_argument("--series", metavar="COLUMN", help="column of series names: the file is long")
    reading.add_argument("--values", default="", metavar="C,C,…", help="columns to read (default: all numbers)")
    reading.add_argument("--zone", metavar="ZONE", help="zone of times that say none, such as Europe/Berlin")
    reading.add_argument("--gaps", choices=("refuse", "nan", "linear"), default="refuse", help="default: refuse")
    reading.add_argument("--duplicates", choices=("refuse", "last", "mean"), default="refuse", help="default: refuse")
    training = parser.add_argument_group("timemixer")
    training.add_argument("--epochs", type=int, default=3, metavar="N", help="passes over the windows (default: 3)")
    training.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    training.add_argument(
        "--run", type=Path, metavar="DIR", help="keep the training there, and go on if it was stopped"
    )
    return parser


def main(argv: list[str]) -> int:
    """Forecast or backtest; exit status 0."""
    arguments = _parser().parse_args(argv)
    if arguments.horizon < 1:
        raise InputError(f"--horizon is {arguments.horizon}; expected 1 or more")
    series = read_series(arguments.file, _read_config(arguments))
    season = season_of(series.frequency) if arguments.season is None else arguments.season
    if season < 1:
        raise InputError(f"--season is {season}; expected 1 or more")
    if 2 * arguments.horizon >= len(series.values_TC):
        raise InputError(
            f"--horizon {arguments.horizon} of {len(series.values_TC)} rows; expected less than half of the rows"
        )
    split = _split(arguments.split, len(series.values_TC), arguments.horizon)
    context = _context(arguments, split, season)
    prepared = prepare(series.values_TC, split, season)
    forecasters = [
        _forecaster(name.strip(), arguments, context, measuring=True) for name in arguments.models.split(",")
    ]
    results = [_measured(forecaster, prepared, arguments.level) for forecaster in forecasters]
    head: dict[str, object] = {
        "rows": len(series.values_TC),
        "series": list(series.names),
        "frequency": series.frequency,
        "season": season,
        "context": context,
        "horizon": arguments.horizon,
        "split": [split.train, split.validate, split.test],
        "backtest": [_plain(result) for result in results],
    }
    if arguments.backtest:
        return _show(arguments, head, results, None)
    best = min(results, key=lambda result: result.mae).name
    chosen = _forecaster(best, arguments, context, measuring=False)
    made = _forecast(chosen, prepared, series, arguments.level)
    if arguments.out is not None:
        _write(arguments.out, series, made, chosen.name, arguments.level)
    head |= {
        "model": chosen.name,
        "times": series.future_times(arguments.horizon),
        **{name: _finite(value) for name, value in zip(("forecast", "lower", "upper"), made, strict=True)},
    }
    return _show(arguments, head, results, made)


def _read_config(arguments: argparse.Namespace) -> ReadConfig:
    return ReadConfig(
        time=arguments.time,
        series=arguments.series,
        values=tuple(name for name in arguments.values.split(",") if name),
        zone=arguments.zone,
        gaps=arguments.gaps,
        duplicates=arguments.duplicates,
    )


def _split(text: str, num_rows: int, horizon: int) -> Split:
    if text == "ett-hourly":
        return ETT_HOURLY
    try:
        train, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--split is {text!r}; expected two shares such as 0.7,0.2, or ett-hourly") from error
    if not (0 < train < 1 and 0 < test < 1 and train + test <= 1):
        raise InputError(f"--split is {text!r}; expected two shares in (0, 1) of at most 1 together")
    # Of a short file the test rows must still hold one horizon, and so must the validation rows.
    tested = max(int(num_rows * test), horizon)
    validated = max(num_rows - tested - int(num_rows * train), 0)
    return Split(train=num_rows - tested - validated, validate=validated, test=tested)


def _context(arguments: argparse.Namespace, split: Split, season: int) -> int:
    if arguments.context is not None:
        return int(arguments.context)
    wanted = max(96, 2 * season)
    # A short file: leave the closed-form map as many windows to learn from as the context is long.
    return max(min(wanted, (split.train - arguments.horizon) // 2), min(season, split.train), 1)


def _forecaster(name: str, arguments: argparse.Namespace, context: int, *, measuring: bool) -> Forecaster:
    horizon: int = arguments.horizon
    if name == "seasonal-naive":
        return SeasonalNaive(context=context, horizon=horizon)
    if name == "linear":
        return LinearForecaster(context=context, horizon=horizon)
    if name in CLASSICAL:
        return ClassicalForecaster(name=name, context=context, horizon=horizon)
    if name == "timemixer":
        return _timemixer(arguments, context, measuring)
    raise InputError(f"no model {name!r}; expected {', '.join(MODELS)}")


def _timemixer(arguments: argparse.Namespace, context: int, measuring: bool) -> Forecaster:
    from tqdm import tqdm

    from fullduplex.forecast.timemixer.config import TimeMixerConfig
    from fullduplex.forecast.timemixer.fit import TimeMixerFitConfig, TimeMixerForecaster

    scales = max(0, min(3, int(np.log2(max(1, context // 4)))))
    bar = tqdm(unit=" steps", desc="timemixer", file=sys.stderr, disable=None, leave=False)

    def report(_step: object) -> None:
        bar.update()

    return TimeMixerForecaster(
        config=TimeMixerConfig(context=context, horizon=arguments.horizon, num_channels=1, num_scales=scales),
        fit_config=TimeMixerFitConfig(num_epochs=arguments.epochs, seed=arguments.seed),
        folder=None if arguments.run is None else arguments.run / ("backtest" if measuring else "forecast"),
        report=report,
    )


def _measured(forecaster: Forecaster, prepared: Prepared, level: float) -> BacktestResult:
    from tqdm import tqdm

    total = num_windows(prepared.split.test + forecaster.context, forecaster.context, forecaster.horizon)
    with tqdm(total=total, unit=" windows", desc=forecaster.name, file=sys.stderr, disable=None, leave=False) as bar:
        progress: Callable[[int], object] = bar.update
        return backtest(forecaster, prepared, level=level, progress=progress)


def _forecast(
    chosen: Forecaster, prepared: Prepared, series: Series, level: float
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Forecast, lower and upper end in the units of the file.

    The rows that calibrate the interval are the newest ones the model was not fitted on; it is fitted on those before.
    """
    held = max(min(len(series.values_TC) // 5, _CALIBRATION_WINDOWS + chosen.horizon), chosen.horizon)
    scaled_TC = prepared.scaler.scale(series.values_TC)
    older_TC = scaled_TC[:-held]
    fitted = chosen.fit(History(train_TC=older_TC, validate_TC=scaled_TC[-held:], season=prepared.season))
    intervals = _calibrated(fitted, chosen, scaled_TC[-held - chosen.context :], level)
    forecast_HC = fitted.predict(scaled_TC[None, -chosen.context :])[0]
    lower_HC, upper_HC = intervals.around(forecast_HC)
    back = prepared.scaler.unscale
    return back(forecast_HC), back(lower_HC), back(upper_HC)


def _calibrated(fitted: Fitted, chosen: Forecaster, rows_TC: Float64Array, level: float) -> Intervals:
    context_NLC, target_NHC = cut_windows(rows_TC, chosen.context, chosen.horizon)
    if chosen.name in CLASSICAL:
        spread = np.unique(np.linspace(0, len(context_NLC) - 1, _CLASSICAL_WINDOWS).astype(int))
        context_NLC, target_NHC = context_NLC[spread], target_NHC[spread]
    if len(context_NLC) < level / (1 - level):
        # Too few forecasts were ever made to know; an interval without ends is the honest one.
        return Intervals(width_HC=np.full(target_NHC.shape[1:], np.inf), level=level)
    return calibrate(target_NHC, fitted.predict(context_NLC), level)


def _finite(values_HC: Float64Array) -> list[list[float | None]]:
    """Numbers for JSON, which has no infinity: an end that is not known is null."""
    return [[round(value, 6) if np.isfinite(value) else None for value in row] for row in values_HC.tolist()]


def _plain(result: BacktestResult) -> dict[str, object]:
    return {
        "model": result.name,
        "windows": result.num_windows,
        "mse_scaled": round(result.mse, 6),
        "mae_scaled": round(result.mae, 6),
        "mase": None if result.mase is None else round(result.mase, 6),
        "coverage": None if result.coverage is None else round(result.coverage, 4),
    }


def _show(
    arguments: argparse.Namespace,
    head: dict[str, object],
    results: list[BacktestResult],
    made: tuple[Float64Array, Float64Array, Float64Array] | None,
) -> int:
    if arguments.json:
        print(json.dumps(head, allow_nan=False))
        return 0
    names = cast("list[str]", head["series"])
    print(f"{head['rows']} rows of {len(names)} series, step {head['frequency']}, season {head['season']}")
    print(f"rows for training, validation, test: {head['split']}; errors in deviations of the training rows\n")
    print(f"{'model':<16}{'windows':>8}{'MSE':>9}{'MAE':>9}{'MASE':>9}{f'inside {arguments.level:.0%}':>12}")
    for result in results:
        mase = "-" if result.mase is None else f"{result.mase:.3f}"
        share = "-" if result.coverage is None else f"{result.coverage:.1%}"
        print(f"{result.name:<16}{result.num_windows:>8}{result.mse:>9.4f}{result.mae:>9.4f}{mase:>9}{share:>12}")
    if made is None:
        return 0
    times = cast("list[str]", head["times"])
    print(f"\nforecast by {head['model']} of {names[0]} (interval of {arguments.level:.0%})")
    for step in range(min(12, arguments.horizon)):
        value, low, high = (part[step, 0] for part in made)
        print(f"{times[step]:<28}{value:>12.5g}{low:>12.5g}{high:>12.5g}")
    if arguments.horizon > 12 or len(names) > 1:
        place = f"{arguments.out}/forecast.csv" if arguments.out else "forecast.csv with --out DIR"
        print(f"… all steps and series: {place}")
    return 0


def _write(
    folder: Path, series: Series, made: tuple[Float64Array, Float64Array, Float64Array], name: str, level: float
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    horizon = len(made[0])
    with (folder / "forecast.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "series", "forecast", "lower", "upper"])
        for step, time in enumerate(series.future_times(horizon)):
            for channel, column in enumerate(series.names):
                writer.writerow([time, column, *(f"{part[step, channel]:.10g}" for part in made)])
    shown = max(4 * horizon, 96)
    forecast_HC, lower_HC, upper_HC = made
    draw_forecast(
        folder / "forecast.png",
        series.values_TC[-shown:],
        forecast_HC,
        series.names,
        title=f"{name}, interval of {level:.0%}",
        interval=(lower_HC, upper_HC),
    )

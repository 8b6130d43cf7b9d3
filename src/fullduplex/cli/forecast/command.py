"""`fullduplex forecast`: the next values of the series in a file, with intervals and with the errors to expect."""

import argparse
import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.cli.forecast.table import Row, title_line
from fullduplex.forecast.api.choice import (
    BASELINES,
    MODELS,
    TRAINED,
    classical_installed,
    default_context,
    make_forecaster,
)
from fullduplex.forecast.api.forecaster import SeriesForecaster
from fullduplex.forecast.backtest import BacktestResult, Forecaster, Prepared, backtest, prepare
from fullduplex.forecast.classical import CLASSICAL
from fullduplex.forecast.picture import draw_forecast
from fullduplex.forecast.series import ReadConfig, Series, read_series, season_of
from fullduplex.forecast.windows import ETT_HOURLY, Split, num_windows

__all__ = ["main"]

_CLASSICAL_FITS = 40  # of each classical model, for the table: AutoETS takes half a second a series and window

_ABOUT = """\
Forecasts every series of a CSV or Parquet file. Before it does, each model is fitted on the older rows and tried on
every window of the newest ones; the model with the least absolute error there makes the forecast, and its errors there
become the prediction interval. Seasonal naive and a closed-form linear map are always in the table: a model that
does not beat them is not worth its time. Where statsforecast is installed, AutoETS and AutoTheta are there too, on a few
windows, for each is a fit; they make the forecast only if --models names them.

  fullduplex forecast load.csv --horizon 24
  fullduplex forecast load.csv --horizon 96 --models timemixer,chimera --seeds 0,1,2
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
    parser.add_argument(
        "--models",
        metavar="M,M,…",
        help=f"beside the baselines: {', '.join(MODELS)} (default: classical ones, if there)",
    )
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
    training = parser.add_argument_group("timemixer and chimera")
    training.add_argument("--epochs", type=int, default=3, metavar="N", help="passes over the windows (default: 3)")
    training.add_argument(
        "--seeds", default="0", metavar="N,N,…", help="trainings to measure; the first forecasts (default: 0)"
    )
    training.add_argument(
        "--run", type=Path, metavar="DIR", help="keep the training there, and go on if it was stopped"
    )
    return parser


def _arguments(argv: list[str]) -> argparse.Namespace:
    arguments = _parser().parse_args(argv)
    if arguments.horizon < 1:
        raise InputError(f"--horizon is {arguments.horizon}; expected 1 or more")
    if arguments.backtest and arguments.out is not None:
        raise InputError("--backtest only measures and --out is for a forecast; leave one of them out")
    arguments.seeds = _seeds(arguments.seeds)
    return arguments


def main(argv: list[str]) -> int:
    """Forecast or backtest; exit status 0."""
    arguments = _arguments(argv)
    series = read_series(arguments.file, _read_config(arguments))
    season = season_of(series.frequency) if arguments.season is None else arguments.season
    if season < 1:
        raise InputError(f"--season is {season}; expected 1 or more")
    if 2 * arguments.horizon >= len(series.values_TC):
        raise InputError(
            f"--horizon {arguments.horizon} of {len(series.values_TC)} rows; expected less than half of the rows"
        )
    split = _split(arguments.split, len(series.values_TC), arguments.horizon)
    if arguments.context is not None and arguments.context < 1:
        raise InputError(f"--context is {arguments.context}; expected 1 or more")
    context = arguments.context or default_context(split.train, arguments.horizon, season)
    prepared = prepare(series.values_TC, split, season)
    results = _all_measured(arguments, context, prepared)
    head: dict[str, object] = {
        "rows": len(series.values_TC),
        "series": list(series.names),
        "frequency": series.frequency,
        "season": season,
        "context": context,
        "horizon": arguments.horizon,
        "split": [split.train, split.validate, split.test],
        "backtest": [result.plain() for result in results],
    }
    if arguments.backtest:
        return _show(arguments, head, results, None)
    best = _best(arguments, results)
    made = _forecast(best, arguments, context, series, season)
    if arguments.out is not None:
        _write(arguments.out, series, made, best, arguments.level)
    head |= {
        "model": best,
        "times": series.future_times(arguments.horizon),
        **{name: _finite(value) for name, value in zip(("forecast", "lower", "upper"), made, strict=True)},
    }
    return _show(arguments, head, results, made)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--seeds is {text!r}; expected numbers such as 0,1,2") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds is {text!r}; one is below 0 or comes twice")
    return seeds


def _best(arguments: argparse.Namespace, results: list[Row]) -> str:
    """The least absolute error; models measured on other windows are candidates only where they were asked for."""
    asked = {name.strip() for name in (arguments.models or "").split(",")}
    candidates = [result for result in results if result.name in BASELINES or result.name in asked]
    return min(candidates, key=lambda result: cast("float", result.mean("mae"))).name


def _forecast(
    name: str, arguments: argparse.Namespace, context: int, series: Series, season: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Forecast, lower and upper end in the units of the file."""
    model = _forecaster(name, arguments, context, arguments.seeds[0], "forecast")
    made = SeriesForecaster(horizon=arguments.horizon, model=model, season=season, level=arguments.level)
    forecast = made.fit(series).predict()
    return forecast.mean_HC, forecast.lower_HC, forecast.upper_HC


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


def _named(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The models of the table: the baselines always, what was asked for, and classical models where they are there."""
    asked = [name.strip() for name in (arguments.models or "").split(",") if name.strip()]
    unknown = [name for name in asked if name not in MODELS]
    if unknown:
        raise InputError(f"no model {unknown[0]!r}; expected {', '.join(MODELS)}")
    if arguments.models is None and classical_installed():
        asked = list(CLASSICAL)
    return (*BASELINES, *(name for name in dict.fromkeys(asked) if name not in BASELINES))


def _forecaster(name: str, arguments: argparse.Namespace, context: int, seed: int, purpose: str) -> Forecaster:
    from tqdm import tqdm

    bars: list[tqdm[Any]] = []  # drawn at the first step: most models have none

    def report(_step: object) -> None:
        if not bars:
            bars.append(tqdm(unit=" steps", desc=name, file=sys.stderr, disable=None, leave=False))
        bars[0].update()

    return make_forecaster(
        name,
        context=context,
        horizon=arguments.horizon,
        epochs=arguments.epochs,
        seed=seed,
        folder=None if arguments.run is None else arguments.run / name / purpose / f"seed-{seed}",
        report=report,
    )


def _measured(name: str, arguments: argparse.Namespace, context: int, prepared: Prepared, most: int | None) -> Row:
    from tqdm import tqdm

    results: list[BacktestResult] = []
    for seed in arguments.seeds if name in TRAINED else arguments.seeds[:1]:
        forecaster = _forecaster(name, arguments, context, seed, "backtest")
        total = num_windows(prepared.split.test + context, context, forecaster.horizon)
        with tqdm(
            total=min(total, most or total), unit=" windows", desc=name, file=sys.stderr, disable=None, leave=False
        ) as bar:
            progress: Callable[[int], object] = bar.update
            results.append(backtest(forecaster, prepared, level=arguments.level, most=most, progress=progress))
    return Row(name=name, by_seed=tuple(results))


def _all_measured(arguments: argparse.Namespace, context: int, prepared: Prepared) -> list[Row]:
    """Every model over all windows; classical ones over a few, with the linear map on the same few beside them."""
    names = _named(arguments)
    results = [_measured(name, arguments, context, prepared, None) for name in names if name not in CLASSICAL]
    few = max(1, _CLASSICAL_FITS // prepared.scaled_TC.shape[1])
    slow = [_measured(name, arguments, context, prepared, few) for name in names if name in CLASSICAL]
    if slow and slow[0].by_seed[0].num_windows < results[0].by_seed[0].num_windows:
        beside = _measured("linear", arguments, context, prepared, few)
        slow.append(replace(beside, name=f"linear, those {beside.by_seed[0].num_windows}"))
    return [*results, *slow]


def _finite(values_HC: Float64Array) -> list[list[float | None]]:
    """Numbers for JSON, which has no infinity: an end that is not known is null."""
    return [[round(value, 6) if np.isfinite(value) else None for value in row] for row in values_HC.tolist()]


def _show(
    arguments: argparse.Namespace,
    head: dict[str, object],
    results: list[Row],
    made: tuple[Float64Array, Float64Array, Float64Array] | None,
) -> int:
    if arguments.json:
        print(json.dumps(head, allow_nan=False))
        return 0
    names = cast("list[str]", head["series"])
    print(f"{head['rows']} rows of {len(names)} series, step {head['frequency']}, season {head['season']}")
    print(f"rows for training, validation, test: {head['split']}; errors in deviations of the training rows\n")
    print(title_line(arguments.level))
    for result in results:
        print(result.line())
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

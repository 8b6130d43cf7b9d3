"""Chimera on public data, as recorded in docs/systems/chimera.md: long horizons beside the closed-form linear map, and classes.

Prints one JSON line. Settings were chosen on validation rows, or by three folds of the training cases; the test part is
used once for each line. A forecast run takes minutes to hours of one core.

    python benchmarks/forecast/chimera_accuracy.py --series ETTh1.csv --horizon 96 --seeds 0,1,2
    python benchmarks/forecast/chimera_accuracy.py --series ETTh1.csv --horizon 96 --context 336 --alone
    python benchmarks/forecast/chimera_accuracy.py --cases JapaneseVowels_TRAIN.ts JapaneseVowels_TEST.ts --width 32
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fullduplex.base.record import Record
from fullduplex.forecast.backtest import Forecaster, backtest, prepare
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.chimera.classify import ChimeraClassifier, ClassifierConfig
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.fit import CHIMERA_EPOCHS, ChimeraForecaster
from fullduplex.forecast.chimera.patches import PatchConfig
from fullduplex.forecast.classify.cases import read_cases
from fullduplex.forecast.series import read_series, season_of
from fullduplex.forecast.windows import ETT_HOURLY, split_by_share


def seed_means(errors: list[tuple[float, float]], name: str) -> dict[str, float]:
    """Mean and spread over seeds of MSE and MAE."""
    figures = {}
    for index, kind in enumerate(("mse", "mae")):
        values = [error[index] for error in errors]
        figures[f"{name}_{kind}"] = round(statistics.mean(values), 4)
        if len(values) > 1:
            figures[f"{name}_{kind}_std"] = round(statistics.stdev(values), 4)
    return figures


def measure_series(arguments: argparse.Namespace, seeds: list[int]) -> dict[str, float]:
    """All test windows of a file; the hourly ETT files by their months, others 7 : 1 : 2."""
    series = read_series(arguments.series)
    split = ETT_HOURLY if arguments.series.stem.startswith("ETTh") else split_by_share(len(series.values_TC))
    season = season_of(series.frequency)
    prepared = prepare(series.values_TC, split, season)
    context, horizon = arguments.context, arguments.horizon
    figures: dict[str, float] = {}
    baselines: list[Forecaster] = [
        SeasonalNaive(context=context, horizon=horizon),
        LinearForecaster(context=context, horizon=horizon),
    ]
    for each in baselines:
        result = backtest(each, prepared)
        figures |= seed_means([(result.mse, result.mae)], each.name.replace("-", "_"))
    layer = ChimeraConfig(width=arguments.width, expand=1, order=4, num_taps=2)
    config = PatchConfig(
        num_variates=len(series.names), context=context, horizon=horizon, layer=layer,
        patch=24 if arguments.alone else 32, base="none" if arguments.alone else "linear",
        dropout=0.4 if arguments.alone else 0.3,
    )  # fmt: skip
    errors = []
    for seed in seeds:
        fit = replace(
            CHIMERA_EPOCHS,
            num_epochs=arguments.epochs,
            batch_size=128,
            peak_lr=1e-3 if arguments.alone else 1e-4,
            seed=seed,
        )
        folder = None if arguments.keep is None else arguments.keep / f"{series.names[-1]}-{context}-{horizon}-{seed}"
        result = backtest(ChimeraForecaster(config=config, fit_config=fit, folder=folder), prepared)
        errors.append((result.mse, result.mae))
        figures["windows"] = result.num_windows
    return figures | seed_means(errors, "chimera")


def measure_cases(arguments: argparse.Namespace, seeds: list[int]) -> dict[str, float]:
    """Share of test cases named right, a seed each."""
    train, test = (read_cases(path) for path in arguments.cases)
    assert train.labels is not None and test.labels is not None
    layer = ChimeraConfig(width=arguments.width, expand=1, order=4)
    how = {"num_epochs": 40, "batch_size": 16, "peak_lr": 3e-3, "dropout": 0.3, "noise": 0.2}
    if len(train.values) < 100:
        how = {"num_epochs": 30, "batch_size": 8, "peak_lr": 5e-3}
    figures = {}
    for seed in seeds:
        config = ClassifierConfig(layer=layer, seed=seed, **how)
        named = ChimeraClassifier(config).fit(train.values, train.labels).predict(test.values)
        right = np.mean([own == label for own, label in zip(named, test.labels, strict=True)])
        figures[f"accuracy_seed_{seed}"] = round(float(right), 4)
    return figures


def main() -> None:
    """Measure what was asked for and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, help="a file of series to forecast")
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--context", type=int, default=512, help="look-back, a multiple of the patch")
    parser.add_argument("--alone", action="store_true", help="without the linear map beside it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for checkpoints; a run that was stopped goes on")
    parser.add_argument("--cases", type=Path, nargs=2, metavar=("TRAIN", "TEST"), help="labelled cases")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", default="0")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    figures: dict[str, float] = {}
    if arguments.series is not None:
        figures |= measure_series(arguments, seeds)
    if arguments.cases is not None:
        figures |= measure_cases(arguments, seeds)
    config = {key: str(value) for key, value in vars(arguments).items()}
    seconds_s = round(time.perf_counter() - start_s, 2)
    print(
        Record(
            name="chimera_accuracy", seed=seeds[0], data_hash="", figures=figures, seconds_s=seconds_s, config=config
        ).to_json()
    )


if __name__ == "__main__":
    main()

"""Chimera on public data, as recorded in docs/systems/chimera.md: long horizons beside the closed-form linear map, and classes.

Prints one JSON line. Settings were chosen on validation rows, or by three folds of the training cases; the test part is
used once for each line. A forecast run takes minutes to hours of one core.

    python benchmarks/forecast/chimera_accuracy.py --series ETTh1.csv --horizon 96 --seeds 0,1,2
    python benchmarks/forecast/chimera_accuracy.py --series ETTh1.csv --horizon 96 --base none
    python benchmarks/forecast/chimera_accuracy.py --series exchange_rate.txt.gz --horizon 96 --context 96
    python benchmarks/forecast/chimera_accuracy.py --cases JapaneseVowels_TRAIN.ts JapaneseVowels_TEST.ts --width 32
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from fullduplex.base.record import Record
from fullduplex.forecast import metrics
from fullduplex.forecast.backtest import Forecaster, Prepared, backtest, prepare
from fullduplex.forecast.baselines import Base, LinearForecaster, SeasonalNaive
from fullduplex.forecast.chimera.classify import ChimeraClassifier, ClassifierConfig
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.fit import CHIMERA_EPOCHS, ChimeraForecaster
from fullduplex.forecast.chimera.patches import PatchConfig
from fullduplex.forecast.classify.cases import read_cases
from fullduplex.forecast.fitted import FittedNetwork
from fullduplex.forecast.series import read_series, season_of
from fullduplex.forecast.windows import ETT_HOURLY, cut_windows, split_by_share


def seed_means(errors: list[tuple[float, float]], name: str) -> dict[str, float]:
    """Mean and spread over seeds of MSE and MAE."""
    figures = {}
    for index, kind in enumerate(("mse", "mae")):
        values = [error[index] for error in errors]
        figures[f"{name}_{kind}"] = round(statistics.mean(values), 4)
        if len(values) > 1:
            figures[f"{name}_{kind}_std"] = round(statistics.stdev(values), 4)
    return figures


def read(path: Path) -> Prepared:
    """The series of a file, scaled by its training rows; the hourly ETT files by their months, others 7 : 1 : 2."""
    if path.suffix == ".gz":  # the exchange rates have no names
        values = np.loadtxt(path, delimiter=",")
        return prepare(values, split_by_share(len(values)))
    series = read_series(path)
    split = ETT_HOURLY if path.stem.startswith("ETTh") else split_by_share(len(series.values_TC))
    return prepare(series.values_TC, split, season_of(series.frequency))


def measure_series(arguments: argparse.Namespace, seeds: list[int]) -> dict[str, float]:
    """All test windows of a file. The learning rate is that of the least validation error at the first seed."""
    prepared, context, horizon = read(arguments.series), arguments.context, arguments.horizon
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
        num_variates=prepared.scaled_TC.shape[1], context=context, horizon=horizon, layer=layer,
        patch=next(size for size in (32, 24, 16, 1) if context % size == 0), base=arguments.base,
        dropout=0.4 if arguments.base == "none" else 0.3,
    )  # fmt: skip

    def fitted(rate: float, seed: int) -> FittedNetwork:
        how = replace(CHIMERA_EPOCHS, num_epochs=arguments.epochs, batch_size=128, peak_lr=rate, seed=seed)
        name = f"{arguments.series.name}-{context}-{horizon}-{arguments.base}-{rate}-{seed}"
        folder = None if arguments.keep is None else arguments.keep / name
        return ChimeraForecaster(config=config, fit_config=how, folder=folder).fit(prepared.history)

    tried = {rate: fitted(rate, seeds[0]) for rate in map(float, arguments.rates.split(","))}
    rate = min(tried, key=lambda rate: min(tried[rate].losses))
    errors = []
    for seed in seeds:
        made = tried[rate] if seed == seeds[0] else fitted(rate, seed)
        seen_NLC, target_NHC = cut_windows(prepared.scaled_TC[prepared.split.past - context :], context, horizon)
        made_NHC = made.predict(seen_NLC)
        errors.append((metrics.mse(target_NHC, made_NHC), metrics.mae(target_NHC, made_NHC)))
        figures[f"validation_gain_seed_{seed}"] = round(made.losses[0] - min(made.losses), 6)
    figures |= {"windows": float(len(seen_NLC)), "rate": rate}
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
    parser.add_argument("--context", type=int, default=336, help="look-back")
    parser.add_argument(
        "--base",
        choices=get_args(Base),
        default="best",
        help="forecast it begins as (default: the best on validation rows)",
    )
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rates", default="1e-4", help="learning rates to choose from on the validation rows")
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

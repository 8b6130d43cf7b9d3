"""TimeMixer against a closed-form linear map on the same windows, and against neuralforecast's TimeMixer, step by step.

Prints one JSON line. Without a file the series is made: two waves of changing size and noise, seven channels. The peer
(`pip install neuralforecast`) is measured where it is installed: the same sizes, batch and optimiser, each in a process of
its own, in turns.

    python benchmarks/forecast/timemixer.py [ETTh1.csv] [--epochs N] [--seed N]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fullduplex.base.record import Record, hash_bytes
from fullduplex.forecast.backtest import BacktestResult, Forecaster, Prepared, backtest, prepare
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.epochs import EpochsConfig
from fullduplex.forecast.series import read_series
from fullduplex.forecast.timemixer.config import TimeMixerConfig
from fullduplex.forecast.timemixer.decompose import moving_average, moving_average_matrix
from fullduplex.forecast.timemixer.fit import TimeMixerForecaster
from fullduplex.forecast.windows import ETT_HOURLY, Split


def made_up(rows: int, seed: int) -> np.ndarray:
    """A day and a week in seven channels."""
    rng, steps = np.random.default_rng(seed), np.arange(rows)[:, None]
    day, week = np.sin(2 * np.pi * steps / 24 + np.arange(7)), np.sin(2 * np.pi * steps / 168)
    return day * (1 + week) + 0.3 * rng.standard_normal((rows, 7))


def measure(forecaster: Forecaster, prepared: Prepared) -> tuple[BacktestResult, float]:
    """The errors, and the seconds of fit and forecast together."""
    start_s = time.perf_counter()
    result = backtest(forecaster, prepared)
    return result, time.perf_counter() - start_s


def against_peer() -> dict[str, float]:
    """Training step and peak memory over neuralforecast's: the fastest of three turns each; nothing without the peer."""
    if importlib.util.find_spec("neuralforecast") is None:
        return {}
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    for _ in range(3):
        for name, measured in seen.items():
            command = [sys.executable, str(Path(__file__).with_name("peer_step.py")), name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            measured.append(json.loads(done.stdout.splitlines()[-1]))
    best = {name: {key: min(run[key] for run in runs) for key in runs[0]} for name, runs in seen.items()}
    ours, peer = best["ours"], best["peer"]
    return {
        "peer_over_our_step_time": round(peer["step_ms"] / ours["step_ms"], 2),
        "our_over_peer_peak_memory": round(ours["peak_mb"] / peer["peak_mb"], 2),
        "our_over_peer_step_memory": round(ours["step_peak_mb"] / peer["step_peak_mb"], 2),
        "our_step_ms": round(ours["step_ms"], 1),
        "peer_step_ms": round(peer["step_ms"], 1),
    }


def main() -> None:
    """Measure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="ETTh1.csv; default: a made-up series of 3,000 rows")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    made = made_up(3_000, arguments.seed)
    values = made if arguments.file is None else read_series(arguments.file).values_TC
    split = Split(train=2_100, validate=300, test=600) if arguments.file is None else ETT_HOURLY
    prepared = prepare(values, split, season=24)
    mixer = TimeMixerForecaster(
        config=TimeMixerConfig(context=96, horizon=96, num_channels=7),
        fit_config=EpochsConfig(num_epochs=arguments.epochs, seed=arguments.seed),
    )
    steps_s: list[float] = []
    mixer = replace(mixer, report=lambda _step: steps_s.append(time.perf_counter()))
    naive, _ = measure(SeasonalNaive(context=96, horizon=96), prepared)
    linear, linear_s = measure(LinearForecaster(context=96, horizon=96), prepared)
    mixed, mixed_s = measure(mixer, prepared)
    x = torch.randn(128 * 7 * 16, 96)
    matrix = moving_average_matrix(96, 25)
    timed = []
    for run in (lambda: moving_average(x, 25), lambda: x @ matrix):
        run()
        begin_s = time.perf_counter()
        for _ in range(20):
            run()
        timed.append(time.perf_counter() - begin_s)
    record = Record(
        name="timemixer",
        seed=arguments.seed,
        data_hash=hash_bytes([np.ascontiguousarray(values).tobytes()]),
        figures={
            "windows": float(mixed.num_windows),
            "seasonal_naive_mse": round(naive.mse, 5),
            "linear_mse": round(linear.mse, 5),
            "timemixer_mse": round(mixed.mse, 5),
            "timemixer_over_linear_mse": round(mixed.mse / linear.mse, 4),
            "timemixer_over_linear_time": round(mixed_s / linear_s, 1),
            "step_B128_C7_L96_ms": round(1e3 * float(np.median(np.diff(steps_s))), 1),
            "mean_by_pooling_over_matrix": round(timed[0] / timed[1], 2),
            **against_peer(),
        },
        seconds_s=round(time.perf_counter() - start_s, 1),
        config={"epochs": arguments.epochs, "file": "" if arguments.file is None else arguments.file.name},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()

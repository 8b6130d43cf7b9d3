"""TimeMixer on public data, every choice made on validation rows: a run is one JSON line, and is not made twice.

    python scripts/forecast_study.py --data DIR --out study.jsonl --part etth1
    python scripts/forecast_study.py --data DIR --out study.jsonl --part exchange
    python scripts/forecast_study.py --data DIR --out study.jsonl --part m4-hourly

The first two try its schedules on seed 0, keep the one with the least validation error, and only then measure the test
windows, with three seeds. The M4 parts keep the last horizon of every training series to choose the step by, and are
measured on the competition's test files, with Naive 2 beside them. `--base best` begins as the naive or linear forecast that
is best on the validation rows. `--summary` prints what the lines say.
"""

import argparse
import gzip
import statistics
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from fullduplex.base.record import Record, append_record, hash_bytes, read_records
from fullduplex.forecast import metrics
from fullduplex.forecast.backtest import Prepared, prepare
from fullduplex.forecast.baselines import Base, naive2
from fullduplex.forecast.epochs import EpochsConfig
from fullduplex.forecast.fitted import FittedNetwork
from fullduplex.forecast.series import read_ragged_rows, read_series
from fullduplex.forecast.timemixer.config import TimeMixerConfig
from fullduplex.forecast.timemixer.fit import TimeMixerForecaster
from fullduplex.forecast.timemixer.panel import PanelConfig, fit_panel, newest_contexts
from fullduplex.forecast.windows import ETT_HOURLY, cut_windows, split_by_share

HORIZON, SEEDS = 96, (0, 1, 2)
# Epochs and learning rate. The first is the published one for ETTh1.
SCHEDULES = {"etth1": ((10, 0.01), (5, 0.01), (3, 0.01), (2, 0.01)), "exchange": ((10, 0.01), (3, 0.01), (3, 0.001))}


M4 = {"m4-hourly": ("Hourly", 48, 24), "m4-weekly": ("Weekly", 13, 1)}  # file, horizon, season


def read(part: str, data: Path) -> Prepared:
    """The series of a part, scaled by its training rows."""
    if part == "etth1":
        return prepare(read_series(data / "ett" / "ETTh1.csv").values_TC, ETT_HOURLY, season=24)
    with gzip.open(data / "exchange_rate" / "exchange_rate.txt.gz") as file:
        rates = np.loadtxt(file, delimiter=",")
    return prepare(rates, split_by_share(len(rates)))


def fitted_with(prepared: Prepared, base: Base, epochs: int, peak_lr: float, seed: int) -> FittedNetwork:
    """Train; the fit sees training and validation rows only."""
    return TimeMixerForecaster(
        config=TimeMixerConfig(context=96, horizon=HORIZON, num_channels=1, base=base),
        fit_config=EpochsConfig(num_epochs=epochs, peak_lr=peak_lr, seed=seed),
    ).fit(prepared.history)


def test_errors(fitted: FittedNetwork, prepared: Prepared) -> tuple[float, float, int]:
    """MSE, MAE and count over all test windows."""
    seen_NLC, target_NHC = cut_windows(prepared.scaled_TC[prepared.split.past - 96 :], 96, HORIZON)
    made_NHC = fitted.predict(seen_NLC)
    return metrics.mse(target_NHC, made_NHC), metrics.mae(target_NHC, made_NHC), len(seen_NLC)


def run(part: str, base: Base, prepared: Prepared, out: Path) -> None:
    """All of a part that is not there yet."""
    done = read_records(out) if out.exists() else ()

    def find(stage: str, epochs: int, peak_lr: float, seed: int) -> Record | None:
        wanted = {"part": part, "base": base, "stage": stage, "epochs": epochs, "peak_lr": peak_lr}
        return next((record for record in done if record.seed == seed and dict(record.config) == wanted), None)

    def make(stage: str, epochs: int, peak_lr: float, seed: int) -> Record:
        found = find(stage, epochs, peak_lr, seed)
        if found is not None:
            return found
        start_s = time.perf_counter()
        fitted = fitted_with(prepared, base, epochs, peak_lr, seed)
        figures = {"validation_mse": min(fitted.losses), "untrained_validation_mse": fitted.losses[0]}
        if stage == "test":
            mse, mae, count = test_errors(fitted, prepared)
            figures |= {"test_mse": mse, "test_mae": mae, "windows": float(count)}
        record = Record(
            name="timemixer-study",
            seed=seed,
            data_hash=hash_bytes([prepared.scaled_TC.tobytes()]),
            figures=figures,
            seconds_s=round(time.perf_counter() - start_s, 1),
            config={"part": part, "base": base, "stage": stage, "epochs": epochs, "peak_lr": peak_lr},
        )
        append_record(out, record)
        print(record.to_json(), flush=True)
        return record

    tried = {schedule: make("choose", *schedule, 0).figures["validation_mse"] for schedule in SCHEDULES[part]}
    best = min(tried, key=lambda schedule: tried[schedule])
    for seed in SEEDS:
        make("test", *best, seed)


def run_m4(part: str, base: Base, data: Path, out: Path, steps: int) -> None:
    """TimeMixer and Naive 2 on the competition's test values, one line a seed."""
    group, horizon, season = M4[part]
    # Chosen on Weekly's validation rows among 2 and 4 horizons and rates of 0.01 and 0.003; Hourly takes the same.
    context = 4 * horizon
    past, future = (read_ragged_rows(data / "m4" / f"{group}-{kind}.csv") for kind in ("train", "test"))
    names, done = list(past), read_records(out) if out.exists() else ()
    naive = {name: naive2(past[name], horizon, season) for name in names}
    for seed in SEEDS:
        about = {"part": part, "base": base, "steps": steps}
        if any(record.config == about and record.seed == seed for record in done):
            continue
        start_s = time.perf_counter()
        config = TimeMixerConfig(context=context, horizon=horizon, num_channels=1, num_scales=1, base=base)
        how = PanelConfig(num_steps=steps, batch_size=128, peak_lr=0.003, seed=seed, season=season)
        fitted = fit_panel([past[name] for name in names], config, how)
        made_NH = fitted.predict(newest_contexts([past[name] for name in names], context))[..., 0]
        made = {name: np.maximum(row, 0) for name, row in zip(names, made_NH, strict=True)}
        figures = {"validation_smape": min(fitted.losses), "untrained_validation_smape": fitted.losses[0]}
        figures |= {"series": float(len(names))}
        for label, rows in (("", made), ("naive2_", naive)):
            smape = np.mean([metrics.smape(future[name], rows[name]) for name in names])
            mase = np.mean([metrics.mase(future[name], rows[name], past[name], season) for name in names])
            figures |= {f"{label}smape": float(smape), f"{label}mase": float(mase)}
        figures["owa"] = metrics.owa(figures["smape"], figures["mase"], figures["naive2_smape"], figures["naive2_mase"])
        record = Record(
            name="timemixer-study",
            seed=seed,
            data_hash=hash_bytes([past[name].tobytes() for name in names]),
            figures=figures,
            seconds_s=round(time.perf_counter() - start_s, 1),
            config=about,
        )
        append_record(out, record)
        print(record.to_json(), flush=True)


def summary(out: Path) -> None:
    """What the lines say, one line a part and schedule."""
    groups: dict[str, list[Record]] = {}
    for record in read_records(out):
        groups.setdefault(f"{record.config}", []).append(record)
    for group, records in groups.items():
        means = {name: statistics.mean(r.figures[name] for r in records) for name in records[0].figures}
        print(group, {name: round(value, 4) for name, value in means.items()}, f"{len(records)} runs")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with ett/, exchange_rate/ and m4/")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, kept and continued")
    parser.add_argument("--part", choices=(*SCHEDULES, *M4), default="etth1")
    parser.add_argument("--base", choices=get_args(Base), default="none", help="default: none, the paper's model")
    parser.add_argument("--steps", type=int, default=300, help="of the M4 parts (default: 300)")
    parser.add_argument("--summary", action="store_true", help="print means and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.summary:
        summary(arguments.out)
        return
    if arguments.part in M4:
        run_m4(arguments.part, arguments.base, arguments.data, arguments.out, arguments.steps)
        return
    run(arguments.part, arguments.base, read(arguments.part, arguments.data), arguments.out)


if __name__ == "__main__":
    main()

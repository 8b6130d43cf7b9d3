"""The delay task, and the price of a sample: which memory can say what it heard a fixed time ago?

Prints one JSON line. The task of arXiv 2206.12037 made small enough for a laptop: white noise up to a band, 4000 samples
at 4 kHz, to be repeated 1000 samples later. The memory is frozen; only the reading C is fitted, by ridge regression on
three pieces, and judged on a fourth: error over signal, both root mean square. The peers are each other: a window of
the length of the lag, one of half that, and a fading memory; and for speed the dense step and the low-rank one.

    python benchmarks/hippo.py
"""

import time
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.record import Record
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.lowrank import LowRankMemory
from fullduplex.ssm.hippo.memory import Memory
from fullduplex.ssm.hippo.timescale import Timescale

RATE_HZ, NUM_SAMPLES, LAG_SAMPLES, ORDER, RIDGE = 4_000, 4_000, 1_000, 256, 1e-8
F64 = NDArray[np.float64]


def band_noise(seed: int, band_hz: float) -> F64:
    """White up to `band_hz`, silent above; root mean square 1/2."""
    draw = np.random.default_rng(seed)
    lines_hz = np.fft.rfftfreq(NUM_SAMPLES, 1 / RATE_HZ)
    lines = draw.standard_normal(lines_hz.size) + 1j * draw.standard_normal(lines_hz.size)
    noise = np.fft.irfft(lines * (lines_hz <= band_hz), n=NUM_SAMPLES)
    return noise / noise.std() / 2


def delay_error(kind: str, step: float, band_hz: float) -> float:
    """Share of the signal that the best reading of a frozen memory misses."""
    system = discretise_dense(transition(kind, ORDER), step)

    def states(signal: F64) -> F64:
        rows, x = np.zeros((signal.size, ORDER)), np.zeros(ORDER)
        for t, sample in enumerate(signal):
            x = system.a_NN @ x + system.b_N * sample
            rows[t] = x
        return rows[LAG_SAMPLES:]

    heard = [band_noise(seed, band_hz) for seed in range(3)]
    x_TN = np.concatenate([states(signal) for signal in heard])
    wanted = np.concatenate([signal[:-LAG_SAMPLES] for signal in heard])
    gram = x_TN.T @ x_TN
    read = np.linalg.solve(gram + RIDGE * np.trace(gram) / ORDER * np.eye(ORDER), x_TN.T @ wanted)
    fresh = band_noise(9, band_hz)
    missed = states(fresh) @ read - fresh[:-LAG_SAMPLES]
    return float(np.sqrt(np.mean(missed**2)) / fresh.std())


def speed(order: int) -> dict[str, float]:
    """Microseconds a sample: one at a time with a dense matrix, with a low rank, and in pieces."""
    timescale, signal = Timescale(kind="legs", step=1e-3), band_noise(0, 1_000)
    dense, low = Memory(timescale, order, rule="bilinear"), LowRankMemory(timescale, order)
    state, z = dense.init(), low.init()
    marks = [time.perf_counter()]
    for sample in signal:
        state = dense.step(sample, state)
    marks.append(time.perf_counter())
    for sample in signal:
        z = low.step(sample, z)
    marks.append(time.perf_counter())
    dense.scan(signal, dense.init())
    marks.append(time.perf_counter())
    names = ("dense_step", "low_rank_step", "dense_scan")
    return {
        f"legs_N{order}_{name}_us": round(1e6 * (stop - start) / signal.size, 2)
        for name, (start, stop) in zip(names, pairwise(marks), strict=True)
    }


def main() -> None:
    """Measure and print the record."""
    start_s, figures = time.perf_counter(), {}
    for band_hz in (200, 1_000):
        for kind in ("legs", "legt", "fout"):
            for step in (1e-3, 2e-3):
                error = delay_error(kind, step, band_hz)
                figures[f"delay_{band_hz}hz_{kind}_step_{step:g}_error"] = round(error, 4)
    for order in (64, 256, 1024):
        figures |= speed(order)
    record = Record(
        name="hippo",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"order": ORDER, "lag_samples": LAG_SAMPLES, "ridge": RIDGE, "numpy": np.__version__},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()

"""The two-dimensional scan: against its double loop, against one-dimensional scans, live, and over length.

Prints one JSON line. Peers: our own double loop over the cells, and V independent one-dimensional parallel scans of
mambapy (`pip install 'fullduplex[peers]'`), all of them in one batch. All measured in turns in this run.

    python benchmarks/forecast/chimera.py
    python benchmarks/forecast/chimera.py --columns 1000000    # a long stream only: the memory held on the way
"""

import argparse
import importlib.util
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fullduplex.base.record import Record
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.core import GridCore
from fullduplex.forecast.chimera.layer import Chimera
from fullduplex.kernels.scan2d import Grid, GridState, scan2d, scan2d_ref

SIZE_BTVN = (8, 1024, 16, 16)
LENGTHS = (1024, 4096, 32768)
STREAM_V, STREAM_D, STREAM_N = 32, 64, 16
NUM_COLUMNS = 2000


def in_turns_s(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median duration of each after one to warm up; one after the other, so that a busy machine slows them alike."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start_s = time.perf_counter()
            run()
            if turn:
                seen[name].append(time.perf_counter() - start_s)
    return {name: statistics.median(durations) for name, durations in seen.items()}


def draw(size: tuple[int, int, int, int], generator: torch.Generator) -> tuple[Grid, GridState]:
    """A grid that does not amplify."""
    a1, a2, a3, a4 = (torch.tanh(torch.randn(size, generator=generator)) / 2 for _ in range(4))
    u1, u2 = (torch.randn(size, generator=generator) for _ in range(2))
    zero = torch.zeros(size[0], size[2], size[3])
    return Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=u1, u2_BTVN=u2), GridState(zero, zero)


def measure_scan(generator: torch.Generator) -> dict[str, float]:
    """Schedules against the double loop and against independent scans."""
    grid, state = draw(SIZE_BTVN, generator)
    runs: dict[str, Callable[[], object]] = {
        name: lambda name=name: scan2d(grid, state, name) for name in ("rows", "columns", "wavefront")
    }
    runs["double_loop"] = lambda: scan2d_ref(grid, state)
    if importlib.util.find_spec("mambapy") is not None:
        from mambapy.pscan import pscan

        # (B V, T, 1, N): mambapy's axes are batch, length, channels, states.
        a, x = (y.transpose(1, 2).flatten(0, 1).unsqueeze(2).contiguous() for y in (grid.a1, grid.u1_BTVN))
        runs["mambapy"] = lambda: pscan(a, x)
    with torch.no_grad():
        seconds_s = in_turns_s(runs, 3)
    figures = {f"scan_{name}_ms": round(1e3 * value, 2) for name, value in seconds_s.items()}
    figures["double_loop_over_rows"] = round(seconds_s["double_loop"] / seconds_s["rows"], 1)
    if "mambapy" in seconds_s:
        figures["rows_over_mambapy_1d"] = round(seconds_s["rows"] / seconds_s["mambapy"], 2)
    return figures


def measure_lengths(generator: torch.Generator) -> dict[str, float]:
    """Time over length, as the slope of its logarithm: 1 is linear."""
    core = GridCore(ChimeraConfig(width=4, order=4), ChimeraConfig(width=4).heads[0], generator=generator)
    inputs = {steps: torch.randn(1, steps, 4, 8, generator=generator) for steps in LENGTHS}
    with torch.no_grad():
        seconds_s = in_turns_s(
            {str(steps): lambda x=x: core.scan(x, core.init(1, 4)) for steps, x in inputs.items()}, 5
        )
    ends = [seconds_s[str(LENGTHS[0])], seconds_s[str(LENGTHS[-1])]]
    slope = math.log(ends[1] / ends[0]) / math.log(LENGTHS[-1] / LENGTHS[0])
    return {"length_slope": round(slope, 2), f"core_T{LENGTHS[-1]}_ms": round(1e3 * ends[1], 1)}


def measure_stream(generator: torch.Generator) -> dict[str, float]:
    """One column at a time: the whole layer of width d, and the same by its slow twin; memory before and after.

    Beside the duration, the processor time of each column: what it would take on a machine that does nothing else.
    """
    layer = Chimera(ChimeraConfig(width=STREAM_D, expand=1, order=STREAM_N), STREAM_V, generator=generator)
    x_TBVD = torch.randn(NUM_COLUMNS, 1, STREAM_V, STREAM_D, generator=generator)
    figures: dict[str, float] = {}
    with torch.no_grad():
        state, wall_s, busy_s, twin_s = layer.init(1), [], [], []
        first_bytes = 0
        for t, x_BVD in enumerate(x_TBVD):
            start_s, start_busy_s = time.perf_counter(), time.process_time()
            _, after = layer.step(x_BVD, state)
            busy_s.append(time.process_time() - start_busy_s)
            wall_s.append(time.perf_counter() - start_s)
            if t % 8 == 0:
                start_busy_s = time.process_time()
                layer.scan(x_BVD.unsqueeze(1), state)
                twin_s.append(time.process_time() - start_busy_s)
            state = after
            if t == NUM_COLUMNS // 10:
                first_bytes = resident_bytes()
        figures["stream_growth_mb"] = round((resident_bytes() - first_bytes) / 2**20, 2)
    for name, durations_s in (("wall", wall_s), ("busy", busy_s)):
        ordered = sorted(durations_s)
        figures[f"layer_column_{name}_median_ms"] = round(1e3 * statistics.median(ordered), 3)
        figures[f"layer_column_{name}_p99_ms"] = round(1e3 * ordered[int(0.99 * len(ordered))], 3)
    figures["scan_over_step"] = round(statistics.median(twin_s) / statistics.median(busy_s), 1)
    return figures


def measure_memory(num_columns: int, generator: torch.Generator) -> dict[str, float]:
    """The same layer fed column after column: what the process holds at eleven points, the first after a hundredth."""
    layer = Chimera(ChimeraConfig(width=STREAM_D, expand=1, order=STREAM_N), STREAM_V, generator=generator)
    x_TBVD = torch.randn(NUM_COLUMNS, 1, STREAM_V, STREAM_D, generator=generator)
    looks = {round(num_columns * tenth / 10) for tenth in range(1, 11)} | {max(1, num_columns // 100)}
    figures: dict[str, float] = {}
    state, start_s = layer.init(1), time.process_time()
    with torch.no_grad():
        for t in range(1, num_columns + 1):
            _, state = layer.step(x_TBVD[t % NUM_COLUMNS], state)
            if t in looks:
                figures[f"resident_mb_at_{t}"] = round(resident_bytes() / 2**20, 2)
                print(f"{t} of {num_columns} columns, {figures[f'resident_mb_at_{t}']} MB", file=sys.stderr)
    assert all(bool(torch.isfinite(grid.h1_BVN).all()) for grid in state.grids)
    held_mb = list(figures.values())
    busy_ms = 1e3 * (time.process_time() - start_s)
    return {
        **figures,
        "growth_mb": round(held_mb[-1] - held_mb[0], 2),
        "column_busy_mean_ms": round(busy_ms / num_columns, 3),
    }


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--columns", type=int, help="stream so many columns and tell the memory; nothing else is measured"
    )
    num_columns: int | None = parser.parse_args().columns
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    if num_columns is None:
        figures = measure_scan(generator) | measure_lengths(generator) | measure_stream(generator)
    else:
        figures = measure_memory(num_columns, generator)
    record = Record(
        name="chimera",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={
            "scan": "B8 T1024 V16 N16",
            "stream": f"V{STREAM_V} N{STREAM_N} D{STREAM_D}, {num_columns or NUM_COLUMNS} columns",
            "dtype": "float32",
            "torch": torch.__version__,
            "num_threads": 1,
        },
    )
    print(record.to_json())


if __name__ == "__main__":
    main()

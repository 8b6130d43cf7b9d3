"""S4D's kernel: how fast, how exact and how large, against the plain Vandermonde table; and the layer, live and whole.

Prints one JSON line. The peer is the table that S4D is usually computed by: all powers of all modes at once. The floor
of a kernel is its arithmetic, 4 H M L floating-point operations of real matrix products, at the speed of a 1024 x 1024
matrix product measured here.

    python benchmarks/s4d.py
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch

from fullduplex.base.record import Record
from fullduplex.kernels.vandermonde import unroll_powers, unroll_powers_ref
from fullduplex.ssm.s4d import S4D, S4DConfig

CASES_HML = ((64, 32, 1024), (128, 32, 16384), (128, 32, 65536))
PLAIN_LIMIT = 2**27  # beyond this many complex numbers the plain table is left out
GEMM_SIZE = 1024


def median_s(run: Callable[[], object], repeats: int = 5) -> float:
    """Median duration of `run` after one run to warm up."""
    run()
    durations_s: list[float] = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        run()
        durations_s.append(time.perf_counter() - start_s)
    return statistics.median(durations_s)


def peak_bytes() -> int:
    """The most memory this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure_kernels(generator: torch.Generator) -> dict[str, float]:
    """Time, error and memory of every case."""
    figures: dict[str, float] = {}
    square = torch.randn(GEMM_SIZE, GEMM_SIZE, generator=generator)
    flop_per_s = 2 * GEMM_SIZE**3 / median_s(lambda: square @ square)
    figures["gemm_gflop_per_s"] = round(flop_per_s / 1e9, 1)
    systems = {}
    # All fast kernels first: a peak is never forgotten, and the plain table's would hide theirs.
    for width, num_modes, num_steps in CASES_HML:
        case = f"H{width}_M{num_modes}_L{num_steps}"
        system = S4D(S4DConfig(width=width, order=2 * num_modes, start="legs"), generator=generator).discrete()
        weights, a_DM = (system.c_DM * system.b_DM).detach(), system.a_DM.detach()
        systems[case] = (weights, a_DM, num_steps)
        narrow, before = weights.to(torch.complex64), peak_bytes()
        fast_s = median_s(lambda c=narrow, a=a_DM, steps=num_steps: unroll_powers(c, a, steps))
        figures[f"{case}_fast_ms"] = round(1e3 * fast_s, 2)
        figures[f"{case}_fast_over_floor"] = round(fast_s / (4 * width * num_modes * num_steps / flop_per_s), 2)
        figures[f"{case}_fast_peak_growth_mb"] = round((peak_bytes() - before) / 2**20, 1)
        figures[f"{case}_result_mb"] = round(4 * width * num_steps / 2**20, 1)
    for case, (weights, a_DM, num_steps) in systems.items():
        narrow, exact = weights.to(torch.complex64), unroll_powers(weights, a_DM, num_steps)
        error = (unroll_powers(narrow, a_DM, num_steps) - exact).abs().max() / exact.abs().max()
        figures[f"{case}_fp32_error"] = float(f"{error.item():.1e}")
        if weights.numel() * num_steps > PLAIN_LIMIT:
            continue
        before, a_narrow = peak_bytes(), a_DM.to(torch.complex64)
        plain_s = median_s(lambda c=narrow, a=a_narrow, steps=num_steps: unroll_powers_ref(c, a, steps), 1)
        figures[f"{case}_plain_over_fast"] = round(1e3 * plain_s / figures[f"{case}_fast_ms"], 1)
        figures[f"{case}_plain_peak_growth_mb"] = round((peak_bytes() - before) / 2**20, 1)
        error = (unroll_powers_ref(narrow, a_narrow, num_steps) - exact).abs().max() / exact.abs().max()
        figures[f"{case}_plain_fp32_error"] = float(f"{error.item():.1e}")
    return figures


def measure_layer(generator: torch.Generator) -> dict[str, float]:
    """A whole minute of frames at once, a training step, and one live step."""
    layer = S4D(S4DConfig(width=128, order=64), generator=generator)
    x_BTD = torch.randn(1, 2048, 128, generator=generator)

    def train() -> None:
        layer.zero_grad()
        layer.scan(x_BTD, layer.init(1))[0].square().mean().backward()

    figures = {"layer_D128_N64_T2048_train_ms": round(1e3 * median_s(train, 3), 2)}
    with torch.no_grad():
        live, state = layer.frozen(), layer.init(1)
        figures["layer_D128_N64_T2048_scan_ms"] = round(1e3 * median_s(lambda: live.scan(x_BTD, state)), 2)
        frame_BD = x_BTD[:, 0]
        for name, stream in (("frozen", live), ("layer", layer)):
            step_s = median_s(lambda stream=stream: [stream.step(frame_BD, state) for _ in range(100)]) / 100
            figures[f"{name}_D128_N64_step_us"] = round(1e6 * step_s, 1)
    return figures


def main() -> None:
    """Measure and print the record."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        figures = measure_kernels(generator)
    figures |= measure_layer(generator)
    record = Record(
        name="s4d",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"dtype": "float32", "torch": torch.__version__, "num_threads": torch.get_num_threads()},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()

"""How fast the linear scan is: against its readable twin, and against the floor no program can pass.

Prints one JSON line. The floor of a case is the time to move what must be moved: `a` and `b` read once, `h` written
once, 3 B T D numbers, at the speed measured here for copying 256 MiB (one read, one write). Two floating-point
operations a number are far below what a core can do, so bytes decide.

    python benchmarks/scan.py
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from fullduplex.base.record import Record
from fullduplex.kernels.scan import linear_scan, linear_scan_ref

CASES_BTD = ((1, 256, 256), (1, 1024, 256), (1, 16384, 256), (4, 1024, 1024), (2, 512, 16384))
REPEATS = 5
COPY_BYTES = 2**28


def median_s(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median duration of `run` after one run to warm up."""
    run()
    durations_s: list[float] = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        run()
        durations_s.append(time.perf_counter() - start_s)
    return statistics.median(durations_s)


def forward_and_backward(scan: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: tuple[Tensor, ...]) -> None:
    """One training step's worth of scan."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    scan(leaves[0], leaves[1], leaves[2]).sum().backward()


def main() -> None:
    """Measure every case and print the record."""
    # One thread: with more, a busy neighbour decides the figures.
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    block = torch.empty(COPY_BYTES, dtype=torch.uint8)
    target = torch.empty_like(block)
    bytes_per_s = 2 * COPY_BYTES / median_s(lambda: target.copy_(block))
    figures = {"copy_gb_per_s": round(bytes_per_s / 1e9, 2)}
    for batch, num_steps, width in CASES_BTD:
        a = torch.rand(batch, num_steps, width, generator=generator)
        b = torch.randn(batch, num_steps, width, generator=generator)
        inputs = (a, b, torch.zeros(batch, width))
        fast_s = median_s(lambda inputs=inputs: linear_scan(*inputs))
        ref_s = median_s(lambda inputs=inputs: linear_scan_ref(*inputs), repeats=3)
        fast_train_s = median_s(lambda inputs=inputs: forward_and_backward(linear_scan, inputs), repeats=3)
        ref_train_s = median_s(lambda inputs=inputs: forward_and_backward(linear_scan_ref, inputs), repeats=3)
        floor_s = 3 * b.numel() * b.element_size() / bytes_per_s
        case = f"B{batch}_T{num_steps}_D{width}"
        figures[f"{case}_fast_ms"] = round(1e3 * fast_s, 3)
        figures[f"{case}_ref_over_fast"] = round(ref_s / fast_s, 2)
        figures[f"{case}_ref_over_fast_training"] = round(ref_train_s / fast_train_s, 2)
        figures[f"{case}_fast_over_floor"] = round(fast_s / floor_s, 2)
    record = Record(
        name="linear_scan",
        seed=0,
        data_hash="",
        figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2),
        config={"dtype": "float32", "torch": torch.__version__, "num_threads": torch.get_num_threads()},
    )
    print(record.to_json())


if __name__ == "__main__":
    main()

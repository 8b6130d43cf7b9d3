"""This machine as a device: how fast its NumPy multiplies and reads, on one thread, in seconds of processor time.

Processor time and not the clock on the wall, so that others at work on the machine count little. The weights of a
product are taken in turn from a pool larger than a cache, as the layers of a model are.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.hardware.calibrate.fit import Fit, fit_roofline
from fullduplex.hardware.checks import whole
from fullduplex.hardware.device import Device
from fullduplex.hardware.workload import Work

__all__ = ["SHAPES", "Products", "measure_products", "this_machine"]

SHAPES = tuple((rows, inner, columns) for inner, columns in ((1024, 1024), (576, 1536), (2048, 2048))
               for rows in (1, 2, 4, 8, 16, 32, 64, 128, 256))  # fmt: skip
_POOL_BYTES = 160e6
_CAPACITY_BYTES = 8e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Matrix products in 32 bits and the seconds of each, the least of some repeats."""

    work: tuple[Work, ...]
    seconds: NDArray[np.float64]


def measure_products(
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    *,
    repeats: int = 5,
    clock: Callable[[], float] = time.process_time,
    progress: Callable[[], object] = lambda: None,
) -> Products:
    """Time rows x inner times inner x columns for each of `shapes`; `progress` is called after each."""
    whole(repeats, 1, "repeats")
    rng = np.random.default_rng(0)
    pool = np.zeros((0, 0, 0), dtype=np.float32)
    seconds: list[float] = []
    for rows, inner, columns in shapes:
        for name, size in (("rows", rows), ("inner", inner), ("columns", columns)):
            whole(size, 1, name)
        if pool.shape[1:] != (inner, columns):
            number = max(2, int(_POOL_BYTES // (4 * inner * columns)))
            pool = rng.random((number, inner, columns), dtype=np.float32)
        tokens = rng.standard_normal((rows, inner), dtype=np.float32)
        out = np.empty((rows, columns), dtype=np.float32)
        least = np.inf
        for _ in range(repeats):
            start = clock()
            for weights in pool:
                np.matmul(tokens, weights, out=out)
            least = min(least, (clock() - start) / len(pool))
        seconds.append(float(least))
        progress()
    work = tuple(Work(2.0 * m * k * n, 4.0 * (m * k + k * n + m * n)) for m, k, n in shapes)
    return Products(work=work, seconds=np.array(seconds))


def this_machine(products: Products) -> tuple[Device, Fit, float]:
    """The device whose peaks are the best rates met, the shares that fit every other product, and the error of the rest.

    Raises: InputError for fewer than six products.
    """
    if len(products.work) < 6:
        raise InputError(f"{len(products.work)} products were timed; expected at least 6")
    flops = np.array([item.flops for item in products.work])
    moved = np.array([item.bytes for item in products.work])
    device = Device(
        flops_per_s=float((flops / products.seconds).max()),
        bytes_per_s=float((moved / products.seconds).max()),
        capacity_bytes=_CAPACITY_BYTES,
        source="measured: NumPy products in 32 bits, one thread, processor time",
    )
    fit = fit_roofline(products.work[::2], products.seconds[::2], device)
    return device, fit, fit.error(products.work[1::2], products.seconds[1::2], device)

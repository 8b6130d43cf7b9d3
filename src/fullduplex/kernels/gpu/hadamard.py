"""Sylvester's butterflies on a GPU, in Triton: one program for a row, which stays in it from the first stage to the last.

Importing this module needs Triton.
"""

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["butterflies_gpu"]


@triton.jit
def _butterflies_kernel(x, out, size: tl.constexpr, stages: tl.constexpr):
    lane = tl.arange(0, size)
    at = tl.program_id(0).to(tl.int64) * size + lane
    y = tl.load(x + at)
    for stage in tl.static_range(stages):  # pyright: ignore[reportGeneralTypeIssues]
        other = tl.gather(y, lane ^ (1 << stage), 0)
        y = tl.where((lane >> stage) & 1 == 0, y + other, other - y)
    tl.store(out + at, y)


def butterflies_gpu(x: Tensor, size: int) -> Tensor:
    """H_M on each run of M = `size` numbers of the last axis, without the scale; M is a power of two that divides it."""
    x = plain(x)
    out = torch.empty_like(x)
    if x.numel():
        launch(_butterflies_kernel, (x.numel() // size,), x, out, size, size.bit_length() - 1)
    return out

"""The linear recurrence and the selective scan on a GPU, in Triton: one program for a row and a block of features.

A program goes down the whole of time with its states in registers, so memory is read and written once. Rows and blocks are
what runs side by side; short batches of narrow layers leave a large GPU partly idle. There is no parallelism over time.

Importing this module needs Triton. The arguments are those of `fullduplex.kernels.scan` and `.selective`, already checked.
"""

from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

__all__ = ["scan_gpu", "selective_gpu"]

_BLOCK = 64


@triton.jit
def _scan_kernel(a, b, h0, out, num_steps, width, reverse: tl.constexpr, block: tl.constexpr):
    row, lane = tl.program_id(0), tl.program_id(1) * block + tl.arange(0, block)
    inside = lane < width
    h = tl.load(h0 + row * width + lane, mask=inside, other=0.0)
    for i in range(num_steps):
        t = num_steps - 1 - i if reverse else i
        at = (row * num_steps + t) * width + lane
        h = tl.load(a + at, mask=inside, other=0.0) * h + tl.load(b + at, mask=inside, other=0.0)
        tl.store(out + at, h, mask=inside)


def scan_gpu(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    """All states of h_t = a_t h_{t-1} + b_t, real; with `reverse` from the last step to the first."""
    batch, num_steps, width = b_BTD.shape
    out_BTD = torch.empty(b_BTD.shape, dtype=b_BTD.dtype, device=b_BTD.device)
    grid = (batch, triton.cdiv(width, _BLOCK))
    a_BTD, b_BTD, h0_BD = a_BTD.contiguous(), b_BTD.contiguous(), h0_BD.contiguous()
    launch: Any = _scan_kernel
    launch[grid](a_BTD, b_BTD, h0_BD, out_BTD, num_steps, width, reverse, _BLOCK)
    return out_BTD


@triton.jit
def _selective_kernel(  # noqa: PLR0913
    x, step, b, c, rate, skip, h0, y, h_last, num_steps, width, order, block: tl.constexpr, states: tl.constexpr
):
    row, lane = tl.program_id(0), tl.program_id(1) * block + tl.arange(0, block)
    n, inside = tl.arange(0, states), lane < width
    both = inside[:, None] & (n < order)[None, :]
    at_state = lane[:, None] * order + n[None, :]
    rates = tl.load(rate + at_state, mask=both, other=0.0)
    direct = tl.load(skip + lane, mask=inside, other=0.0)
    h = tl.load(h0 + row * width * order + at_state, mask=both, other=0.0)
    for t in range(num_steps):
        at, at_n = (row * num_steps + t) * width + lane, (row * num_steps + t) * order + n
        x_t, step_t = tl.load(x + at, mask=inside, other=0.0), tl.load(step + at, mask=inside, other=0.0)
        b_t, c_t = tl.load(b + at_n, mask=n < order, other=0.0), tl.load(c + at_n, mask=n < order, other=0.0)
        h = tl.exp(step_t[:, None] * rates) * h + (step_t * x_t)[:, None] * b_t[None, :]
        tl.store(y + at, tl.sum(h * c_t[None, :], axis=1) + direct * x_t, mask=inside)
    tl.store(h_last + row * width * order + at_state, h, mask=both)


def selective_gpu(
    x_BTD: Tensor, step_BTD: Tensor, b_BTN: Tensor, c_BTN: Tensor, rate_DN: Tensor, skip_D: Tensor, h0_BDN: Tensor
) -> tuple[Tensor, Tensor]:
    """y_BTD without the gate, and the last states; `step_BTD` is behind the softplus. Forward only."""
    batch, num_steps, width = x_BTD.shape
    order = rate_DN.shape[1]
    lent = [each.contiguous() for each in (x_BTD, step_BTD, b_BTN, c_BTN, rate_DN, skip_D, h0_BDN)]
    y_BTD, h_BDN = torch.empty_like(lent[0]), torch.empty_like(lent[-1])
    states = triton.next_power_of_2(order)
    block = max(1, 1024 // states)
    grid = (batch, triton.cdiv(width, block))
    launch: Any = _selective_kernel
    launch[grid](*lent, y_BTD, h_BDN, num_steps, width, order, block, states)
    return y_BTD, h_BDN

"""The linear recurrence and the selective scan on a GPU, in Triton: one program for a row and a block of features.

A program goes down the whole of time with its states in registers, so memory is read and written once. Rows and blocks are
what runs side by side; short batches of narrow layers leave a large GPU partly idle. There is no parallelism over time.

Importing this module needs Triton. The arguments are those of `fullduplex.kernels.scan` and `.selective`, already checked.
"""

from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["scan_gpu", "selective_gpu"]

_BLOCK = 64
_TILE = 64  # steps whose states are made again at once on the way back


@triton.jit
def _scan_kernel(a, b, h0, out, num_steps, width, reverse: tl.constexpr, block: tl.constexpr):
    row, lane = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    inside = lane < width
    h = tl.load(h0 + row * width + lane, mask=inside, other=0.0)
    for i in range(num_steps):
        t = num_steps - 1 - i if reverse else i
        at = (row * num_steps + t) * width + lane
        h = tl.load(a + at, mask=inside, other=0.0) * h + tl.load(b + at, mask=inside, other=0.0)
        tl.store(out + at, h, mask=inside)


@triton.jit
def _complex_scan_kernel(a, b, h0, out, num_steps, width, reverse: tl.constexpr, block: tl.constexpr):
    """As `_scan_kernel`; every number is two neighbours, real and imaginary part."""
    row, lane = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    inside = lane < width
    at = 2 * (row * width + lane)
    h_re = tl.load(h0 + at, mask=inside, other=0.0)
    h_im = tl.load(h0 + at + 1, mask=inside, other=0.0)
    for i in range(num_steps):
        t = num_steps - 1 - i if reverse else i
        at = 2 * ((row * num_steps + t) * width + lane)
        a_re = tl.load(a + at, mask=inside, other=0.0)
        a_im = tl.load(a + at + 1, mask=inside, other=0.0)
        new_re = a_re * h_re - a_im * h_im + tl.load(b + at, mask=inside, other=0.0)
        h_im = a_re * h_im + a_im * h_re + tl.load(b + at + 1, mask=inside, other=0.0)
        h_re = new_re
        tl.store(out + at, h_re, mask=inside)
        tl.store(out + at + 1, h_im, mask=inside)


def scan_gpu(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    """All states of h_t = a_t h_{t-1} + b_t, real or complex; with `reverse` from the last step to the first."""
    batch, num_steps, width = b_BTD.shape
    out_BTD = torch.empty(b_BTD.shape, dtype=b_BTD.dtype, device=b_BTD.device)
    grid = (batch, triton.cdiv(width, _BLOCK))
    kernel = _complex_scan_kernel if b_BTD.is_complex() else _scan_kernel
    lent = [plain(each) for each in (a_BTD, b_BTD, h0_BD, out_BTD)]
    launch(kernel, grid, *lent, num_steps, width, reverse, _BLOCK)
    return out_BTD


@triton.jit
def _selective_kernel(  # noqa: PLR0913
    x, step, b, c, rate, skip, h0, y, h_last, kept, num_steps, width, order,
    keep: tl.constexpr, tile: tl.constexpr, block: tl.constexpr, states: tl.constexpr,
):  # fmt: skip
    row, lane = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    n, inside = tl.arange(0, states), lane < width
    both = inside[:, None] & (n < order)[None, :]
    at_state = lane[:, None] * order + n[None, :]
    rates = tl.load(rate + at_state, mask=both, other=0.0)
    direct = tl.load(skip + lane, mask=inside, other=0.0)
    h = tl.load(h0 + row * width * order + at_state, mask=both, other=0.0)
    num_tiles = (num_steps + tile - 1) // tile
    for t in range(num_steps):
        if keep:  # noqa: SIM102
            if t % tile == 0:  # pyright: ignore[reportOperatorIssue]
                tl.store(kept + (row * num_tiles + t // tile) * width * order + at_state, h, mask=both)
        at, at_n = (row * num_steps + t) * width + lane, (row * num_steps + t) * order + n
        x_t, step_t = tl.load(x + at, mask=inside, other=0.0), tl.load(step + at, mask=inside, other=0.0)
        b_t, c_t = tl.load(b + at_n, mask=n < order, other=0.0), tl.load(c + at_n, mask=n < order, other=0.0)
        h = tl.exp(step_t[:, None] * rates) * h + (step_t * x_t)[:, None] * b_t[None, :]
        tl.store(y + at, tl.sum(h * c_t[None, :], axis=1) + direct * x_t, mask=inside)
    tl.store(h_last + row * width * order + at_state, h, mask=both)


@triton.jit
def _selective_backward_kernel(  # noqa: PLR0913
    x, step, b, c, rate, skip, kept, dy, dh_last, before,
    dx, dstep, db, dc, drate, dskip, dh0, num_steps, width, order,
    tile: tl.constexpr, block: tl.constexpr, states: tl.constexpr,
):  # fmt: skip
    # l_t = c_t dy_t + a_{t+1} l_{t+1} from the last step to the first. The states in front of each step are made again,
    # a tile at a time, into `before`, which is small; db and dc are one part for each block of features.
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    lane, n = part * block + tl.arange(0, block), tl.arange(0, states)
    inside = lane < width
    both = inside[:, None] & (n < order)[None, :]
    at_state = lane[:, None] * order + n[None, :]
    rates = tl.load(rate + at_state, mask=both, other=0.0)
    direct = tl.load(skip + lane, mask=inside, other=0.0)
    back = tl.load(dh_last + row * width * order + at_state, mask=both, other=0.0)
    sum_rate, sum_skip = tl.zeros_like(rates), tl.zeros_like(direct)
    num_tiles = (num_steps + tile - 1) // tile
    for i in range(num_tiles):
        k = num_tiles - 1 - i
        count = tl.minimum(tile, num_steps - k * tile)
        h = tl.load(kept + (row * num_tiles + k) * width * order + at_state, mask=both, other=0.0)
        for j in range(count):
            t = k * tile + j
            at, at_n = (row * num_steps + t) * width + lane, (row * num_steps + t) * order + n
            tl.store(before + (row * tile + j) * width * order + at_state, h, mask=both)
            x_t, step_t = tl.load(x + at, mask=inside, other=0.0), tl.load(step + at, mask=inside, other=0.0)
            b_t = tl.load(b + at_n, mask=n < order, other=0.0)
            h = tl.exp(step_t[:, None] * rates) * h + (step_t * x_t)[:, None] * b_t[None, :]
        tl.debug_barrier()
        for j in range(count):
            t = k * tile + count - 1 - j
            at, at_n = (row * num_steps + t) * width + lane, (row * num_steps + t) * order + n
            x_t, step_t = tl.load(x + at, mask=inside, other=0.0), tl.load(step + at, mask=inside, other=0.0)
            b_t, c_t = tl.load(b + at_n, mask=n < order, other=0.0), tl.load(c + at_n, mask=n < order, other=0.0)
            dy_t = tl.load(dy + at, mask=inside, other=0.0)
            past = tl.load(before + (row * tile + count - 1 - j) * width * order + at_state, mask=both, other=0.0)
            decay = tl.exp(step_t[:, None] * rates)
            drive = (step_t * x_t)[:, None]
            back += dy_t[:, None] * c_t[None, :]
            faded = back * decay * past
            at_part = ((part * tl.num_programs(0) + row) * num_steps + t) * order + n
            tl.store(
                dc + at_part, tl.sum((decay * past + drive * b_t[None, :]) * dy_t[:, None], axis=0), mask=n < order
            )
            tl.store(db + at_part, tl.sum(back * drive, axis=0), mask=n < order)
            heard = tl.sum(back * b_t[None, :], axis=1)
            tl.store(dx + at, heard * step_t + direct * dy_t, mask=inside)
            tl.store(dstep + at, heard * x_t + tl.sum(faded * rates, axis=1), mask=inside)
            sum_rate += faded * step_t[:, None]
            sum_skip += dy_t * x_t
            back = back * decay
        tl.debug_barrier()
    tl.store(dh0 + row * width * order + at_state, back, mask=both)
    tl.store(drate + row * width * order + at_state, sum_rate, mask=both)
    tl.store(dskip + row * width + lane, sum_skip, mask=inside)


def selective_gpu(
    x_BTD: Tensor, step_BTD: Tensor, b_BTN: Tensor, c_BTN: Tensor, rate_DN: Tensor, skip_D: Tensor, h0_BDN: Tensor
) -> tuple[Tensor, Tensor]:
    """y_BTD without the gate, and the last states; `step_BTD` is behind the softplus. Gradients once."""
    return cast("tuple[Tensor, Tensor]", _SelectiveGpu.apply(x_BTD, step_BTD, b_BTN, c_BTN, rate_DN, skip_D, h0_BDN))


class _SelectiveGpu(torch.autograd.Function):
    """Both directions in Triton; the states at the start of each tile of steps are kept."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        lent = [plain(each) for each in inputs]
        x_BTD, h0_BDN = lent[0], lent[-1]
        (batch, num_steps, width), order = x_BTD.shape, h0_BDN.shape[2]
        keep = any(ctx.needs_input_grad)
        kept = h0_BDN.new_empty(batch, triton.cdiv(num_steps, _TILE) if keep else 0, width, order)
        y_BTD, h_BDN = torch.empty_like(x_BTD), torch.empty_like(h0_BDN)
        states, block, grid = _shape(batch, width, order)
        launch(_selective_kernel, grid, *lent, y_BTD, h_BDN, kept, num_steps, width, order, keep, _TILE, block, states)
        ctx.save_for_backward(*lent[:-1], kept)
        return y_BTD, h_BDN

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, ...]:
        dy_BTD, dh_BDN = (plain(each) for each in grad_outputs)
        *lent, kept = ctx.saved_tensors
        (batch, num_steps, width), order = dy_BTD.shape, dh_BDN.shape[2]
        states, block, grid = _shape(batch, width, order)
        new = dy_BTD.new_empty
        before = new(batch, _TILE, width, order)
        dx_BTD, dstep_BTD = torch.empty_like(dy_BTD), torch.empty_like(dy_BTD)
        db, dc = (new(grid[1], batch, num_steps, order) for _ in range(2))
        drate, dskip, dh0_BDN = new(batch, width, order), new(batch, width), torch.empty_like(dh_BDN)
        out = (dx_BTD, dstep_BTD, db, dc, drate, dskip, dh0_BDN)
        tensors = (*lent, kept, dy_BTD, dh_BDN, before, *out)
        launch(_selective_backward_kernel, grid, *tensors, num_steps, width, order, _TILE, block, states)
        return dx_BTD, dstep_BTD, db.sum(0), dc.sum(0), drate.sum(0), dskip.sum(0), dh0_BDN


def _shape(batch: int, width: int, order: int) -> tuple[int, int, tuple[int, int]]:
    """States of a program, rounded up; its features; the programs."""
    states = triton.next_power_of_2(order)
    block = max(1, 1024 // states)
    return states, block, (batch, triton.cdiv(width, block))

"""The selective recurrence over a grid of variates and time: what is inside a Chimera layer (arXiv 2406.04320).

Axes: B batch, T time, V variates, E channels, N states of a channel.

    s1 = softplus(dt1 + bias1),  s2 = softplus(dt2 + bias2)
    h1[t,v] = A1 h1[t-1,v] + A2 h2[t-1,v] + (A1 - 1)/r1 b1 x        A1 = e^(s1 r1),  A2 = (1 - A1) k2
    h2[t,v] = A3 h1[t,v-1] + A4 h2[t,v-1] + (A4 - 1)/r2 b2 x        A4 = e^(s2 r2),  A3 = (1 - A4) k3
    y[t,v] = c1 h1[t,v] + c2 h2[t,v] + skip x

`selective_scan2d_ref` makes the transitions of all cells and hands them to `scan2d`; `native/selective2d.h` makes each
where it is used and keeps nothing but the states before every tile, forward and backward. Where there is no compiler the
reference runs.
"""

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import Native, native_for
from fullduplex.kernels.scan2d import Grid, GridState, scan2d

__all__ = ["Selective2d", "selective_scan2d", "selective_scan2d_ref"]

_KEPT_NUMBERS = 1024  # of a block of channels, V N times the steps of a tile: what fits the second cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Selective2d:
    """Inputs and constants.

    Args:
        x_BTVE: what enters.
        dt1_BTVE, dt2_BTVE: steps before bias and softplus.
        b1_BTVN, c1_BTVN, b2_BTVN, c2_BTVN: how the input enters and how the states are read.
        rate1_NE, rate2_NE: below zero.
        k2_NE, k3_NE: couplings, in [-1, 1] for states that stay bounded.
        bias1_E, bias2_E, skip_E: see the top of the file.
    """

    x_BTVE: Tensor
    dt1_BTVE: Tensor
    dt2_BTVE: Tensor
    b1_BTVN: Tensor
    c1_BTVN: Tensor
    b2_BTVN: Tensor
    c2_BTVN: Tensor
    rate1_NE: Tensor
    rate2_NE: Tensor
    k2_NE: Tensor
    k3_NE: Tensor
    bias1_E: Tensor
    bias2_E: Tensor
    skip_E: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them in this order."""
        return tuple(cast("Tensor", getattr(self, field.name)) for field in fields(self))


def selective_scan2d(inputs: Selective2d, state: GridState, *, backwards: bool = False) -> tuple[Tensor, GridState]:
    """All columns of the grid.

    Args:
        inputs: of one precision and device; T >= 1.
        state: the column before the first, each (B, V, N E) with channels side by side.
        backwards: whether the variates are run through from the last to the first; the state stays in that order.

    Returns:
        y_BTVE and the last column. Differentiable.

    Raises:
        InputError: shapes do not fit.
    """
    _check(inputs, state)
    tensors = (*inputs.tensors(), state.h1_BVN, state.h2_BVN)
    if native_for(*tensors) is None or inputs.x_BTVE.dtype not in (torch.float32, torch.float64):
        return selective_scan2d_ref(inputs, state, backwards=backwards)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        y_BTVE, h1, h2 = cast("tuple[Tensor, ...]", _Compiled.apply(backwards, *tensors))
    else:
        y_BTVE, h1, h2 = _forward(tensors, backwards, kept=None)
    return y_BTVE, GridState(h1, h2)


def selective_scan2d_ref(inputs: Selective2d, state: GridState, *, backwards: bool = False) -> tuple[Tensor, GridState]:
    """`selective_scan2d`, written to be read, differentiated by autograd."""
    x, dt1, dt2, b1, c1, b2, c2 = (
        each.flip(2) if backwards else each for each in inputs.tensors()[:7]
    )  # fmt: skip
    s1, s2 = (
        functional.softplus(dt1 + inputs.bias1_E, threshold=200),
        functional.softplus(dt2 + inputs.bias2_E, threshold=200),
    )
    turn1, turn2 = s1.unsqueeze(-2) * inputs.rate1_NE, s2.unsqueeze(-2) * inputs.rate2_NE  # (B, T, V, N, E)
    grown1, grown2 = torch.expm1(turn1), torch.expm1(turn2)
    entering = x.unsqueeze(-2)
    blocks = (torch.exp(turn1), -grown1 * inputs.k2_NE, -grown2 * inputs.k3_NE, torch.exp(turn2))
    u1, u2 = (
        grown1 / inputs.rate1_NE * b1.unsqueeze(-1) * entering,
        grown2 / inputs.rate2_NE * b2.unsqueeze(-1) * entering,
    )
    a1, a2, a3, a4, u1, u2 = (each.flatten(3) for each in (*blocks, u1, u2))
    h1, h2, end = scan2d(Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=u1, u2_BTVN=u2), state)
    h1, h2 = (h.unflatten(3, tuple(inputs.rate1_NE.shape)) for h in (h1, h2))
    y_BTVE = (h1 * c1.unsqueeze(-1)).sum(-2) + (h2 * c2.unsqueeze(-1)).sum(-2) + inputs.skip_E * x
    return (y_BTVE.flip(2) if backwards else y_BTVE), end


def _check(inputs: Selective2d, state: GridState) -> None:
    shape, (order, width) = inputs.x_BTVE.shape, inputs.rate1_NE.shape
    if len(shape) != 4 or shape[1] < 1 or shape[3] != width:
        raise InputError(f"selective_scan2d got x {tuple(shape)}; expected (B, T, V, {width}) with T >= 1")
    expected: tuple[tuple[int, ...], ...] = (
        *[tuple(shape)] * 3, *[(*shape[:3], order)] * 4, *[(order, width)] * 4, *[(width,)] * 3,
        *[(shape[0], shape[2], order * width)] * 2,
    )  # fmt: skip
    for each, want in zip((*inputs.tensors(), state.h1_BVN, state.h2_BVN), expected, strict=True):
        if tuple(each.shape) != want or each.dtype != inputs.x_BTVE.dtype:
            raise InputError(
                f"selective_scan2d got {each.dtype} {tuple(each.shape)}; expected {inputs.x_BTVE.dtype} {want}"
            )


def _lend(tensors: tuple[Tensor, ...], *, backwards: bool) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The tensors as native/selective2d.h reads them, and its sizes. b and c may be parts of one projection."""
    lent = list(tensors)
    strides: list[int] = []
    for first in (3, 5):
        b, c = lent[first], lent[first + 1]
        same = b.stride() == c.stride() and b.stride(3) == 1 and b.shape[3] <= b.stride(2)
        dense = b.stride(1) == b.shape[2] * b.stride(2) and b.stride(0) == b.shape[1] * b.stride(1)
        if not (same and dense):
            lent[first], lent[first + 1] = b.contiguous(), c.contiguous()
        strides.append(lent[first].stride(2))
    kept = (3, 4, 5, 6)
    lent = [each if index in kept else each.contiguous() for index, each in enumerate(lent)]
    batch, num_steps, num_variates, width = lent[0].shape
    order = lent[7].shape[0]
    tile = min(num_steps, max(1, _KEPT_NUMBERS // (num_variates * order)))
    sizes = (batch, num_steps, num_variates, width, order, *strides, int(backwards), tile, torch.get_num_threads())
    return tuple(lent), sizes


def _forward(tensors: tuple[Tensor, ...], backwards: bool, kept: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    lent, sizes = _lend(tensors, backwards=backwards)
    x_BTVE = lent[0]
    y_BTVE, h1, h2 = torch.empty_like(x_BTVE), torch.empty_like(lent[14]), torch.empty_like(lent[15])
    _compiled(x_BTVE).run("selective2d", x_BTVE.dtype, lent, y_BTVE, h1, h2, kept, sizes)
    return y_BTVE, h1, h2


def _compiled(x: Tensor) -> Native:
    compiled = native_for(x)
    assert compiled is not None
    return compiled


class _Compiled(torch.autograd.Function):
    """Both directions in C."""

    @staticmethod
    def forward(ctx: Any, backwards: bool, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lent, sizes = _lend(tensors, backwards=backwards)
        batch, num_steps, num_variates, width, order, _, _, _, tile, _ = sizes
        lanes = 16 if lent[0].dtype == torch.float32 else 8
        kept = lent[0].new_empty(batch, -(-num_steps // tile), -(-width // lanes), num_variates, 2, order, lanes)
        ctx.save_for_backward(*lent, kept)
        ctx.backwards = backwards
        return _forward(lent, backwards, kept)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy, dh1, dh2 = (each.contiguous() for each in grad_outputs)
        *lent, kept = ctx.saved_tensors
        tensors, sizes = _lend(tuple(lent), backwards=ctx.backwards)
        batch = tensors[0].shape[0]
        streams = [dy.new_empty(each.shape) for each in tensors[:7]]
        constants = [dy.new_empty(batch, *each.shape) for each in tensors[7:14]]
        states = [torch.empty_like(dh1), torch.empty_like(dh2)]
        out = (*streams, *constants, *states)
        _compiled(dy).run("selective2d_backward", dy.dtype, tensors, kept, dy, dh1, dh2, out, sizes)
        return (None, *streams, *(each.sum(0) for each in constants), *states)

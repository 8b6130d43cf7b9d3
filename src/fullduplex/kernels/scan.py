"""The linear recurrence h_t = a_t * h_{t-1} + b_t, elementwise over features, for every step at once.

Axes: B batch, T time, D features, C chunks of time, L steps of one chunk.

The fast path (Blelloch, "Prefix sums and their applications", 1990, section 1.4, in a blocked form):

    1. cut T into C chunks of L steps; run all chunks side by side from zero, keeping only each chunk's total decay
       and its end state;
    2. those C pairs are again a linear recurrence: solve it by the same function;
    3. run all chunks side by side once more, now from their true start states.

About 2 L log_L(T) vector operations stand in a row instead of T. Nothing is divided and no power of `a` is inverted,
so |a| <= 1 is stable and a = 0 (a reset) is exact. The result differs from `linear_scan_ref` by rounding only.

Where a C compiler was found (`native/library.py`) the recurrence runs there instead, as it stands: one pass, three rows
in the first cache. On CUDA tensors, where Triton is installed, `gpu/recurrence.py` runs it. All paths have the same
gradients, which can be differentiated again: the backward pass is a scan too.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import Native, native_for, triton_for, unit_rows

__all__ = ["linear_scan", "linear_scan_ref"]

# Measured on one CPU core: from rows of about this many numbers on, one step already fills the vector units, and the
# plain loop, which reads `a` and `b` once instead of twice, is as fast.
_WIDE_ROW = 4096
_CHUNK_STEPS = 16
_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def linear_scan(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor) -> Tensor:
    """All states of h_t = a_t * h_{t-1} + b_t.

    Args:
        a_BTD: decay of each step; |a| <= 1 keeps the states bounded. May be an expanded view.
        b_BTD: input of each step.
        h0_BD: the state before the first step.

    Returns:
        h_BTD, a fresh tensor. The last state is `h_BTD[:, -1]`; with T = 0 it is `h0_BD`. NaN and infinity propagate.

    Raises:
        InputError: shapes do not fit, or the three are not all one of float32, float64, complex64, complex128.
    """
    _check(a_BTD, b_BTD, h0_BD)
    return _apply(a_BTD, b_BTD, h0_BD, reverse=False)


def linear_scan_ref(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor) -> Tensor:
    """`linear_scan`, written to be read: the recurrence as it stands, differentiated by autograd.

    `unbind` rather than an index a step: the gradient of an index is a whole tensor of zeros, T times.
    """
    h_BD, states = h0_BD, []
    for a_BD, b_BD in zip(a_BTD.unbind(1), b_BTD.unbind(1), strict=True):
        h_BD = a_BD * h_BD + b_BD
        states.append(h_BD)
    return torch.stack(states, dim=1) if states else b_BTD.clone()


def _check(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor) -> None:
    shapes = f"a {tuple(a_BTD.shape)}, b {tuple(b_BTD.shape)}, h0 {tuple(h0_BD.shape)}"
    if b_BTD.ndim != 3 or a_BTD.shape != b_BTD.shape or h0_BD.shape != (b_BTD.shape[0], b_BTD.shape[2]):
        raise InputError(f"linear_scan got {shapes}; expected a and b of one shape (B, T, D), and h0 (B, D)")
    if b_BTD.dtype not in _DTYPES or {a_BTD.dtype, h0_BD.dtype} != {b_BTD.dtype}:
        raise InputError(
            f"linear_scan got dtypes a {a_BTD.dtype}, b {b_BTD.dtype}, h0 {h0_BD.dtype}; expected one of "
            "float32, float64, complex64, complex128 for all three: cast half precision to float32 first"
        )


class _LinearScan(torch.autograd.Function):
    """Exact gradients by one scan in the other direction.

    With g_t the gradient that reaches h_t from outside, the full gradient obeys l_t = g_t + conj(a_{t+1}) * l_{t+1};
    then db_t = l_t, da_t = l_t * conj(h_{t-1}), dh0 = conj(a_1) * l_1. The scan from the end is this function too, with
    before and after exchanged, so the gradient can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, reverse: bool) -> Tensor:
        h_BTD = _scan(a_BTD, b_BTD, h0_BD, reverse=reverse)
        ctx.save_for_backward(a_BTD, h0_BD, h_BTD)
        ctx.reverse = reverse
        return h_BTD

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (g_BTD,) = grad_outputs
        a_BTD, h0_BD, h_BTD = ctx.saved_tensors
        a_BTD, h0_B1D = a_BTD.conj().resolve_conj(), h0_BD.unsqueeze(1)
        if ctx.reverse:
            inner_BTD = _apply(a_BTD[:, :-1], g_BTD[:, 1:], g_BTD[:, 0], reverse=False)
            l_BTD = torch.cat([g_BTD[:, :1], inner_BTD], dim=1)
            first = -1
        else:
            inner_BTD = _apply(a_BTD[:, 1:], g_BTD[:, :-1], g_BTD[:, -1], reverse=True)
            l_BTD = torch.cat([inner_BTD, g_BTD[:, -1:]], dim=1)
            first = 0
        da_BTD = None
        if ctx.needs_input_grad[0]:
            behind_BTD = [h_BTD[:, 1:], h0_B1D] if ctx.reverse else [h0_B1D, h_BTD[:, :-1]]
            da_BTD = l_BTD * torch.cat(behind_BTD, dim=1).conj()
        return da_BTD, l_BTD, a_BTD[:, first] * l_BTD[:, first], None


def _apply(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    """`linear_scan`, or with `reverse` h_t = a_t * h_{t+1} + b_t from the last step to the first."""
    if b_BTD.shape[1] == 0:
        return b_BTD.clone()
    return cast("Tensor", _LinearScan.apply(a_BTD, b_BTD, h0_BD, reverse))


def _scan(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    compiled = native_for(a_BTD, b_BTD, h0_BD)
    if compiled is not None:
        return _scan_compiled(compiled, a_BTD, b_BTD, h0_BD, reverse=reverse)
    if triton_for(a_BTD, b_BTD, h0_BD):
        from fullduplex.kernels.gpu.recurrence import scan_gpu

        return scan_gpu(a_BTD, b_BTD, h0_BD, reverse=reverse)
    return _scan_torch(a_BTD, b_BTD, h0_BD, reverse=reverse)


def _scan_compiled(compiled: Native, a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    """native/scan.h: the strides over batch and time may be anything, zero for an expanded view too."""
    a_BTD, b_BTD, h0_BD = unit_rows(a_BTD), unit_rows(b_BTD), h0_BD.resolve_conj().contiguous()
    out_BTD = torch.empty(b_BTD.shape, dtype=b_BTD.dtype)
    sizes = (*b_BTD.shape, *a_BTD.stride()[:2], *b_BTD.stride()[:2], int(reverse), torch.get_num_threads())
    compiled.run("scan", b_BTD.dtype, a_BTD, b_BTD, h0_BD, out_BTD, sizes)
    return out_BTD


def _scan_torch(a_BTD: Tensor, b_BTD: Tensor, h0_BD: Tensor, *, reverse: bool) -> Tensor:
    batch, num_steps, width = b_BTD.shape
    way = -1 if reverse else 1
    out_BTD = torch.empty(b_BTD.shape, dtype=b_BTD.dtype, device=b_BTD.device)
    if num_steps < 4 * _CHUNK_STEPS or batch * width >= _WIDE_ROW:
        _run(a_BTD.unbind(1)[::way], b_BTD.unbind(1)[::way], h0_BD, out_BTD.unbind(1)[::way])
        return out_BTD
    num_chunks, num_left = divmod(num_steps, _CHUNK_STEPS)
    chunked, left = slice(0, num_steps - num_left), slice(num_steps - num_left, num_steps)
    if reverse:
        chunked, left = slice(num_left, num_steps), slice(0, num_left)
    a_L, b_L, out_L = (
        tensor[:, chunked].unflatten(1, (num_chunks, _CHUNK_STEPS)).unbind(2)[::way]
        for tensor in (a_BTD, b_BTD, out_BTD)
    )
    decay_BCD, end_BCD = a_L[0].clone(), b_L[0].clone()
    for a_BCD, b_BCD in zip(a_L[1:], b_L[1:], strict=True):
        torch.addcmul(b_BCD, a_BCD, end_BCD, out=end_BCD)
        decay_BCD.mul_(a_BCD)
    ends_BCD, h0_BCD = _scan_torch(decay_BCD, end_BCD, h0_BD, reverse=reverse), h0_BD.unsqueeze(1)
    starts_BCD = torch.cat([ends_BCD[:, 1:], h0_BCD] if reverse else [h0_BCD, ends_BCD[:, :-1]], dim=1)
    _run(a_L, b_L, starts_BCD, out_L)
    a_left, b_left, out_left = (tensor[:, left].unbind(1)[::way] for tensor in (a_BTD, b_BTD, out_BTD))
    _run(a_left, b_left, out_BTD[:, num_left if reverse else num_steps - num_left - 1], out_left)
    return out_BTD


def _run(a: Sequence[Tensor], b: Sequence[Tensor], h: Tensor, out: Sequence[Tensor]) -> None:
    """The recurrence itself: one fused multiply-add a step, written where it belongs."""
    for a_t, b_t, out_t in zip(a, b, out, strict=True):
        h = torch.addcmul(b_t, a_t, h, out=out_t)

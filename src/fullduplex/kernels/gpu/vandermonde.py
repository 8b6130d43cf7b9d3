"""Sums of geometric sequences on a GPU, in Triton: powers are made in registers by squaring, and no table is written.

    unrolled:    K_l = 2 Re sum_n c_n a_n^l
    moments:     S_n = sum_l a_n^l g_l    and its slope    T_n = dS_n / da_n = sum_l l a_n^(l-1) g_l

A program of the first takes a block of steps l = first + i J + j of one row and goes over the modes, a^l being
a^(first + i J) a^j; a program of the second takes a block of modes and goes over blocks of J steps from the last to the first
by Horner's rule. Each is the other's way back, so beside inputs and outputs nothing is held. Powers and Horner's sums are in
double precision, the products of a block in that of the signal. Every complex number is two neighbours.

Importing this module needs Triton; the arguments are those of `fullduplex.kernels.vandermonde`, already checked.
"""

import math
from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["gather_gpu", "unroll_gpu"]

_OUTER, _INNER, _MODES = 16, 64, 16
_INNER_BITS = _INNER.bit_length() - 1


@triton.jit
def _product(a_re, a_im, b_re, b_im):
    return a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re


@triton.jit
def _power(re, im, exponent, bits):
    """(re + i im)^exponent for 0 <= exponent < 2^bits, of any shapes that broadcast; 0^0 = 1."""
    out_re, out_im = tl.zeros_like(re + exponent) + 1.0, tl.zeros_like(re + exponent)
    for bit in range(bits):
        odd = ((exponent >> bit) & 1) == 1
        more_re, more_im = _product(out_re, out_im, re, im)
        out_re, out_im = tl.where(odd, more_re, out_re), tl.where(odd, more_im, out_im)
        re, im = _product(re, im, re, im)
    return out_re, out_im


@triton.jit
def _unroll_kernel(  # noqa: PLR0913
    c, a, out, num_modes, num_steps, num_tiles, bits, outer: tl.constexpr, inner: tl.constexpr, inner_bits: tl.constexpr
):
    row, tile = tl.program_id(0).to(tl.int64) // num_tiles, tl.program_id(0).to(tl.int64) % num_tiles
    start, j = tile * (outer * inner) + inner * tl.arange(0, outer), tl.arange(0, inner)
    total = tl.zeros((outer, inner), out.dtype.element_ty)
    for n in range(num_modes):
        at = 2 * (row * num_modes + n)
        a_re, a_im = tl.load(a + at), tl.load(a + at + 1)
        fine_re, fine_im = _power(a_re, a_im, j, inner_bits)
        coarse_re, coarse_im = _power(a_re, a_im, start, bits)
        left_re, left_im = _product(
            coarse_re, coarse_im, 2.0 * tl.load(c + at).to(tl.float64), 2.0 * tl.load(c + at + 1).to(tl.float64)
        )
        total += left_re.to(total.dtype)[:, None] * fine_re.to(total.dtype)[None, :]
        total -= left_im.to(total.dtype)[:, None] * fine_im.to(total.dtype)[None, :]
    step = start[:, None] + j[None, :]
    tl.store(out + row * num_steps + step, total, mask=step < num_steps)


@triton.jit
def _moments_kernel(  # noqa: PLR0913
    g, a, sums, slopes, num_modes, num_steps, num_blocks,
    turned: tl.constexpr, modes: tl.constexpr, inner: tl.constexpr, inner_bits: tl.constexpr,
):  # fmt: skip
    """With `turned` the last number of a row has power 0. A block adds p(a) = sum_j a^j g_j: S <- a^J S + p, and its slope."""
    row, n = tl.program_id(0).to(tl.int64) // num_blocks, tl.program_id(0) % num_blocks * modes + tl.arange(0, modes)
    inside, at = n < num_modes, 2 * (row * num_modes + n)
    a_re, a_im = tl.load(a + at, mask=inside, other=0.0), tl.load(a + at + 1, mask=inside, other=0.0)
    j = tl.arange(0, inner)
    p_re, p_im = _power(a_re[:, None], a_im[:, None], j[None, :], inner_bits)
    d_re, d_im = _power(a_re[:, None], a_im[:, None], tl.maximum(j - 1, 0)[None, :], inner_bits)
    d_re, d_im = (d_re * j[None, :]).to(g.dtype.element_ty), (d_im * j[None, :]).to(g.dtype.element_ty)
    p_re, p_im = p_re.to(g.dtype.element_ty), p_im.to(g.dtype.element_ty)
    last_re, last_im = _power(a_re, a_im, tl.full((modes,), inner - 1, tl.int32), inner_bits)
    turn_re, turn_im = _product(last_re, last_im, a_re, a_im)
    s_re, s_im = tl.zeros((modes,), tl.float64), tl.zeros((modes,), tl.float64)
    t_re, t_im = tl.zeros((modes,), tl.float64), tl.zeros((modes,), tl.float64)
    count = (num_steps + inner - 1) // inner
    for i in range(count):
        power = (count - 1 - i) * inner + j
        where = num_steps - 1 - power if turned else power
        block = tl.load(g + row * num_steps + where, mask=power < num_steps, other=0.0)[None, :]
        t_re, t_im = _product(t_re, t_im, turn_re, turn_im)
        more_re, more_im = _product(s_re, s_im, last_re * inner, last_im * inner)
        t_re += more_re + tl.sum(d_re * block, axis=1).to(tl.float64)
        t_im += more_im + tl.sum(d_im * block, axis=1).to(tl.float64)
        s_re, s_im = _product(s_re, s_im, turn_re, turn_im)
        s_re += tl.sum(p_re * block, axis=1).to(tl.float64)
        s_im += tl.sum(p_im * block, axis=1).to(tl.float64)
    tl.store(sums + at, s_re, mask=inside)
    tl.store(sums + at + 1, s_im, mask=inside)
    tl.store(slopes + at, t_re, mask=inside)
    tl.store(slopes + at + 1, t_im, mask=inside)


def _unrolled(c_XN: Tensor, a_XN: Tensor, num_steps: int) -> Tensor:
    *lead, num_modes = c_XN.shape
    out_XL = torch.empty(*lead, num_steps, dtype=c_XN.real.dtype, device=c_XN.device)
    num_tiles = triton.cdiv(num_steps, _OUTER * _INNER)
    # The last tile asks for powers beyond the end: they must have room too.
    sizes = (num_modes, num_steps, num_tiles, (num_tiles * _OUTER * _INNER - 1).bit_length())
    lent = plain(c_XN), plain(a_XN.to(torch.complex128)), out_XL
    launch(_unroll_kernel, (math.prod(lead) * num_tiles,), *lent, *sizes, _OUTER, _INNER, _INNER_BITS)
    return out_XL


def _moments(g_XL: Tensor, a_XN: Tensor, *, turned: bool) -> tuple[Tensor, Tensor]:
    """S and T, both complex128."""
    *lead, num_modes = a_XN.shape
    given_XL, wide_XN = plain(g_XL), plain(a_XN.to(torch.complex128))
    sums_XN, slopes_XN = (wide_XN.new_empty(*lead, num_modes, dtype=torch.complex128) for _ in range(2))
    num_blocks = triton.cdiv(num_modes, _MODES)
    told = torch.view_as_real(sums_XN), torch.view_as_real(slopes_XN), num_modes, g_XL.shape[-1], num_blocks
    grid = (math.prod(lead) * num_blocks,)
    launch(_moments_kernel, grid, given_XL, wide_XN, *told, turned, _MODES, _INNER, _INNER_BITS)
    return sums_XN, slopes_XN


class _Unroll(torch.autograd.Function):
    """dc = 2 conj(S) and da = 2 conj(c T) at the gradient of K."""

    @staticmethod
    def forward(ctx: Any, c_XN: Tensor, a_XN: Tensor, num_steps: int) -> Tensor:
        ctx.save_for_backward(c_XN, a_XN)
        return _unrolled(c_XN, a_XN, num_steps)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        c_XN, a_XN = ctx.saved_tensors
        sums_XN, slopes_XN = _moments(grad_outputs[0], a_XN, turned=False)
        return (2 * sums_XN.conj()).to(c_XN.dtype), (2 * (c_XN * slopes_XN).conj()).to(a_XN.dtype), None


class _Gather(torch.autograd.Function):
    """du = Re sum_n conj(dh_n) a_n^(L-1-l) and da = dh conj(T) at u."""

    @staticmethod
    def forward(ctx: Any, u_XL: Tensor, a_XN: Tensor) -> Tensor:
        ctx.save_for_backward(u_XL, a_XN)
        return _moments(u_XL, a_XN, turned=True)[0].to(u_XL.dtype.to_complex())

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        (dh_XN,) = grad_outputs
        u_XL, a_XN = ctx.saved_tensors
        du_XL = _unrolled(0.5 * dh_XN.conj(), a_XN, u_XL.shape[-1]).flip(-1)
        return du_XL, (dh_XN * _moments(u_XL, a_XN, turned=True)[1].conj()).to(a_XN.dtype)


def unroll_gpu(c_XN: Tensor, a_XN: Tensor, num_steps: int) -> Tensor:
    """K_XL = 2 Re sum_n c_n a_n^l for l < `num_steps`, L >= 1; both of one shape. Differentiable once."""
    return cast("Tensor", _Unroll.apply(c_XN, a_XN, num_steps))


def gather_gpu(u_XL: Tensor, a_XN: Tensor) -> Tensor:
    """h_XN = sum_l a_n^(L-1-l) u_l, L >= 1; the leading axes are the same. Differentiable once."""
    return cast("Tensor", _Gather.apply(u_XL, a_XN))

"""Sums of geometric sequences: the kernels of diagonal state spaces, and the states they leave behind.

    unrolled:    K_l = 2 Re sum_n c_n a_n^l                    0 <= l < L
    gathered:    h_n = sum_l a_n^(L-1-l) u_l                   its transpose, with time reversed

Axes: X any leading axes (they broadcast), N modes, L steps; I blocks of J steps, L <= I J, J about sqrt(L).

The plain forms build the whole table a_n^l, X N L complex numbers. The fast forms write l = i J + j and
a^l = (a^J)^i a^j, so that one real matrix product per block of modes does all the work. Modes are taken in blocks of
about sqrt(L)/2, so beside inputs and outputs about 4 X L real numbers are held, whatever N is. The two small tables of
powers are built in complex128 by doubling: a power of a rounded number is as wrong as its exponent is large. Gradients are
torch's own. On a GPU with Triton powers are made in registers, and the gradient of each sum is the other one
(`fullduplex.kernels.gpu.vandermonde`).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import triton_for

__all__ = [
    "gather_powers",
    "gather_powers_ref",
    "power_table",
    "unroll_powers",
    "unroll_powers_ref",
]

_MIN_MODES = 32  # a product with fewer inner terms than this is no faster than one with this many


def unroll_powers(c_XN: Tensor, a_XN: Tensor, num_steps: int) -> Tensor:
    """K_l = 2 Re sum_n c_n a_n^l for l < `num_steps`.

    Args:
        c_XN: weights, complex.
        a_XN: bases, complex; shape broadcasts against that of `c_XN`. |a| <= 1 keeps the result bounded; 0 is exact.
        num_steps: L >= 0.

    Returns:
        K_XL, real, of the precision of `c_XN`. Differentiable; on a GPU with Triton once.

    Raises:
        InputError: not complex, shapes that do not broadcast, two devices, or a negative length.
    """
    shape = _check("unroll_powers", c_XN, a_XN, num_steps)
    real = c_XN.real.dtype
    if num_steps == 0 or 0 in shape:
        return torch.zeros((*shape[:-1], num_steps), dtype=real, device=c_XN.device)
    if triton_for(c_XN, a_XN):
        from fullduplex.kernels.gpu.vandermonde import unroll_gpu

        return unroll_gpu(c_XN.expand(shape), a_XN.expand(shape), num_steps)
    inner = math.isqrt(num_steps - 1) + 1
    outer = -(-num_steps // inner)
    total_XIJ: Tensor | None = None
    for modes in _blocks(shape[-1], num_steps):
        a_XM, c_XM = a_XN[..., modes].to(torch.complex128), c_XN[..., modes].to(torch.complex128)
        fine_XMJ, last_XM = power_table(a_XM, inner)
        coarse_XMI, _ = power_table(last_XM, outer)
        left_XIM = _split(2 * c_XM.unsqueeze(-1) * coarse_XMI, real, conjugate=True).transpose(-1, -2)
        part_XIJ = left_XIM @ _split(fine_XMJ, real)
        total_XIJ = part_XIJ if total_XIJ is None else total_XIJ + part_XIJ
    assert total_XIJ is not None
    return total_XIJ.flatten(-2)[..., :num_steps]


def gather_powers(u_XL: Tensor, a_XN: Tensor) -> Tensor:
    """h_n = sum_l a_n^(L-1-l) u_l: where L inputs leave a recurrence h <- a h + u that began at zero.

    Args:
        u_XL: inputs, real; the leading axes broadcast against those of `a_XN`.
        a_XN: bases, complex.

    Returns:
        h_XN, complex, of the precision of `u_XL`. Differentiable; on a GPU with Triton once.

    Raises:
        InputError: `a_XN` is not complex or `u_XL` not real, or they are on two devices.
    """
    _check("gather_powers", a_XN, a_XN, 0)
    if not u_XL.is_floating_point() or u_XL.ndim == 0 or u_XL.device != a_XN.device:
        raise InputError(
            f"gather_powers got inputs of {u_XL.dtype}, shape {tuple(u_XL.shape)}, on {u_XL.device} and bases on "
            f"{a_XN.device}; expected real numbers (..., L) on one device"
        )
    num_steps = u_XL.shape[-1]
    real, kind = u_XL.dtype, u_XL.dtype.to_complex()
    shape = _broadcast("gather_powers", u_XL.shape[:-1], a_XN.shape[:-1])
    if num_steps == 0 or a_XN.shape[-1] == 0:
        return torch.zeros((*shape, a_XN.shape[-1]), dtype=kind, device=u_XL.device)
    if triton_for(u_XL, a_XN):
        from fullduplex.kernels.gpu.vandermonde import gather_gpu

        return gather_gpu(u_XL.expand(*shape, num_steps), a_XN.expand(*shape, a_XN.shape[-1]))
    inner = math.isqrt(num_steps - 1) + 1
    outer = -(-num_steps // inner)
    # Zeros before the first input change nothing, and make every block whole.
    padded_XL = torch.nn.functional.pad(u_XL, (outer * inner - num_steps, 0))
    u_XIJ = padded_XL.flip(-1).unflatten(-1, (outer, inner))  # newest first: power 0 meets index 0
    parts: list[Tensor] = []
    for modes in _blocks(a_XN.shape[-1], num_steps):
        fine_XMJ, last_XM = power_table(a_XN[..., modes].to(torch.complex128), inner)
        coarse_XMI, _ = power_table(last_XM, outer)
        real_XIM, imag_XIM = (u_XIJ @ _split(fine_XMJ, real).transpose(-1, -2)).chunk(2, dim=-1)
        sums_XMI = torch.complex(real_XIM, imag_XIM).transpose(-1, -2)
        parts.append((sums_XMI * coarse_XMI.to(kind)).sum(-1))
    return torch.cat(parts, dim=-1)


def power_table(a_XN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """a^0 ... a^(count-1) along a new last axis, and a^count; by doubling, so no logarithm of zero is ever asked for."""
    table, top = torch.ones_like(a_XN).unsqueeze(-1), a_XN
    while table.shape[-1] * 2 <= count:
        table = torch.cat([table, table * top.unsqueeze(-1)], dim=-1)
        top = top * top
    left = count - table.shape[-1]
    if left == 0:
        return table, top
    tail = table[..., :left] * top.unsqueeze(-1)
    return torch.cat([table, tail], dim=-1), tail[..., -1] * a_XN


def unroll_powers_ref(c_XN: Tensor, a_XN: Tensor, num_steps: int) -> Tensor:
    """`unroll_powers`, written to be read: the whole Vandermonde table."""
    steps_XNL = a_XN.unsqueeze(-1).expand(*a_XN.shape, num_steps)
    first = torch.arange(num_steps, device=a_XN.device) == 0
    a_XNL = torch.where(first, 1, steps_XNL).cumprod(-1)
    return 2 * (c_XN.unsqueeze(-1) * a_XNL).sum(-2).real


def gather_powers_ref(u_XL: Tensor, a_XN: Tensor) -> Tensor:
    """`gather_powers`, written to be read: the recurrence itself."""
    h_XN = torch.zeros_like(a_XN)
    for u_X in u_XL.unbind(-1):
        h_XN = a_XN * h_XN + u_X.unsqueeze(-1)
    return h_XN


def _split(z_XNL: Tensor, real: torch.dtype, *, conjugate: bool = False) -> Tensor:
    """Real parts over imaginary parts along the axis of modes: a complex product as one real product."""
    return torch.cat([z_XNL.real, -z_XNL.imag if conjugate else z_XNL.imag], dim=-2).to(real)


def _blocks(num_modes: int, num_steps: int) -> Iterator[slice]:
    size = max(_MIN_MODES, math.isqrt(num_steps) // 2)
    for start in range(0, num_modes, size):
        yield slice(start, start + size)


def _check(name: str, c_XN: Tensor, a_XN: Tensor, num_steps: int) -> torch.Size:
    if not (c_XN.is_complex() and a_XN.is_complex()) or c_XN.ndim == 0 or a_XN.ndim == 0:
        raise InputError(f"{name} got {c_XN.dtype} and {a_XN.dtype}; expected complex tensors of shape (..., N)")
    if c_XN.device != a_XN.device:
        raise InputError(f"{name} got tensors on {c_XN.device} and {a_XN.device}; expected one device")
    if num_steps < 0:
        raise InputError(f"{name} got a length of {num_steps}; expected 0 or more")
    shape = _broadcast(name, c_XN.shape, a_XN.shape)
    if c_XN.shape[-1] != a_XN.shape[-1]:
        raise InputError(f"{name} got {c_XN.shape[-1]} weights and {a_XN.shape[-1]} bases; expected one of each a mode")
    return shape


def _broadcast(name: str, first: torch.Size, second: torch.Size) -> torch.Size:
    try:
        return torch.broadcast_shapes(first, second)
    except RuntimeError as error:
        raise InputError(
            f"{name} got shapes {tuple(first)} and {tuple(second)}; expected axes that broadcast"
        ) from error

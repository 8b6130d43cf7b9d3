"""The orthonormal Walsh-Hadamard transform of the last axis, in n log n additions.

    y = H x / sqrt(n),   H = H_K (x) H_M,   n = K M,   M = 2^k

H_M is Sylvester's: butterflies. H_K is I for K = 1 and Paley's matrix for K = 12, 20 (from the residues modulo 11, 19) and
28 (modulo 13, second kind) (Paley, "On orthogonal matrices", J. Math. Phys. 12, 1933). 40 * 2^k is 20 * 2^(k+1). Tables of
such matrices printed elsewhere differ by permutations and signs of rows and columns: a transform and its inverse must
come from one source.
"""

import functools
import math
from typing import Any, cast

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import native_for, triton_for

__all__ = ["hadamard", "hadamard_matrix", "hadamard_ref", "hadamard_split"]

_BASES = (1, 12, 20, 28)
_LARGEST_ROW = 1 << 10  # of one program on a GPU; longer rows are several, which a matrix joins


def hadamard_split(size: int) -> tuple[int, int]:
    """K and M with `size` = K M, K one of 1, 12, 20, 28 and M a power of two.

    Raises:
        InputError: there is no such pair.
    """
    for base in _BASES:
        rest, left = divmod(size, base)
        if size > 0 and left == 0 and rest & (rest - 1) == 0:
            return base, rest
    raise InputError(f"no fast Hadamard transform of {size} numbers; expected 2^k, 12, 20, 28 or 40 times 2^k")


def hadamard(x: Tensor, *, inverse: bool = False) -> Tensor:
    """The transform of the last axis.

    Args:
        x: any leading axes; float32 or float64, or half precision without the compiled path.
        inverse: the transposed matrix, which is the inverse.

    Returns:
        A fresh tensor of the same shape. Differentiable any number of times: the gradient is the inverse transform.

    Raises:
        InputError: the last axis has no fast transform, or the numbers are not real floating point.
    """
    if x.ndim == 0 or not x.is_floating_point():
        raise InputError(f"hadamard got {x.dtype} {tuple(x.shape)}; expected real numbers with at least one axis")
    hadamard_split(x.shape[-1])
    return cast("Tensor", _Hadamard.apply(x, inverse))


def hadamard_ref(x: Tensor, *, inverse: bool = False) -> Tensor:
    """`hadamard` as one matrix product."""
    matrix = hadamard_matrix(x.shape[-1]).to(x)
    return x @ (matrix if inverse else matrix.T) / math.sqrt(x.shape[-1])


def hadamard_matrix(size: int) -> Tensor:
    """H itself: `size` x `size` numbers of +-1 with orthogonal rows, float64.

    Raises:
        InputError: see `hadamard_split`.
    """
    base, rest = hadamard_split(size)
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(rest.bit_length() - 1):
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)], dim=0)
    return torch.kron(_paley(base), matrix)


@functools.cache
def _paley(size: int) -> Tensor:
    """H_K for K in `_BASES`."""
    if size == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    prime = 13 if size == 28 else size - 1
    residues = {i * i % prime for i in range(1, prime)}
    index = range(prime)
    # Jacobsthal's matrix: +1 where the difference is a square, -1 where it is not, 0 on the diagonal.
    core = [[0.0 if i == j else (1.0 if (i - j) % prime in residues else -1.0) for j in index] for i in index]
    border = torch.zeros(prime + 1, prime + 1, dtype=torch.float64)
    border[0, 1:], border[1:, 1:] = 1, torch.tensor(core, dtype=torch.float64)
    identity = torch.eye(prime + 1, dtype=torch.float64)
    if prime % 4 == 3:
        border[1:, 0] = -1
        return identity + border
    border[1:, 0] = 1
    plus, minus = (torch.tensor(rows, dtype=torch.float64) for rows in ([[1, 1], [1, -1]], [[1, -1], [-1, -1]]))
    return torch.kron(border, plus) + torch.kron(identity, minus)


class _Hadamard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inverse: bool) -> Tensor:
        ctx.inverse = inverse
        base, rest = hadamard_split(x.shape[-1])
        matrix = _paley(base).to(x).T if inverse else _paley(base).to(x)
        scale = 1 / math.sqrt(x.shape[-1])
        compiled = native_for(x)
        if compiled is None:
            return _butterflies(x, matrix, rest) * scale
        x, matrix = x.contiguous(), matrix.contiguous()
        out = torch.empty_like(x)
        sizes = (x.numel() // x.shape[-1], base, rest, torch.get_num_threads())
        compiled.run("hadamard", x.dtype, x, matrix, out, scale, sizes)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return hadamard(grad_outputs[0], inverse=not ctx.inverse), None


def _butterflies(x: Tensor, matrix_KK: Tensor, rest: int) -> Tensor:
    """The torch path: log2 M additions and subtractions of halves, then the small matrix."""
    if triton_for(x):
        from fullduplex.kernels.gpu.hadamard import butterflies_gpu

        row = min(rest, _LARGEST_ROW)
        matrix_JJ = torch.kron(matrix_KK.contiguous(), hadamard_matrix(rest // row).to(x))
        y = butterflies_gpu(x, row).unflatten(-1, (matrix_JJ.shape[0], row))
        return torch.einsum("kj,...jm->...km", matrix_JJ, y).reshape(x.shape)
    shape, y = x.shape, x.unflatten(-1, (matrix_KK.shape[0], rest))
    half = 1
    while half < rest:
        pairs = y.unflatten(-1, (rest // (2 * half), 2, half))
        y = torch.stack([pairs.select(-2, 0) + pairs.select(-2, 1), pairs.select(-2, 0) - pairs.select(-2, 1)], dim=-2)
        y = y.flatten(-3)
        half *= 2
    return torch.einsum("kj,...jm->...km", matrix_KK, y).reshape(shape)

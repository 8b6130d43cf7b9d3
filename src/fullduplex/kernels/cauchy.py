"""Sums over modes of a diagonal resolvent at many nodes: the Cauchy products behind the kernel of S4.

    S_kl = sum_n v_kn / (alpha_l - mu_n beta_l)

With alpha = (g) and beta = 1 that is a Cauchy matrix; the two nodes are kept apart because the bilinear rule puts them at
alpha = 1 - z, beta = (1 + z) / 2, where nothing is divided by 1 + z and z = -1 is a node like any other.

Axes: X any leading axes, K sums over the same modes, N modes, L nodes.

The plain form builds the whole table, X N L complex numbers. The compiled form (native/cauchy.h) keeps an entry in registers
while all K sums take it, and makes it again for the gradient. Without it torch takes the nodes in blocks, whose table of
about 2^16 numbers is shared among all sums as one matrix product. Gradients of gradients go through torch.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import native_for, triton_for

__all__ = ["cauchy_sums", "cauchy_sums_ref"]

_BLOCK_NUMBERS = 2**16  # a table of this many fits a cache


def cauchy_sums(v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor) -> Tensor:
    """S_kl = sum_n v_kn / (alpha_l - mu_n beta_l).

    Args:
        v_XKN: weights, complex.
        mu_XN: modes, complex, with the same leading axes.
        alpha_L, beta_L: nodes, complex; no gradient reaches them. A node that meets a mode gives infinity.

    Returns:
        S_XKL.

    Raises:
        InputError: shapes do not fit, or not all of one complex dtype on one device.
    """
    _check(v_XKN, mu_XN, alpha_L, beta_L)
    return cast("Tensor", _CauchySums.apply(v_XKN, mu_XN, alpha_L, beta_L))


def cauchy_sums_ref(v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor) -> Tensor:
    """`cauchy_sums`, written to be read: the whole table, differentiated by autograd."""
    table_X1NL = 1 / (alpha_L - mu_XN.unsqueeze(-1) * beta_L).unsqueeze(-3)
    return (v_XKN.unsqueeze(-1) * table_X1NL).sum(-2)


class _CauchySums(torch.autograd.Function):
    """With h_nl = 1 / (alpha_l - mu_n beta_l): dS/dv = h and dS_kl/dmu_n = v_kn beta_l h_nl^2."""

    @staticmethod
    def forward(ctx: Any, v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor) -> Tensor:
        ctx.save_for_backward(v_XKN, mu_XN, alpha_L, beta_L)
        compiled = native_for(v_XKN, mu_XN, alpha_L, beta_L)
        if compiled is not None:
            *lead, num_sums, _ = v_XKN.shape
            out_XKL = v_XKN.new_empty(*lead, num_sums, alpha_L.shape[0])
            lent = [_plain(each) for each in (v_XKN, mu_XN, alpha_L, beta_L)]
            compiled.run("cauchy", v_XKN.dtype, *lent, out_XKL, _sizes(v_XKN, alpha_L))
            return out_XKL
        if triton_for(v_XKN, alpha_L):
            from fullduplex.kernels.gpu.cauchy import cauchy_gpu

            return cauchy_gpu(v_XKN, mu_XN, alpha_L, beta_L)
        parts = [
            v_XKN @ (1 / (alpha_L[block] - mu_XN.unsqueeze(-1) * beta_L[block]))
            for block in _blocks(mu_XN.numel(), alpha_L.shape[0])
        ]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (g_XKL,) = grad_outputs
        v_XKN, mu_XN, alpha_L, beta_L = ctx.saved_tensors
        compiled = None if torch.is_grad_enabled() else native_for(g_XKL, v_XKN)
        if compiled is not None:
            lent = [_plain(each) for each in (v_XKN, mu_XN, alpha_L, beta_L, g_XKL)]
            made = torch.empty_like(lent[0]), torch.empty_like(lent[1])
            compiled.run("cauchy_backward", v_XKN.dtype, *lent, *made, _sizes(v_XKN, alpha_L))
            return *made, None, None
        if not torch.is_grad_enabled() and triton_for(v_XKN, alpha_L):
            from fullduplex.kernels.gpu.cauchy import cauchy_backward_gpu

            return *cauchy_backward_gpu(v_XKN, mu_XN, alpha_L, beta_L, g_XKL), None, None
        dv_XKN, dmu_XN = torch.zeros_like(v_XKN), torch.zeros_like(mu_XN)
        back_XNK = v_XKN.mH
        for block in _blocks(mu_XN.numel(), alpha_L.shape[0]):
            h_XNL = 1 / (alpha_L[block] - mu_XN.unsqueeze(-1) * beta_L[block])
            dv_XKN += g_XKL[..., block] @ h_XNL.mH
            dmu_XN += ((back_XNK @ g_XKL[..., block]) * (beta_L[block] * h_XNL.square()).conj()).sum(-1)
        return dv_XKN, dmu_XN, None, None


def _plain(tensor: Tensor) -> Tensor:
    return tensor.resolve_conj().resolve_neg().contiguous()


def _sizes(v_XKN: Tensor, alpha_L: Tensor) -> tuple[int, ...]:
    *lead, num_sums, num_modes = v_XKN.shape
    return (math.prod(lead), num_sums, num_modes, alpha_L.shape[0], torch.get_num_threads())


def _blocks(num_rows: int, num_nodes: int) -> Iterator[slice]:
    size = max(1, _BLOCK_NUMBERS // max(1, num_rows))
    for start in range(0, max(1, num_nodes), size):
        yield slice(start, min(start + size, num_nodes))


def _check(v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor) -> None:
    tensors = (v_XKN, mu_XN, alpha_L, beta_L)
    shapes = [tuple(tensor.shape) for tensor in tensors]
    fits = v_XKN.ndim >= 2 and shapes[1] == (*shapes[0][:-2], shapes[0][-1])
    if not fits or alpha_L.ndim != 1 or shapes[2] != shapes[3]:
        raise InputError(
            f"cauchy_sums got v, mu, alpha, beta of shapes {shapes}; expected (..., K, N), (..., N), (L,), (L,)"
        )
    if not v_XKN.is_complex() or len({(tensor.dtype, tensor.device) for tensor in tensors}) > 1:
        kinds = ", ".join(f"{tensor.dtype} on {tensor.device}" for tensor in tensors)
        raise InputError(f"cauchy_sums got {kinds}; expected one complex dtype on one device for all four")

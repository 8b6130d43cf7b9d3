"""Cauchy sums on a GPU, in Triton: the table 1 / (alpha_l - mu_n beta_l) is made in registers and never written.

Forward a program takes a block of nodes of one sum and goes over the modes; backward it takes a block of modes of one row
and goes over nodes and sums. Every number is two neighbours, real and imaginary part. Importing this module needs Triton; the
arguments are those of `fullduplex.kernels.cauchy.cauchy_sums`, already checked.
"""

import math

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["cauchy_backward_gpu", "cauchy_gpu"]

_NODES, _MODES = 128, 16


@triton.jit
def _entry(mu_re, mu_im, alpha_re, alpha_im, beta_re, beta_im):
    """h = 1 / (alpha - mu beta), of any shapes that broadcast."""
    re = alpha_re - (mu_re * beta_re - mu_im * beta_im)
    im = alpha_im - (mu_re * beta_im + mu_im * beta_re)
    size = re * re + im * im
    return re / size, -im / size


@triton.jit
def _sums_kernel(v, mu, alpha, beta, out, num_sums, num_modes, num_nodes, block: tl.constexpr):  # noqa: PLR0913
    row, sum_at = tl.program_id(0).to(tl.int64), tl.program_id(1)
    lane = tl.program_id(2) * block + tl.arange(0, block)
    inside = lane < num_nodes
    last = 2 * tl.minimum(lane, num_nodes - 1)
    alpha_re, alpha_im = tl.load(alpha + last), tl.load(alpha + last + 1)
    beta_re, beta_im = tl.load(beta + last), tl.load(beta + last + 1)
    total_re, total_im = tl.zeros((block,), v.dtype.element_ty), tl.zeros((block,), v.dtype.element_ty)
    for n in range(num_modes):
        mode, weight = mu + 2 * (row * num_modes + n), v + 2 * ((row * num_sums + sum_at) * num_modes + n)
        h_re, h_im = _entry(tl.load(mode), tl.load(mode + 1), alpha_re, alpha_im, beta_re, beta_im)
        v_re, v_im = tl.load(weight), tl.load(weight + 1)
        total_re += v_re * h_re - v_im * h_im
        total_im += v_re * h_im + v_im * h_re
    at = out + 2 * ((row * num_sums + sum_at) * num_nodes + lane)
    tl.store(at, total_re, mask=inside)
    tl.store(at + 1, total_im, mask=inside)


@triton.jit
def _backward_kernel(  # noqa: PLR0913
    v, mu, alpha, beta, g, dv, dmu, num_sums, num_modes, num_nodes, modes: tl.constexpr, nodes: tl.constexpr
):
    """dv_kn = sum_l g_kl conj(h_nl) and dmu_n = sum_kl g_kl conj(v_kn beta_l h_nl^2)."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * modes + tl.arange(0, modes)
    inside = n < num_modes
    mode = mu + 2 * (
        row * num_modes + tl.minimum(n, num_modes - 1)
    )  # beyond the end the last one again: never a new pole
    mu_re, mu_im = tl.load(mode)[:, None], tl.load(mode + 1)[:, None]
    dmu_re, dmu_im = tl.zeros((modes,), v.dtype.element_ty), tl.zeros((modes,), v.dtype.element_ty)
    for k in range(num_sums):
        at = (row * num_sums + k) * num_modes + n
        v_re = tl.load(v + 2 * at, mask=inside, other=0.0)
        v_im = tl.load(v + 2 * at + 1, mask=inside, other=0.0)
        dv_re, dv_im = tl.zeros((modes,), v.dtype.element_ty), tl.zeros((modes,), v.dtype.element_ty)
        q_re, q_im = tl.zeros((modes,), v.dtype.element_ty), tl.zeros((modes,), v.dtype.element_ty)
        for first in range(0, num_nodes, nodes):
            node = first + tl.arange(0, nodes)
            there = node < num_nodes
            last = 2 * tl.minimum(node, num_nodes - 1)
            beta_re, beta_im = tl.load(beta + last)[None, :], tl.load(beta + last + 1)[None, :]
            alpha_re, alpha_im = tl.load(alpha + last)[None, :], tl.load(alpha + last + 1)[None, :]
            g_at = g + 2 * ((row * num_sums + k) * num_nodes + node)
            g_re = tl.load(g_at, mask=there, other=0.0)[None, :]
            g_im = tl.load(g_at + 1, mask=there, other=0.0)[None, :]
            h_re, h_im = _entry(mu_re, mu_im, alpha_re, alpha_im, beta_re, beta_im)
            dv_re += tl.sum(g_re * h_re + g_im * h_im, axis=1)
            dv_im += tl.sum(g_im * h_re - g_re * h_im, axis=1)
            square_re, square_im = h_re * h_re - h_im * h_im, 2.0 * h_re * h_im
            w_re, w_im = beta_re * square_re - beta_im * square_im, beta_re * square_im + beta_im * square_re
            q_re += tl.sum(g_re * w_re + g_im * w_im, axis=1)
            q_im += tl.sum(g_im * w_re - g_re * w_im, axis=1)
        tl.store(dv + 2 * at, dv_re, mask=inside)
        tl.store(dv + 2 * at + 1, dv_im, mask=inside)
        dmu_re += v_re * q_re + v_im * q_im
        dmu_im += v_re * q_im - v_im * q_re
    tl.store(dmu + 2 * (row * num_modes + n), dmu_re, mask=inside)
    tl.store(dmu + 2 * (row * num_modes + n) + 1, dmu_im, mask=inside)


def cauchy_gpu(v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor) -> Tensor:
    """S_XKL = sum_n v_kn / (alpha_l - mu_n beta_l)."""
    *lead, num_sums, num_modes = v_XKN.shape
    num_nodes = alpha_L.shape[0]
    out_XKL = v_XKN.new_empty(*lead, num_sums, num_nodes)
    grid = (math.prod(lead), num_sums, triton.cdiv(num_nodes, _NODES))
    lent = [plain(each) for each in (v_XKN, mu_XN, alpha_L, beta_L, out_XKL)]
    launch(_sums_kernel, grid, *lent, num_sums, num_modes, num_nodes, _NODES)
    return out_XKL


def cauchy_backward_gpu(
    v_XKN: Tensor, mu_XN: Tensor, alpha_L: Tensor, beta_L: Tensor, g_XKL: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of v and mu, from that of the sums."""
    *lead, num_sums, num_modes = v_XKN.shape
    dv_XKN, dmu_XN = v_XKN.new_empty(v_XKN.shape), mu_XN.new_empty(mu_XN.shape)
    grid = (math.prod(lead), triton.cdiv(num_modes, _MODES))
    lent = [plain(each) for each in (v_XKN, mu_XN, alpha_L, beta_L, g_XKL, dv_XKN, dmu_XN)]
    launch(_backward_kernel, grid, *lent, num_sums, num_modes, alpha_L.shape[0], _MODES, _NODES)
    return dv_XKN, dmu_XN

"""A pass of state space duality on a GPU, in Triton: one program for a head and a block of its values, state in registers.

    S_t = d_t S_{t-1} + w_t v_t k_t^T,    out_t = S_t q_t

The gradients are the same pass with other roles (`fullduplex.kernels.ssd`), so this is both ways. Each number of the inputs is
read once for every block of values. Importing this module needs Triton; arguments are checked before.
"""

from dataclasses import dataclass

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["Pass", "pass_gpu"]

_VALUES = 16


@triton.jit
def _pass_kernel(  # noqa: PLR0913
    v, k, q, decay, w, s0, out, end, num_steps, heads, v_heads, k_heads, q_heads, width, order,
    reverse: tl.constexpr, values: tl.constexpr, keys: tl.constexpr,
):  # fmt: skip
    row, head = (tl.program_id(0) // heads).to(tl.int64), tl.program_id(0) % heads
    i = tl.program_id(1) * values + tl.arange(0, values)
    j = tl.arange(0, keys)
    in_i, in_j = i < width, j < order
    state_at = ((row * heads + head) * width + i[:, None]) * order + j[None, :]
    state = tl.load(s0 + state_at, mask=in_i[:, None] & in_j[None, :], other=0.0)
    for step in range(num_steps):
        t = row * num_steps + (num_steps - 1 - step if reverse else step)
        v_i = tl.load(v + (t * v_heads + head // (heads // v_heads)) * width + i, mask=in_i, other=0.0)
        k_j = tl.load(k + (t * k_heads + head // (heads // k_heads)) * order + j, mask=in_j, other=0.0)
        q_j = tl.load(q + (t * q_heads + head // (heads // q_heads)) * order + j, mask=in_j, other=0.0)
        share = tl.load(w + t * heads + head)
        state = tl.load(decay + t * heads + head) * state + (share * v_i)[:, None] * k_j[None, :]
        tl.store(out + (t * heads + head) * width + i, tl.sum(state * q_j[None, :], axis=1), mask=in_i)
    tl.store(end + state_at, state, mask=in_i[:, None] & in_j[None, :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """v (B, Q, any divisor of H, I); k and q (B, Q, any divisor of H, J); decay d and weight w (B, Q, H); the state before."""

    v: Tensor
    k: Tensor
    q: Tensor
    decay_BQH: Tensor
    weight_BQH: Tensor
    state_BHIJ: Tensor
    reverse: bool = False


def pass_gpu(given: Pass) -> tuple[Tensor, Tensor]:
    """out_BQHI, and the state after the last step of this direction."""
    v, k, q, decay, weight, state = (
        plain(each) for each in (given.v, given.k, given.q, given.decay_BQH, given.weight_BQH, given.state_BHIJ)
    )
    batch, num_steps, heads = decay.shape
    width, order = v.shape[3], k.shape[3]
    out, end = v.new_empty(batch, num_steps, heads, width), torch.empty_like(state)
    sizes = (num_steps, heads, v.shape[2], k.shape[2], q.shape[2], width, order)
    grid = (batch * heads, triton.cdiv(width, _VALUES))
    tensors = (v, k, q, decay, weight, state, out, end)
    launch(_pass_kernel, grid, *tensors, *sizes, given.reverse, _VALUES, triton.next_power_of_2(order))
    return out, end

"""Causal multi-head attention with its past kept as keys and values (Vaswani et al., arXiv 1706.03762, section 3.2).

Axes: B batch, T steps of this call, S remembered steps, H heads, K features of one head, D = H K features.

The layer has no position code: with a causal mask, order is learnt through the mask itself; add a code in front of it
where that is not enough.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.nn.linear import Linear
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["AttentionState", "CausalAttention"]


@dataclass(frozen=True, slots=True)
class AttentionState:
    """Keys and values of the past, newest last; `valid_B` counts the slots, from the newest, that are not padding."""

    key_BSHK: Tensor
    value_BSHK: Tensor
    valid_B: Tensor


class CausalAttention(nn.Module):
    """Every step looks at itself and at what it remembers.

    Args:
        width: features D, a multiple of `num_heads`.
        num_heads: heads H.
        window_steps: how many steps, the present one included, a step may look at; the state is then constant.
            None: all of them, and the state grows by one key and one value a step.
        generator: source of the initial weights.

    Raises:
        InputError: `width` is not a multiple of `num_heads`, or the window is empty.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        window_steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(f"CausalAttention got width {width}, num_heads {num_heads}; expected a multiple")
        if window_steps is not None and window_steps < 1:
            raise InputError(f"CausalAttention got window_steps {window_steps}; expected 1 or more, or None")
        self.growth: Growth = "linear" if window_steps is None else "constant"
        self.num_heads = num_heads
        self.window_steps = window_steps
        self.project_in = Linear(width, 3 * width, bias=False, generator=generator)
        self.project_out = Linear(width, width, bias=False, generator=generator)

    def init(self, batch: int) -> AttentionState:
        """No past: an empty cache, or a window of padding."""
        weight = self.project_out.weight
        num_slots = 0 if self.window_steps is None else self.window_steps - 1
        shape = (batch, num_slots, self.num_heads, weight.shape[0] // self.num_heads)
        valid_B = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return AttentionState(weight.new_zeros(shape), weight.new_zeros(shape), valid_B)

    def step(self, x_BD: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """One step. Unwindowed, it copies the cache: the price of a state that may be kept."""
        check_piece("CausalAttention", x_BD, 2, self.project_out.weight.shape[0], state.valid_B)
        y_BTD, state = self.scan(x_BD.unsqueeze(1), state)
        return y_BTD.squeeze(1), state

    def scan(self, x_BTD: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """T steps at once; memory for scores grows as T (S + T)."""
        check_piece("CausalAttention", x_BTD, 3, self.project_out.weight.shape[0], state.valid_B)
        num_steps, num_slots = x_BTD.shape[1], state.key_BSHK.shape[1]
        projected, _ = self.project_in.scan(x_BTD, Stateless())
        query_BTHK, key_BTHK, value_BTHK = projected.unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        # The cache stays in the precision of the parameters; under autocast only the products are narrow.
        key_BSHK = torch.cat([state.key_BSHK, key_BTHK.to(state.key_BSHK.dtype)], dim=1)
        value_BSHK = torch.cat([state.value_BSHK, value_BTHK.to(state.value_BSHK.dtype)], dim=1)
        mixed_BHTK = functional.scaled_dot_product_attention(
            query_BTHK.to(key_BSHK.dtype).transpose(1, 2),
            key_BSHK.transpose(1, 2),
            value_BSHK.transpose(1, 2),
            attn_mask=self._visible(num_steps, num_slots, state.valid_B),
        )
        y_BTD, _ = self.project_out.scan(mixed_BHTK.transpose(1, 2).flatten(2), Stateless())
        valid_B = state.valid_B + num_steps
        if self.window_steps is not None:
            key_BSHK, value_BSHK = key_BSHK[:, num_steps:].clone(), value_BSHK[:, num_steps:].clone()
            valid_B = valid_B.clamp(max=num_slots)
        return y_BTD, AttentionState(key_BSHK, value_BSHK, valid_B)

    def _visible(self, num_steps: int, num_slots: int, valid_B: Tensor) -> Tensor:
        """Bool (B, 1, T, S + T): may this step look at that slot?"""
        slot = torch.arange(num_slots + num_steps, device=valid_B.device)
        now = slot[num_slots:, None]
        visible = slot <= now
        if self.window_steps is not None:
            visible = visible & (slot > now - self.window_steps)
        return (visible & (slot >= num_slots - valid_B[:, None, None])).unsqueeze(1)

"""Short causal convolution of each channel by itself, as in front of a Mamba recurrence."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.kernels.conv import causal_conv
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["CausalConv", "CausalConvState"]


@dataclass(frozen=True, slots=True)
class CausalConvState:
    """The last S = K - 1 inputs, oldest first.

    A ring with a write position would save no copy here: a state that may be kept cannot be written into, so every
    step makes S * D new numbers either way.
    """

    past_BSD: Tensor


class CausalConv(nn.Module):
    """y_t = b + sum_k w_k * x_{t-K+1+k}, one kernel a channel.

    Args:
        width: channels.
        num_taps: kernel length K >= 1.
        generator: source of the initial weights, uniform in +-1/sqrt(num_taps).

    Raises:
        InputError: `num_taps` < 1.
    """

    growth: Growth = "constant"

    def __init__(self, width: int, num_taps: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if num_taps < 1:
            raise InputError(f"CausalConv got num_taps {num_taps}; expected 1 or more")
        bound = 1 / math.sqrt(num_taps)
        self.weight_DK = nn.Parameter(torch.empty(width, num_taps).uniform_(-bound, bound, generator=generator))
        self.bias_D = nn.Parameter(torch.zeros(width))

    def init(self, batch: int) -> CausalConvState:
        """Silence before the first step."""
        width, num_taps = self.weight_DK.shape
        return CausalConvState(self.weight_DK.new_zeros(batch, num_taps - 1, width))

    def step(self, x_BD: Tensor, state: CausalConvState) -> tuple[Tensor, CausalConvState]:
        """One step."""
        check_piece("CausalConv", x_BD, 2, self.bias_D.shape[0], state.past_BSD)
        y_BTD, state = self.scan(x_BD.unsqueeze(1), state)
        return y_BTD.squeeze(1), state

    def scan(self, x_BTD: Tensor, state: CausalConvState) -> tuple[Tensor, CausalConvState]:
        """T steps at once."""
        check_piece("CausalConv", x_BTD, 3, self.bias_D.shape[0], state.past_BSD)
        y_BTD, past_BSD = causal_conv(x_BTD.to(self.bias_D.dtype), self.weight_DK, self.bias_D, state.past_BSD)
        return y_BTD, CausalConvState(past_BSD)

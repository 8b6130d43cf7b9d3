"""A real diagonal linear recurrence: the smallest layer with a memory.

The exponential parametrisation and the input normalisation are those of the linear recurrent unit (Orvieto et al.,
arXiv 2303.06349, sections 3.3 and 3.4), here without the rotation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan import linear_scan
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["DiagonalRecurrence", "DiagonalState"]


@dataclass(frozen=True, slots=True)
class DiagonalState:
    """One number a feature, whatever the length of the past."""

    h_BD: Tensor


class DiagonalRecurrence(nn.Module):
    """h_t = a h_{t-1} + sqrt(1 - a^2) b x_t, y_t = c h_t + d x_t, elementwise, with a = exp(-exp(log_rate)).

    For any parameter value 0 <= a <= 1, so the layer cannot blow up while it learns; the square root keeps h at the
    scale of x whatever a is.

    Args:
        width: features.
        time_steps: shortest and longest memory (1/e time, in steps) at the start, spread log-uniformly.
        generator: source of the initial memories.

    Raises:
        InputError: not 0 < shortest <= longest.
    """

    growth: Growth = "constant"

    def __init__(
        self,
        width: int,
        *,
        time_steps: tuple[float, float] = (1.0, 1000.0),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        shortest, longest = time_steps
        if not 0 < shortest <= longest < math.inf:
            raise InputError(f"DiagonalRecurrence got time_steps {time_steps}; expected 0 < shortest <= longest")
        spread = torch.empty(width).uniform_(math.log(shortest), math.log(longest), generator=generator)
        self.log_rate = nn.Parameter(-spread)
        self.gain_in = nn.Parameter(torch.ones(width))
        self.gain_out = nn.Parameter(torch.ones(width))
        self.gain_skip = nn.Parameter(torch.ones(width))

    def init(self, batch: int) -> DiagonalState:
        """Nothing heard yet."""
        return DiagonalState(self.log_rate.new_zeros(batch, self.log_rate.shape[0]))

    def step(self, x_BD: Tensor, state: DiagonalState) -> tuple[Tensor, DiagonalState]:
        """One step."""
        check_piece("DiagonalRecurrence", x_BD, 2, self.log_rate.shape[0], state.h_BD)
        x_BD = x_BD.to(self.log_rate.dtype)
        decay_D, scale_D = self._coefficients()
        h_BD = decay_D * state.h_BD + scale_D * x_BD
        return self.gain_out * h_BD + self.gain_skip * x_BD, DiagonalState(h_BD)

    def scan(self, x_BTD: Tensor, state: DiagonalState) -> tuple[Tensor, DiagonalState]:
        """T steps at once."""
        check_piece("DiagonalRecurrence", x_BTD, 3, self.log_rate.shape[0], state.h_BD)
        x_BTD = x_BTD.to(self.log_rate.dtype)
        decay_D, scale_D = self._coefficients()
        h_BTD = linear_scan(decay_D.expand(x_BTD.shape), scale_D * x_BTD, state.h_BD)
        y_BTD = self.gain_out * h_BTD + self.gain_skip * x_BTD
        # A copy, because a view would keep the states of the whole piece alive.
        return y_BTD, DiagonalState(h_BTD[:, -1].clone()) if x_BTD.shape[1] else state

    def _coefficients(self) -> tuple[Tensor, Tensor]:
        rate_D = self.log_rate.exp()
        # 1 - a^2 through expm1: for slow decays the plain difference loses every digit.
        return torch.exp(-rate_D), self.gain_in * torch.sqrt(-torch.expm1(-2 * rate_D))

"""A linear map of features: the simplest stream, it remembers nothing."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["Linear"]


class Linear(nn.Module):
    """y = W x + b.

    Args:
        width_in: features of the input.
        width_out: features of the output.
        bias: whether there is a `b`.
        generator: source of the initial weights, uniform in +-1/sqrt(width_in).
    """

    growth: Growth = "constant"

    def __init__(
        self, width_in: int, width_out: int, *, bias: bool = True, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width_in)
        self.weight = nn.Parameter(torch.empty(width_out, width_in).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None

    def init(self, batch: int) -> Stateless:
        """Nothing to remember."""
        return Stateless()

    def step(self, x_BD: Tensor, state: Stateless) -> tuple[Tensor, Stateless]:
        """One step."""
        check_piece("Linear", x_BD, 2, self.weight.shape[1])
        return functional.linear(x_BD, self.weight, self.bias), state

    def scan(self, x_BTD: Tensor, state: Stateless) -> tuple[Tensor, Stateless]:
        """T steps at once."""
        check_piece("Linear", x_BTD, 3, self.weight.shape[1])
        return functional.linear(x_BTD, self.weight, self.bias), state

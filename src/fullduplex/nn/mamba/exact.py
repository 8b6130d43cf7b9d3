"""Parameters that never leave float32 or float64: the rates of a recurrence and what else its state depends on.

At the 8 bits of a bfloat16 mantissa a decay of 0.999 is 1: the state would never fade. `.to(torch.bfloat16)`, `.half()` and
autocast leave these parameters, and the arithmetic on the state, alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError

__all__ = ["ExactParameters", "StepStart", "first_step_bias"]


class ExactParameters(nn.Module):
    """What a recurrence is made of, apart from its projections.

    Args:
        log_rate: log(-A): one a head, or one a channel and state.
        skip: weight of the direct path from input to output.
        bias: of the step, in front of the softplus.
    """

    def __init__(self, log_rate: Tensor, skip: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(log_rate)
        self.skip = nn.Parameter(skip)
        self.bias = nn.Parameter(bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype in (torch.float32, torch.float64) else tensor.to(moved.device)

        return super()._apply(keep, recurse)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStart:
    """Where the steps begin: log-uniform between `shortest` and `longest`, never below `floor`.

    Args:
        shortest: of the steps an untrained layer takes.
        longest: likewise.
        floor: a step this short may as well stand still.
    """

    shortest: float = 1e-3
    longest: float = 1e-1
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 < self.shortest <= self.longest < math.inf and 0 < self.floor < math.inf):
            raise InputError(
                f"StepStart got steps {self.shortest} to {self.longest}, floor {self.floor}; "
                "expected 0 < shortest <= longest and 0 < floor"
            )


def first_step_bias(width: int, start: StepStart, generator: torch.Generator | None) -> Tensor:
    """softplus^-1 of `width` drawn steps: s + log(1 - e^-s), which loses no digit for small s."""
    low, high = math.log(start.shortest), math.log(start.longest)
    step = torch.empty(width).uniform_(low, high, generator=generator).exp().clamp(min=start.floor)
    return step + torch.log(-torch.expm1(-step))

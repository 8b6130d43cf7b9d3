"""Layers in continuous time work at any sample rate: only their step changes."""

import copy
import math
from typing import Self

from fullduplex.base.errors import InputError

__all__ = ["AnyRate"]


class AnyRate:
    """A layer with a `rate` that multiplies its steps; 1.0 is the rate it was trained at."""

    rate: float

    def at_rate(self, rate: float) -> Self:
        """This layer for input sampled at another rate, with the same parameters and no training.

        Args:
            rate: old rate over new rate: 2 for input of half the sample rate.

        Raises:
            InputError: not a positive number.
        """
        if not 0 < rate < math.inf:
            raise InputError(f"{type(self).__name__} got a rate of {rate}; expected a number > 0")
        other = copy.copy(self)
        other.rate = self.rate * rate
        return other

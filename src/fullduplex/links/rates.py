"""What a rate is: a number that says what it bounds, for whom, and under which assumption."""

import math
from dataclasses import dataclass
from typing import Literal

from fullduplex.base.errors import InputError

__all__ = ["Kind", "Rate", "Reading", "Side", "Strategy"]

Side = Literal["upper", "lower"]
Kind = Literal["exact", "upper", "lower"]
# Who may talk classically: both ways as often as they like, or only along with the quantum signal.
Strategy = Literal["two-way", "one-way"]
# How a station's loss enters: attached to its links, or as an edge of its own inside the station.
Reading = Literal["composed", "edge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A secret-key (equally: entanglement) rate in bits per use of the link, chain or network.

    Args:
        bits_per_use: at least 0; infinite for a lossless link.
        kind: "exact" when nothing lies between the best known lower and upper bound.
        strategy: the class of protocols the number speaks of.
        assumes: in words, what must hold for the number to be what `kind` says.
    """

    bits_per_use: float
    kind: Kind
    strategy: Strategy
    assumes: str

    def per_second(self, clock_hz: float) -> float:
        """Bits per second when the link is used `clock_hz` times a second.

        Raises: InputError when the clock is not a finite number above 0.
        """
        if not 0 < clock_hz < math.inf:
            raise InputError(f"clock_hz is {clock_hz}; expected a finite number of uses in a second, above 0")
        return self.bits_per_use * clock_hz

    def __str__(self) -> str:
        return f"{self.bits_per_use:.6g} bits/use ({self.kind}, {self.strategy}; {self.assumes})"

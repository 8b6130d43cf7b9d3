"""A voice call under a one-time pad: every bit of speech uses up one bit of shared key, and the link must make it.

A call of R bits a second in each of two directions needs 2 R bits of key a second. A link used `clock_hz` times a
second makes at most rate x clock_hz. Where that is less, keys saved up while nobody talks still secure some calls.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fullduplex.base.errors import InputError
from fullduplex.links.chains import IDEAL, Station
from fullduplex.links.loss import FIBRE_DB_PER_KM
from fullduplex.links.placement import longest_chain_km
from fullduplex.links.rates import Rate, Strategy

__all__ = ["Call", "Reach", "reaches", "talk_share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a call needs and what the link offers.

    Args:
        bits_per_s: of speech in one direction, e.g. 24_000 for Opus wideband.
        clock_hz: uses of the link in a second.
        directions: 2 for a call, 1 for a broadcast; each direction needs a pad of its own.
    """

    bits_per_s: float
    clock_hz: float
    directions: int = 2

    def __post_init__(self) -> None:
        for name in ("bits_per_s", "clock_hz"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InputError(f"{name} is {value!r}; expected a finite number above 0")
        if self.directions not in (1, 2):
            raise InputError(f"directions is {self.directions!r}; expected 1 or 2")

    @property
    def key_bits_per_s(self) -> float:
        """Key used up while people talk."""
        return self.bits_per_s * self.directions

    @property
    def key_bits_per_use(self) -> float:
        """The rate at which key is made as fast as it is used."""
        return self.key_bits_per_s / self.clock_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a call can go with so many stations; None means not at all.

    No protocol that corrects nothing inside a station ("composed", see `chains`) carries it farther.
    """

    num_stations: int
    longest_km: float | None


def reaches(
    call: Call,
    counts: Iterable[int],
    station: Station = IDEAL,
    *,
    strategy: Strategy = "two-way",
    db_per_km: float = FIBRE_DB_PER_KM,
) -> tuple[Reach, ...]:
    """The longest distance at which N well-placed stations keep up with the call, for every N in `counts`.

    Raises: InputError for a negative count or an attenuation that is not positive.
    """
    return tuple(
        Reach(
            num_stations=count,
            longest_km=longest_chain_km(call.key_bits_per_use, count, station, strategy=strategy, db_per_km=db_per_km),
        )
        for count in counts
    )


def talk_share(call: Call, rate: Rate) -> float:
    """Seconds of call that one second of key-making secures: 1 or more keeps up, 0.01 is a call of 14 minutes a day."""
    return rate.per_second(call.clock_hz) / call.key_bits_per_s

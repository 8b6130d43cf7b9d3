"""A chain: end, span, station, span, ..., end. What it can carry when its stations lose light too.

Node splitting puts a station's loss on the map. Light that arrives loses `receive_db` before the station has it, light
that leaves loses `emit_db`; the two ends are ideal. Two readings:

* "composed": nothing is corrected between the two halves of a station, so its loss belongs to the links beside it,
  link i has emit_i + span_i + receive_(i+1) decibels, and the chain carries what its worst link carries. That is also
  reached (two-way: distil every link, then swap; one-way: decode and encode again), so for pure loss it is exact.
* "edge": the inside of a station is a link of its own, over which any protocol may run; an upper bound on every
  strategy for that fixed station, never below "composed". Loss on arrival and loss on leaving are two edges with the
  station's memory between them. (Taking their product for one edge would not bound "composed" from above: with 1 dB
  on either side of a single station, each link has 1 dB and the product 2.)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fullduplex.base.errors import InputError
from fullduplex.links.channels import Channel, PureLoss, checked_limits, compose
from fullduplex.links.loss import (
    FIBRE_DB_PER_KM,
    capacity_from_db,
    checked_loss_db,
    loss_db_from_transmissivity,
    transmissivity_from_db,
)
from fullduplex.links.rates import Rate, Reading, Side, Strategy

__all__ = [
    "IDEAL",
    "Chain",
    "Station",
    "assumption",
    "chain_links",
    "chain_rate",
    "checked_count",
    "even_chain",
    "fibre_loss_db",
    "labelled",
    "station_limit",
    "worst",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A repeater station: what light loses on its way in and on its way out, in decibels."""

    receive_db: float = 0.0
    emit_db: float = 0.0

    def __post_init__(self) -> None:
        checked_loss_db(self.receive_db, "receive_db")
        checked_loss_db(self.emit_db, "emit_db")

    @property
    def loss_db(self) -> float:
        """In and out together."""
        return self.receive_db + self.emit_db

    @property
    def inside_db(self) -> float:
        """Loss of the inside edge. What arrived can be stored and corrected before it leaves, so the two halves are
        edges in a row and the worse one decides; with all loss on one side that is the whole loss.
        """
        return max(self.receive_db, self.emit_db)

    @property
    def transmissivity(self) -> float:
        """Of the whole station, in [0, 1]."""
        return transmissivity_from_db(self.loss_db)

    @classmethod
    def of_transmissivity(cls, receive: float, emit: float = 1.0) -> "Station":
        """A station from its efficiencies, each in [0, 1].

        Raises: InputError outside [0, 1].
        """
        return cls(receive_db=loss_db_from_transmissivity(receive), emit_db=loss_db_from_transmissivity(emit))


IDEAL = Station()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Spans in order from one end to the other, and the stations between them: one fewer."""

    spans: tuple[Channel, ...]
    stations: tuple[Station, ...] = ()

    def __post_init__(self) -> None:
        if not self.spans:
            raise InputError("spans is empty; expected at least one channel between the two ends")
        if len(self.stations) != len(self.spans) - 1:
            raise InputError(
                f"{len(self.spans)} spans with {len(self.stations)} stations; expected {len(self.spans) - 1} stations, "
                "one between each two spans"
            )


def even_chain(total_db: float, num_stations: int, station: Station = IDEAL) -> Chain:
    """Pure loss of `total_db` decibels cut into equal spans by identical stations.

    Raises: InputError for a negative loss or count.
    """
    count = checked_count(num_stations, "num_stations")
    span = PureLoss(loss_db=checked_loss_db(total_db, "total_db") / (count + 1))
    return Chain(spans=(span,) * (count + 1), stations=(station,) * count)


def checked_count(value: int, name: str) -> int:
    """`value` as a count, 0 or more.

    Raises: InputError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{name} is {value!r}; expected a whole number, 0 or more")
    return value


def chain_links(chain: Chain) -> tuple[Channel, ...]:
    """The composed links: every span with the losses of the stations beside it.

    Raises: InputError when a lossy station meets a channel that loss does not merge with.
    """
    emit = (IDEAL, *chain.stations)
    receive = (*chain.stations, IDEAL)
    return tuple(
        compose(span, emit_db=before.emit_db, receive_db=after.receive_db)
        for before, span, after in zip(emit, chain.spans, receive, strict=True)
    )


def chain_rate(
    chain: Chain, *, strategy: Strategy = "two-way", reading: Reading = "composed", side: Side = "upper"
) -> Rate:
    """What the chain carries end to end, in bits per use of the chain.

    Raises: InputError for unknown words, or when the upper bound of a link is not known.
    """
    lossy = any(station.loss_db > 0 for station in chain.stations)
    if reading == "edge" and lossy:
        if side == "lower":
            # What is reached must be reached with the stations' loss, so it comes from the composed links.
            lower, upper = worst(_all_limits(chain, strategy, "composed"))[0], math.nan
            return labelled(lower, upper, strategy=strategy, side=side, assumes=assumption("composed", lossy))
        lower, upper = math.nan, worst(_all_limits(chain, strategy, reading))[1]
    else:
        lower, upper = worst(_all_limits(chain, strategy, reading))
    return labelled(lower, upper, strategy=strategy, side=side, assumes=assumption(reading, lossy))


def labelled(lower: float, upper: float, *, strategy: Strategy, side: Side, assumes: str) -> Rate:
    """A rate from a pair of limits; NaN is a limit that is not known.

    Raises: InputError when the upper bound is wanted and not known, or `side` is unknown.
    """
    if side not in ("upper", "lower"):
        raise InputError(f"side is {side!r}; expected 'upper' or 'lower'")
    if side == "upper" and math.isnan(upper):
        raise InputError("a link here has no known upper bound; ask for side='lower', or describe the physical channel")
    value = upper if side == "upper" else lower
    return Rate(bits_per_use=value, kind="exact" if lower == upper else side, strategy=strategy, assumes=assumes)


def worst(limits: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The limits of links in a row: the least lower and the least upper bound.

    A link without an upper bound (NaN) is passed over: whatever it is, it can only make the row worse. NaN when no
    link has one.
    """
    pairs = list(limits)
    uppers = [upper for _lower, upper in pairs if not math.isnan(upper)]
    return min(lower for lower, _upper in pairs), min(uppers, default=math.nan)


def _all_limits(chain: Chain, strategy: Strategy, reading: Reading) -> Sequence[tuple[float, float]]:
    if reading == "composed":
        return [checked_limits(link, strategy) for link in chain_links(chain)]
    if reading == "edge":
        inside = [PureLoss(loss_db=station.inside_db) for station in chain.stations]
        return [checked_limits(link, strategy) for link in (*chain.spans, *inside)]
    raise InputError(f"reading is {reading!r}; expected 'composed' or 'edge'")


def assumption(reading: Reading, lossy: bool) -> str:
    """What a rate rests on, in words."""
    if not lossy:
        return "stations ideal, ends ideal"
    if reading == "composed":
        return "no correction inside a station, ends ideal"
    return "any protocol across a station of its loss, ends ideal"


def station_limit(station_db: float, strategy: Strategy = "two-way") -> Rate:
    """The rate that no number of such stations can pass: the capacity of one station's loss.

    Some link has the whole of it: any link between two stations, or, with one station, the one it is lost on when it
    is all lost on one side.

    Raises: InputError for a negative loss.
    """
    return Rate(
        bits_per_use=float(capacity_from_db(checked_loss_db(station_db, "station_db"), strategy)),
        kind="upper",
        strategy=strategy,
        assumes="no correction inside a station, each loses this much on one side or there are two; any spacing",
    )


def fibre_loss_db(length_km: float, db_per_km: float = FIBRE_DB_PER_KM) -> float:
    """Loss of a fibre.

    Raises: InputError for a negative or non-finite length or a non-positive attenuation.
    """
    if isinstance(length_km, bool) or not isinstance(length_km, int | float) or not 0 <= length_km < math.inf:
        raise InputError(f"length_km is {length_km!r}; expected a finite length, 0 or more")
    if isinstance(db_per_km, bool) or not isinstance(db_per_km, int | float) or not 0 < db_per_km < math.inf:
        raise InputError(f"db_per_km is {db_per_km!r}; expected an attenuation above 0")
    return length_km * db_per_km

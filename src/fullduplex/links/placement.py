"""How many stations, where, and how good: the questions a planner asks, in closed form.

With equal spans of total_db / (N + 1) decibels and the whole loss of a station on one link, the worst link has
station_db + total_db / (N + 1). More stations always help a chain that has one, and never lift it past the capacity of
station_db alone; against no station at all, a station helps only below a break-even loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fullduplex.base.errors import InputError
from fullduplex.links.chains import IDEAL, Station, checked_count, fibre_loss_db
from fullduplex.links.loss import FIBRE_DB_PER_KM, capacity_from_db, checked_loss_db, loss_db_for_rate
from fullduplex.links.rates import Strategy

__all__ = [
    "Placement",
    "best_count",
    "break_even_station_db",
    "fewest_stations",
    "longest_chain_km",
    "longest_span_km",
    "overhead_db",
    "place",
    "worst_link_db",
]

# Loss is added and divided in floating point; a plan that misses its target by less than this is on target.
_SLACK_DB = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Spans in decibels of fibre, in order, and the loss of the worst link, stations included."""

    spans_db: tuple[float, ...]
    worst_link_db: float


def worst_link_db(total_db: float, num_stations: int, station: Station) -> float:
    """Loss of the worst link of an even chain, in decibels."""
    count = checked_count(num_stations, "num_stations")
    span_db = checked_loss_db(total_db, "total_db") / (count + 1)
    return span_db + overhead_db(count, station)


def overhead_db(num_stations: int, station: Station) -> float:
    """What identical stations add to the worst link of an even chain, in decibels."""
    if num_stations == 0:
        return 0.0
    # A single station has an ideal end on either side, so no link carries both of its halves.
    return station.loss_db if num_stations > 1 else max(station.receive_db, station.emit_db)


def break_even_station_db(total_db: float, num_stations: int) -> float:
    """The station loss at which N equally spaced stations carry as much as no station: N / (N + 1) of the total.

    Args:
        total_db: loss from end to end, without stations.
        num_stations: N, at least 1. Each station's loss counts whole on one link (all of it on arrival, say).

    Raises: InputError for a negative loss or N < 1.
    """
    if checked_count(num_stations, "num_stations") == 0:
        raise InputError("num_stations is 0; expected at least one station to compare with none")
    return checked_loss_db(total_db, "total_db") * num_stations / (num_stations + 1)


def longest_span_km(
    bits_per_use: float,
    station_db: float = 0.0,
    *,
    strategy: Strategy = "two-way",
    db_per_km: float = FIBRE_DB_PER_KM,
) -> float | None:
    """The longest fibre between two stations that still carries the target; None when their loss alone forbids it.

    Args:
        bits_per_use: the target, above 0.
        station_db: loss of the stations beside the span, in decibels.

    Raises: InputError for a target that is not positive, a negative loss, or an attenuation that is not positive.
    """
    left_db = loss_db_for_rate(bits_per_use, strategy) - checked_loss_db(station_db, "station_db")
    fibre_loss_db(0.0, db_per_km)
    return None if left_db < 0 else left_db / db_per_km


def longest_chain_km(
    bits_per_use: float,
    num_stations: int,
    station: Station = IDEAL,
    *,
    strategy: Strategy = "two-way",
    db_per_km: float = FIBRE_DB_PER_KM,
) -> float | None:
    """The longest distance between the ends at which N well-placed stations still carry the target.

    Every link is filled to the loss the target allows, so the links at the ends, which have half a station each, are
    longer than the others.

    Returns: kilometres, or None when the stations' loss alone forbids the target.

    Raises: InputError as `longest_span_km`, or for a negative count.
    """
    allowed_db = loss_db_for_rate(bits_per_use, strategy)
    fibre_loss_db(0.0, db_per_km)
    left_db = [allowed_db - spent for spent in _overheads_db((station,) * checked_count(num_stations, "num_stations"))]
    return None if min(left_db) < 0 else sum(left_db) / db_per_km


def fewest_stations(
    bits_per_use: float, total_db: float, station: Station = IDEAL, *, strategy: Strategy = "two-way"
) -> int | None:
    """The fewest equally spaced stations that carry the target over `total_db`; None when no number does.

    Raises: InputError for a target that is not positive or a negative loss.
    """
    allowed_db = loss_db_for_rate(bits_per_use, strategy) + _SLACK_DB
    total = checked_loss_db(total_db, "total_db")
    for count in (0, 1):
        if worst_link_db(total, count, station) <= allowed_db:
            return count
    left_db = allowed_db - station.loss_db
    if left_db <= _SLACK_DB or math.isinf(total):
        return None
    return max(2, math.ceil(total / left_db - 1e-12) - 1)


def best_count(
    total_db: float, most_stations: int, station: Station = IDEAL, *, strategy: Strategy = "two-way"
) -> tuple[int, float]:
    """The number of equally spaced stations, at most `most_stations`, with the highest rate; the fewest on a tie.

    Returns: (count, bits per use).

    Raises: InputError for a negative loss or count.
    """
    # Beyond one station more is never worse, so only none, one and all are in question.
    last = checked_count(most_stations, "most_stations")
    counts = sorted({0, min(1, last), min(2, last), last})
    rates = [float(capacity_from_db(worst_link_db(total_db, count, station), strategy)) for count in counts]
    best = max(range(len(counts)), key=lambda index: rates[index])
    return counts[best], rates[best]


def _overheads_db(stations: Sequence[Station]) -> list[float]:
    emits = (0.0, *(station.emit_db for station in stations))
    receives = (*(station.receive_db for station in stations), 0.0)
    return [emit + receive for emit, receive in zip(emits, receives, strict=True)]


def place(total_db: float, stations: Sequence[Station]) -> Placement:
    """Where to put stations, in the order given, so that the worst link is as good as it can be.

    The fibre is poured over the links until they stand level; a link whose stations lose more than that level gets no
    fibre at all.

    Args:
        total_db: fibre loss from end to end, finite.
        stations: in order; they need not be alike.

    Raises: InputError for an infinite or negative loss.
    """
    total = checked_loss_db(total_db, "total_db")
    overheads_db = _overheads_db(stations)
    if math.isinf(total) or any(math.isinf(overhead) for overhead in overheads_db):
        raise InputError("total_db or a station's loss is infinite; expected finite losses: drop the cut station")
    ordered = sorted(overheads_db)
    level_db = math.inf
    for count in range(1, len(ordered) + 1):
        level_db = (total + math.fsum(ordered[:count])) / count
        if count == len(ordered) or level_db <= ordered[count]:
            break
    spans_db = tuple(max(0.0, level_db - overhead) for overhead in overheads_db)
    return Placement(spans_db=spans_db, worst_link_db=max(level_db, ordered[-1]))

"""The statements of the paper as curves: numbers first, then a CSV file or a picture.

The paper's own axes and parameters were not available; these are ours, and every curve can be checked against the
closed forms in `placement`.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fullduplex.base.canvas import new_figure
from fullduplex.base.errors import InputError
from fullduplex.links.call import Call, reaches
from fullduplex.links.chains import Station, station_limit
from fullduplex.links.channels import PureLoss
from fullduplex.links.loss import FIBRE_DB_PER_KM, capacity_from_db, loss_db_from_transmissivity
from fullduplex.links.network import Link, Network, multi_path, single_path
from fullduplex.links.placement import overhead_db
from fullduplex.links.rates import Strategy

__all__ = ["FIGURES", "Curves", "call_over_distance", "diamond", "draw", "figure", "write_csv"]

_TRANSMISSIVITIES = (1.0, 0.9, 0.7, 0.5, 0.1)
_COUNTS = (0, 1, 2, 5, 10, 30)
_LENGTH_KM = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One picture: a series of y over the same x each; both axes logarithmic where asked."""

    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    series: Mapping[str, tuple[float, ...]]
    log_x: bool = False
    log_y: bool = True


def rate_over_distance(receive: float = 0.9, strategy: Strategy = "two-way") -> Curves:
    """Rate over the distance between the ends, one curve for every number of stations, and what none can pass."""
    station = Station.of_transmissivity(receive)
    length_km = np.linspace(10, 1000, 199)
    series: dict[str, tuple[float, ...]] = {}
    for count in _COUNTS:
        worst_db = length_km * FIBRE_DB_PER_KM / (count + 1) + overhead_db(count, station)
        series[f"{count} stations"] = tuple(capacity_from_db(worst_db, strategy).tolist())
    limit = station_limit(station.loss_db, strategy).bits_per_use
    series["any number of stations"] = (limit,) * length_km.size
    return Curves(
        title=f"Stations of transmissivity {receive:g}, {strategy} messages",
        x_label="distance between the ends, km",
        y_label="bits per use",
        x=tuple(length_km.tolist()),
        series=series,
    )


def rate_over_stations(strategy: Strategy = "two-way") -> Curves:
    """Rate over the number of stations on 300 km, one curve and one limit for every station transmissivity."""
    counts = np.unique(np.geomspace(1, 10_000, 81).astype(np.int64))
    series: dict[str, tuple[float, ...]] = {}
    for transmissivity in _TRANSMISSIVITIES:
        station_db = loss_db_from_transmissivity(transmissivity)
        worst_db = _LENGTH_KM * FIBRE_DB_PER_KM / (counts + 1) + station_db
        series[f"transmissivity {transmissivity:g}"] = tuple(capacity_from_db(worst_db, strategy).tolist())
        limit = station_limit(station_db, strategy).bits_per_use
        if math.isfinite(limit):
            series[f"limit of {transmissivity:g}"] = (limit,) * counts.size
    return Curves(
        title=f"{_LENGTH_KM:g} km, {strategy} messages",
        x_label="stations",
        y_label="bits per use",
        x=tuple(counts.astype(float).tolist()),
        series=series,
        log_x=True,
    )


def diamond(receive: float, link_transmissivity: float = 0.5) -> Network:
    """a to b through two stations that are joined as well: the smallest network with more than routes in a row."""
    channel = PureLoss(loss_db=loss_db_from_transmissivity(link_transmissivity))
    pairs = (("a", "1"), ("a", "2"), ("1", "2"), ("1", "b"), ("2", "b"))
    station = Station.of_transmissivity(receive)
    links = tuple(Link(a=a, b=b, channel=channel) for a, b in pairs)
    return Network(links=links, stations={"1": station, "2": station})


def rate_over_station_transmissivity() -> Curves:
    """One route and all routes through the diamond, in both readings, over the transmissivity of its stations."""
    transmissivities = np.linspace(0.02, 1.0, 50).tolist()
    networks = [diamond(value) for value in transmissivities]
    series = {
        "one route, composed": tuple(single_path(net, "a", "b").rate.bits_per_use for net in networks),
        "all routes, composed": tuple(multi_path(net, "a", "b").rate.bits_per_use for net in networks),
        "one route, edge": tuple(single_path(net, "a", "b", reading="edge").rate.bits_per_use for net in networks),
        "all routes, edge": tuple(multi_path(net, "a", "b", reading="edge").rate.bits_per_use for net in networks),
    }
    return Curves(
        title="A diamond of links of transmissivity 0.5",
        x_label="transmissivity of the stations",
        y_label="bits per use",
        x=tuple(transmissivities),
        series=series,
        log_y=False,
    )


def call_over_distance(
    call: Call,
    counts: Sequence[int],
    station: Station,
    *,
    strategy: Strategy = "two-way",
    db_per_km: float = FIBRE_DB_PER_KM,
) -> Curves:
    """Seconds of call that a second of key-making secures at most, over the distance, for every number of stations.

    The distances end where the farthest of them no longer keeps up, a half farther on; stations are equally spaced.

    Raises: InputError as `reaches`.
    """
    rows = reaches(call, counts, station, strategy=strategy, db_per_km=db_per_km)
    farthest_km = max((row.longest_km for row in rows if row.longest_km is not None), default=100.0)
    length_km = np.linspace(0, 1.5 * max(farthest_km, 1.0), 301)[1:]
    series: dict[str, tuple[float, ...]] = {}
    for count in counts:
        worst_db = length_km * db_per_km / (count + 1) + overhead_db(count, station)
        share = capacity_from_db(worst_db, strategy) * call.clock_hz / call.key_bits_per_s
        series[f"{count} stations"] = tuple(share.tolist())
    series["any: keeps up with the call"] = (1.0,) * length_km.size
    return Curves(
        title=f"Stations that lose {station.loss_db:.3g} dB, {strategy} messages: no protocol secures more",
        x_label="distance between the ends, km",
        y_label="seconds of call per second of key",
        x=tuple(length_km.tolist()),
        series=series,
    )


FIGURES: Mapping[str, Callable[[], Curves]] = MappingProxyType(
    {
        "distance": rate_over_distance,
        "stations": rate_over_stations,
        "one-way": lambda: rate_over_stations("one-way"),
        "network": rate_over_station_transmissivity,
    }
)


def figure(name: str) -> Curves:
    """The curves of one of `FIGURES`.

    Raises: InputError for another name.
    """
    if name not in FIGURES:
        raise InputError(f"there is no figure {name!r}; expected one of: {', '.join(FIGURES)}")
    return FIGURES[name]()


def write_csv(curves: Curves, path: Path) -> None:
    """One column for x and one for every series; the header names the units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([curves.x_label, *curves.series])
        writer.writerows(zip(curves.x, *curves.series.values(), strict=True))


def draw(curves: Curves, path: Path) -> None:
    """Write a PNG.

    Raises: MissingExtraError when matplotlib is not installed.
    """
    picture = new_figure(8, 5)
    axes = picture.subplots()
    for name, values in curves.series.items():
        y = np.asarray(values)
        # A logarithmic axis has no zero; the curve ends where the rate does.
        shown = np.where((y > 0) & np.isfinite(y), y, np.nan) if curves.log_y else y
        flat = name.startswith(("limit", "any"))
        axes.plot(curves.x, shown, label=name, linestyle="--" if flat else "-", linewidth=1.2)
    if curves.log_x:
        axes.set_xscale("log")
    if curves.log_y:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(1e-12, axes.get_ylim()[0]))
    axes.set_title(curves.title)
    axes.set_xlabel(curves.x_label)
    axes.set_ylabel(curves.y_label)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=120)

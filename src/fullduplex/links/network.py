"""A network: named stations joined by links, and what two of them can share through the others.

Single-path: the rate of the best route, a widest path. Multi-path: every link used once in each use of the network, a
maximum flow, with the minimum cut that proves it. Node splitting reads as in `chains`: "composed" adds a station's
losses to its links; "edge" gives a station an inside edge that all traffic through it shares in one use of the network.
For every single route "composed" is at most "edge"; for many routes at once it need not be, because composed links
through one station do not share anything.

Two-way messages make the direction of a link irrelevant; a one-way strategy can use a `one_direction` link only from
`a` to `b`. Light is taken to travel with the traffic: it leaves through `emit_db` and arrives through `receive_db`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.links.chains import IDEAL, Station, assumption, labelled
from fullduplex.links.channels import Channel, PureLoss, checked_limits, compose
from fullduplex.links.flow import max_flow
from fullduplex.links.graph import Graph, make_graph
from fullduplex.links.loss import capacity_from_db
from fullduplex.links.rates import Rate, Reading, Side, Strategy
from fullduplex.links.widest import widest_path

__all__ = ["BestRoute", "Link", "Multipath", "Network", "multi_path", "single_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A channel between two stations; parallel links are links of their own, a link to itself is of no use."""

    a: str
    b: str
    channel: Channel
    one_direction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Links, and the stations that are not ideal. A station named only here is a node without links."""

    links: tuple[Link, ...]
    stations: Mapping[str, Station] = field(default_factory=dict[str, Station])

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every name, in the order of first mention."""
        names = [name for link in self.links for name in (link.a, link.b)]
        return tuple(dict.fromkeys([*names, *self.stations]))


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRoute:
    """The best single route: stations and links (indices into `Network.links`) in order; both empty without one."""

    rate: Rate
    nodes: tuple[str, ...]
    links: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Multipath:
    """What all routes carry together, and the proof that no more is possible.

    Args:
        rate: capacity of the cut.
        flow: bits per use over each link of the network, positive from `a` to `b`.
        cut_links: links (indices) whose loss separates the ends.
        cut_stations: stations whose inside edge is part of the cut ("edge" reading only).
        cut_bits: capacity of each of these, links first: they sum to the rate.
        source_side: stations on the source's side of the cut.
    """

    rate: Rate
    flow: tuple[float, ...]
    cut_links: tuple[int, ...]
    cut_stations: tuple[str, ...]
    cut_bits: tuple[float, ...]
    source_side: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """A network as a graph. Link i is edge i; in the "edge" reading, link i is also edge i + len(links)."""

    graph: Graph
    source: int
    target: int
    exact: bool
    known: bool
    lossy: bool


def single_path(
    network: Network,
    source: str,
    target: str,
    *,
    strategy: Strategy = "two-way",
    reading: Reading = "composed",
    side: Side = "upper",
) -> BestRoute:
    """The best single route between two stations, which are taken to be ideal as ends.

    Raises: InputError for unknown or equal ends, unknown words, or when no upper bound is known.
    """
    layout = _layout(network, (source, target), strategy, reading, side)
    route = widest_path(layout.graph, layout.source, layout.target)
    names = network.nodes
    links = tuple(edge % len(network.links) for edge in route.edges if edge < _num_link_edges(network, reading))
    visited = tuple(dict.fromkeys(names[node % len(names)] for node in route.nodes))
    other = route.width if layout.exact else math.nan
    if not layout.exact and not (reading == "edge" and layout.lossy):
        across = _layout(network, (source, target), strategy, reading, _other(side))
        other = _bits(widest_path(across.graph, across.source, across.target).width, across, _other(side))
    rate = _rate(_bits(route.width, layout, side), other, (strategy, reading, side), layout)
    return BestRoute(rate=rate, nodes=visited, links=links)


def multi_path(
    network: Network,
    source: str,
    target: str,
    *,
    strategy: Strategy = "two-way",
    reading: Reading = "composed",
    side: Side = "upper",
) -> Multipath:
    """What two stations can share per use of the whole network, with the cut that proves it.

    Raises: InputError as `single_path`.
    """
    layout = _layout(network, (source, target), strategy, reading, side)
    found = max_flow(layout.graph, layout.source, layout.target)
    names, num_links = network.nodes, len(network.links)
    flow_N = found.flow_N[:num_links].copy()
    num_link_edges = _num_link_edges(network, reading)
    if num_link_edges > num_links:
        flow_N -= found.flow_N[num_links:num_link_edges]
    graph, side_of = layout.graph, found.source_side
    bits = {
        edge: float(graph.forward_N[edge] if side_of[int(graph.tail_N[edge])] else graph.backward_N[edge])
        for edge in found.cut
    }
    link_edges = [edge for edge in found.cut if edge < num_link_edges]
    station_edges = [edge for edge in found.cut if edge >= num_link_edges]
    other = found.value if layout.exact else math.nan
    if not layout.exact and not (reading == "edge" and layout.lossy):
        across = _layout(network, (source, target), strategy, reading, _other(side))
        other = _bits(max_flow(across.graph, across.source, across.target).value, across, _other(side))
    return Multipath(
        rate=_rate(_bits(found.value, layout, side), other, (strategy, reading, side), layout),
        flow=tuple(flow_N.tolist()),
        cut_links=tuple(edge % num_links for edge in link_edges),
        cut_stations=tuple(names[edge - num_link_edges] for edge in station_edges),
        cut_bits=tuple(bits[edge] for edge in (*link_edges, *station_edges)),
        source_side=tuple(name for name, mine in zip(names, side_of[: len(names)], strict=True) if mine),
    )


def _num_link_edges(network: Network, reading: Reading) -> int:
    return len(network.links) * (2 if reading == "edge" else 1)


def _other(side: Side) -> Side:
    return "lower" if side == "upper" else "upper"


def _bits(bits: float, layout: _Layout, side: Side) -> float:
    """NaN for an upper bound where the only way past every known cut is a link without a known upper bound."""
    return math.nan if side == "upper" and math.isinf(bits) and not layout.known else bits


def _rate(bits: float, other: float, question: tuple[Strategy, Reading, Side], layout: _Layout) -> Rate:
    """The bound that was asked for, labelled; `other` is the bound from the other side, NaN in a lossy "edge" reading:
    there the two sides speak of different readings, and never count as one exact number.
    """
    strategy, reading, side = question
    lower, upper = (bits, other) if side == "lower" else (other, bits)
    assumes = assumption("composed" if side == "lower" else reading, layout.lossy)
    return labelled(lower, upper, strategy=strategy, side=side, assumes=assumes)


def _layout(network: Network, ends: tuple[str, str], strategy: Strategy, reading: Reading, side: Side) -> _Layout:
    index = {name: number for number, name in enumerate(network.nodes)}
    for role, name in zip(("source", "target"), ends, strict=True):
        if name not in index:
            known = ", ".join(list(index)[:8])
            raise InputError(f"{role} is {name!r}, which the network does not have; expected one of: {known}")
    if ends[0] == ends[1]:
        raise InputError(f"source and target are both {ends[0]!r}; expected two different stations")
    if reading not in ("composed", "edge"):
        raise InputError(f"reading is {reading!r}; expected 'composed' or 'edge'")
    if side not in ("upper", "lower"):
        raise InputError(f"side is {side!r}; expected 'upper' or 'lower'")
    # What a station can reach it must reach with its loss, so a lower bound always has the composed links.
    composed = reading == "composed" or side == "lower"
    stations = {name: station for name, station in network.stations.items() if name not in ends}
    lossy = any(station.loss_db > 0 for station in stations.values())
    (forward_N, backward_N), exact, known = _capacities(network, stations if composed else {}, strategy, side)
    tails = [index[link.a] for link in network.links]
    heads = [index[link.b] for link in network.links]
    source, target, count = index[ends[0]], index[ends[1]], len(index)
    if reading == "composed":
        graph = make_graph(max(1, count), tails, heads, forward_N, backward_N)
        return _Layout(graph=graph, source=source, target=target, exact=exact, known=known, lossy=lossy)
    inside = [math.inf if composed else _inside_bits(stations.get(name, IDEAL), strategy) for name in index]
    nothing = np.zeros(len(tails))
    # Node v is entered at v and left at v + count.
    graph = make_graph(
        2 * count,
        [*(tail + count for tail in tails), *(head + count for head in heads), *range(count)],
        [*heads, *tails, *range(count, 2 * count)],
        np.concatenate([forward_N, backward_N, inside]),
        np.concatenate([nothing, nothing, np.zeros(count)]),
    )
    return _Layout(
        graph=graph, source=source + count, target=target, exact=exact and not lossy, known=known, lossy=lossy
    )


def _inside_bits(station: Station, strategy: Strategy) -> float:
    return float(capacity_from_db(station.inside_db, strategy))


def _capacities(
    network: Network, stations: Mapping[str, Station], strategy: Strategy, side: Side
) -> tuple[tuple[Float64Array, Float64Array], bool, bool]:
    """Bits per use of every link in either direction; whether the bounds meet on all links; whether all have both."""
    links = network.links
    before = [stations.get(link.a, IDEAL) for link in links]
    after = [stations.get(link.b, IDEAL) for link in links]
    forward_N = np.zeros(len(links))
    backward_N = np.zeros(len(links))
    pure = [number for number, link in enumerate(links) if isinstance(link.channel, PureLoss)]
    span_db = np.array([_loss_db(links[number].channel) for number in pure])
    there_db = np.array([before[number].emit_db + after[number].receive_db for number in pure])
    back_db = np.array([after[number].emit_db + before[number].receive_db for number in pure])
    forward_N[pure] = capacity_from_db(span_db + there_db, strategy)
    backward_N[pure] = capacity_from_db(span_db + back_db, strategy)
    exact = known = True
    for number, link in enumerate(links):
        if isinstance(link.channel, PureLoss):
            continue
        for into, first, second in ((forward_N, before, after), (backward_N, after, before)):
            through = compose(link.channel, emit_db=first[number].emit_db, receive_db=second[number].receive_db)
            lower, upper = checked_limits(through, strategy)
            exact = exact and lower == upper
            known = known and not math.isnan(upper)
            into[number] = lower if side == "lower" else (math.inf if math.isnan(upper) else upper)
    if strategy == "one-way":
        backward_N[[number for number, link in enumerate(links) if link.one_direction]] = 0.0
    return (forward_N, backward_N), exact, known


def _loss_db(channel: Channel) -> float:
    return channel.loss_db if isinstance(channel, PureLoss) else math.nan

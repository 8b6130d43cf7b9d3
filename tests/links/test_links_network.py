"""Networks: the diamond by hand, both readings, directions, unknown bounds and a real topology."""

import math
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.links.chains import Station, chain_rate, even_chain
from fullduplex.links.channels import Erasure, Measured, PureLoss, ThermalLoss
from fullduplex.links.figures import diamond
from fullduplex.links.loss import capacity_from_db
from fullduplex.links.network import Link, Network, multi_path, single_path
from fullduplex.links.topology import read_network

NSFNET = Path(__file__).parents[2] / "docs" / "data" / "nsfnet.csv"


def pure(a: str, b: str, loss_db: float, *, one_direction: bool = False) -> Link:
    return Link(a=a, b=b, channel=PureLoss(loss_db=loss_db), one_direction=one_direction)


# By hand: the cut around `a` holds two links of transmissivity tau / 2; for tau = 1 every cut around an end is 2.
@pytest.mark.parametrize(("tau", "bits"), [(1.0, 2.0), (0.8, 1.473931), (0.5, 0.830075)])
def test_the_diamond(tau: float, bits: float) -> None:
    found = multi_path(diamond(tau), "a", "b")
    assert found.rate.bits_per_use == pytest.approx(bits, rel=5e-7)
    assert found.rate.kind == "exact"
    assert math.fsum(found.cut_bits) == pytest.approx(found.rate.bits_per_use, rel=1e-12)
    assert single_path(diamond(tau), "a", "b").rate.bits_per_use == pytest.approx(bits / 2, rel=5e-7)


def test_a_chain_is_a_network_without_choice() -> None:
    station = Station(receive_db=2.0, emit_db=1.0)
    links = tuple(pure(a, b, 5.0) for a, b in (("a", "1"), ("1", "2"), ("2", "b")))
    network = Network(links=links, stations={"1": station, "2": station})
    for strategy in ("two-way", "one-way"):
        for reading in ("composed", "edge"):
            for side in ("upper", "lower"):
                chain = chain_rate(even_chain(15.0, 2, station), strategy=strategy, reading=reading, side=side)
                route = single_path(network, "a", "b", strategy=strategy, reading=reading, side=side)
                flow = multi_path(network, "a", "b", strategy=strategy, reading=reading, side=side)
                assert route.rate.bits_per_use == pytest.approx(chain.bits_per_use, rel=1e-12)
                assert flow.rate.bits_per_use == pytest.approx(chain.bits_per_use, rel=1e-12)
                assert route.rate.kind == chain.kind
    assert single_path(network, "a", "b").nodes == ("a", "1", "2", "b")
    assert single_path(network, "a", "b", reading="edge").links == (0, 1, 2)
    assert multi_path(network, "a", "b").flow == pytest.approx([float(capacity_from_db(8.0))] * 3)


def random_network(rng: np.random.Generator, num_nodes: int) -> Network:
    names = [str(node) for node in range(num_nodes)]
    pairs = rng.integers(0, num_nodes, (int(rng.integers(1, 3 * num_nodes)), 2))
    links = tuple(pure(names[a], names[b], float(rng.uniform(0, 30))) for a, b in pairs.tolist())
    stations = {
        name: Station(receive_db=float(rng.uniform(0, 10)), emit_db=float(rng.choice([0, 3]))) for name in names
    }
    return Network(links=links, stations=stations)


def widest_of_all(bits_BNN: np.ndarray, inside_BN: np.ndarray) -> np.ndarray:
    """Widest path between every two nodes of B networks: Floyd's closure, and no path passes a node wider than its inside."""
    for node in range(bits_BNN.shape[1]):
        into = np.minimum(bits_BNN[:, :, node], inside_BN[:, node, None])
        through = np.minimum(into[:, :, None], bits_BNN[:, None, node, :])
        np.maximum(bits_BNN, through, out=bits_BNN)
    return bits_BNN


def test_for_one_route_composed_is_at_most_edge_in_a_hundred_thousand_networks() -> None:
    """All at once over dense arrays, from node 0 to node 1; `single_path` agrees with the arrays on the first 400."""
    rng, count, size = np.random.default_rng(0), 100_000, 6
    receive_db, emit_db = rng.uniform(0, 8, (count, size)), rng.choice([0.0, 3.0], (count, size))
    receive_db[:, :2] = emit_db[:, :2] = 0  # the ends are ideal
    loss_db = np.triu(
        np.where(rng.random((count, size, size)) < 0.4, rng.uniform(0, 30, (count, size, size)), np.inf), 1
    )
    loss_db += loss_db.transpose(0, 2, 1)
    loss_db[:, range(size), range(size)] = np.inf
    lossy = capacity_from_db(loss_db + emit_db[:, :, None] + receive_db[:, None, :])
    composed = widest_of_all(lossy, np.full((count, size), np.inf))[:, 0, 1]
    inside = capacity_from_db(np.maximum(receive_db, emit_db))
    edge = widest_of_all(capacity_from_db(loss_db), inside)[:, 0, 1]
    assert (composed <= edge * (1 + 1e-12)).all()
    assert 0.5 < (composed > 0).mean() < 0.99 and (composed < edge).mean() > 0.3  # neither side of the test is empty
    for number in range(400):
        pairs = zip(
            *np.nonzero(np.isfinite(np.triu(loss_db[number], 1)) & np.triu(np.ones((size, size), bool), 1)), strict=True
        )
        links = tuple(pure(str(a), str(b), float(loss_db[number, a, b])) for a, b in pairs)
        stations = {
            str(node): Station(receive_db=float(receive_db[number, node]), emit_db=float(emit_db[number, node]))
            for node in range(size)
        }
        network = Network(links=links, stations=stations)
        for reading, bits in (("composed", composed), ("edge", edge)):
            assert single_path(network, "0", "1", reading=reading).rate.bits_per_use == pytest.approx(
                bits[number], rel=1e-12
            )


def test_for_many_routes_composed_can_pass_edge_because_it_shares_nothing() -> None:
    """Two links in, two links out: the inside edge is used once, the composed links twice."""
    links = (pure("a", "r", 0.01), pure("a", "r", 0.01), pure("r", "b", 0.01), pure("r", "b", 0.01))
    network = Network(links=links, stations={"r": Station(receive_db=3.0)})
    composed = multi_path(network, "a", "b")
    edge = multi_path(network, "a", "b", reading="edge")
    assert edge.rate.bits_per_use == pytest.approx(float(capacity_from_db(3.0)))
    assert edge.cut_stations == ("r",)
    assert edge.cut_links == ()
    assert composed.rate.bits_per_use == pytest.approx(2 * float(capacity_from_db(3.01)))


def test_more_loss_anywhere_never_helps_and_all_routes_carry_at_least_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(150):
        network = random_network(rng, 6)
        hurt = int(rng.integers(len(network.links)))
        link = network.links[hurt]
        assert isinstance(link.channel, PureLoss)
        worse_links = list(network.links)
        worse_links[hurt] = pure(link.a, link.b, link.channel.loss_db + 1)
        for reading in ("composed", "edge"):
            one = single_path(network, "0", "1", reading=reading).rate.bits_per_use
            many = multi_path(network, "0", "1", reading=reading)
            assert one <= many.rate.bits_per_use * (1 + 1e-12)
            assert math.fsum(many.cut_bits) == pytest.approx(many.rate.bits_per_use, rel=1e-9)
            for worse in (
                Network(links=tuple(worse_links), stations=network.stations),
                Network(links=network.links, stations={**network.stations, "2": Station(receive_db=50, emit_db=50)}),
            ):
                assert single_path(worse, "0", "1", reading=reading).rate.bits_per_use <= one
                lessened = multi_path(worse, "0", "1", reading=reading).rate.bits_per_use
                assert lessened <= many.rate.bits_per_use * (1 + 1e-12)


def test_direction_matters_one_way_and_not_two_way() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        network = random_network(rng, 5)
        turned = tuple(
            Link(a=link.b, b=link.a, channel=link.channel, one_direction=True)
            if rng.random() < 0.5
            else Link(a=link.a, b=link.b, channel=link.channel, one_direction=True)
            for link in network.links
        )
        directed = Network(links=turned, stations=network.stations)
        for reading in ("composed", "edge"):
            before = multi_path(network, "0", "1", reading=reading).rate.bits_per_use
            after = multi_path(directed, "0", "1", reading=reading).rate.bits_per_use
            assert after == pytest.approx(before, rel=1e-9)
    street = Network(links=(pure("a", "b", 1.0, one_direction=True),))
    for reading in ("composed", "edge"):
        along = single_path(street, "a", "b", strategy="one-way", reading=reading)
        against = single_path(street, "b", "a", strategy="one-way", reading=reading)
        assert along.rate.bits_per_use == float(capacity_from_db(1.0, "one-way"))
        assert (
            against.rate.bits_per_use
            == multi_path(street, "b", "a", strategy="one-way", reading=reading).rate.bits_per_use
            == 0.0
        )
        assert single_path(street, "b", "a", reading=reading).rate.bits_per_use == float(capacity_from_db(1.0))


def test_parts_that_are_not_joined_carry_nothing() -> None:
    network = Network(links=(pure("a", "b", 1.0), pure("c", "c", 1.0)), stations={"d": Station()})
    for end in ("c", "d"):
        for reading in ("composed", "edge"):
            assert single_path(network, "a", end, reading=reading).rate.bits_per_use == 0.0
            assert single_path(network, "a", end, reading=reading).nodes == ()
            assert multi_path(network, "a", end, reading=reading).rate.bits_per_use == 0.0
    cut = Network(links=(pure("a", "b", math.inf),))
    assert single_path(cut, "a", "b").rate.bits_per_use == 0.0


def test_parallel_links_add_up_and_lossless_links_are_infinite() -> None:
    twice = Network(links=(pure("a", "b", 3.0), pure("b", "a", 3.0)))
    assert multi_path(twice, "a", "b").rate.bits_per_use == pytest.approx(2 * float(capacity_from_db(3.0)))
    lossless = Network(links=(pure("a", "b", 0.0),))
    assert multi_path(lossless, "a", "b").rate.bits_per_use == math.inf
    assert single_path(lossless, "a", "b", reading="edge").rate.bits_per_use == math.inf


def test_thermal_links_have_two_bounds() -> None:
    link = Link(a="a", b="b", channel=ThermalLoss(loss_db=3.0, mean_photons=0.1))
    network = Network(links=(link, pure("a", "c", 3.0), pure("c", "b", 3.0)), stations={"c": Station(receive_db=1.0)})
    high = multi_path(network, "a", "b")
    low = multi_path(network, "a", "b", side="lower")
    assert (low.rate.kind, high.rate.kind) == ("lower", "upper")
    assert low.rate.bits_per_use < high.rate.bits_per_use
    via_c = float(capacity_from_db(4.0))
    lower, upper = link.channel.limits("two-way")
    assert (low.rate.bits_per_use, high.rate.bits_per_use) == pytest.approx((lower + via_c, upper + via_c))
    edge_low = multi_path(network, "a", "b", reading="edge", side="lower")
    assert edge_low.rate.bits_per_use == pytest.approx(low.rate.bits_per_use)


def test_bounds_that_meet_are_exact_whatever_lies_beside_the_bottleneck() -> None:
    """x - y is thermal and wide, y - z is pure loss and narrow: y - z decides, and its rate is reached."""
    wide = Link(a="x", b="y", channel=ThermalLoss(loss_db=1.0, mean_photons=0.01))
    network = Network(links=(wide, pure("y", "z", 10.0)), stations={"y": Station(emit_db=1.0)})
    for ask in (single_path, multi_path):
        for side in ("upper", "lower"):
            assert ask(network, "x", "z", side=side).rate.kind == "exact"
            assert ask(network, "x", "z", side=side).rate.bits_per_use == float(capacity_from_db(11.0))
            assert ask(network, "x", "z", side=side, reading="edge").rate.kind == side
        across = ask(Network(links=(wide, pure("y", "z", 0.01))), "x", "z")
        assert across.rate.kind == "upper"


def test_a_link_of_unknown_bound_is_bounded_by_the_cuts_it_is_not_in() -> None:
    unknown = Link(a="r", b="b", channel=Measured(bits_per_use=0.1))
    network = Network(links=(pure("a", "r", 10.0), unknown))
    assert multi_path(network, "a", "b").rate.bits_per_use == pytest.approx(float(capacity_from_db(10.0)))
    assert multi_path(network, "a", "b").rate.kind == "upper"
    assert single_path(network, "a", "b", side="lower").rate.bits_per_use == pytest.approx(0.1)
    with pytest.raises(InputError, match="no known upper bound"):
        multi_path(Network(links=(unknown,)), "r", "b")
    with pytest.raises(InputError, match="no known upper bound"):
        single_path(Network(links=(unknown,)), "r", "b")


def test_the_route_over_nsfnet_that_a_person_finds() -> None:
    """2 to 14: out of 4 the longest hop that cannot be avoided is 750 km; 4-5-7-8-9 keeps to it. 750 km is 150 dB."""
    network = read_network(NSFNET)
    assert len(network.nodes) == 14
    assert len(network.links) == 22
    route = single_path(network, "2", "14")
    assert route.nodes[:6] == ("2", "4", "5", "7", "8", "9")
    assert route.rate.bits_per_use == pytest.approx(1e-15 / math.log(2), rel=1e-9)
    # From 1 every way begins with 1050 km or more; all three links together are the cut.
    flow = multi_path(network, "1", "14")
    assert {(network.links[number].a, network.links[number].b) for number in flow.cut_links} == {
        ("1", "2"), ("1", "3"), ("1", "8"),
    }  # fmt: skip
    assert flow.rate.bits_per_use == pytest.approx((1e-21 + 1e-30 + 1e-48) / math.log(2), rel=1e-9)
    assert single_path(network, "1", "14").rate.bits_per_use == pytest.approx(1e-21 / math.log(2), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": "x"}, "source is 'x'"),
        ({"target": "x"}, "target is 'x'"),
        ({"target": "a"}, "both 'a'"),
        ({"strategy": "three-way"}, "strategy"),
        ({"reading": "other"}, "reading"),
        ({"side": "middle"}, "side"),
    ],
)
def test_bad_questions_are_refused(change: dict[str, str], says: str) -> None:
    question = {"source": "a", "target": "b", **change}
    for ask in (single_path, multi_path):
        with pytest.raises(InputError, match=says):
            ask(diamond(0.9), **question)  # pyright: ignore[reportArgumentType]


def test_loss_inside_a_station_does_not_merge_with_erasure() -> None:
    links = (Link(a="a", b="r", channel=Erasure(probability=0.1)), Link(a="r", b="b", channel=Erasure(probability=0.2)))
    network = Network(links=links, stations={"r": Station(receive_db=1.0)})
    with pytest.raises(InputError, match="reading='edge'"):
        single_path(network, "a", "b")
    assert single_path(network, "a", "b", reading="edge").rate.bits_per_use == 0.8
    assert single_path(network, "a", "b", reading="edge").rate.kind == "upper"

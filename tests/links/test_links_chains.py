"""Chains: the reference table, the limit no number of stations passes, and the two readings."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.links.chains import Chain, Station, chain_links, chain_rate, even_chain, fibre_loss_db, station_limit
from fullduplex.links.channels import Erasure, Measured, PureLoss, ThermalLoss
from fullduplex.links.loss import capacity_from_db, capacity_of_transmissivity
from fullduplex.links.placement import worst_link_db

TOTAL_DB = 60.0  # 300 km at 0.2 dB/km
COUNTS = (1, 2, 5, 10, 30, 100, 1000)
# -log2(1 - tau eta^(1 / (N + 1))) at 300 km, then the limits -log2(1 - tau) and max(0, log2(tau / (1 - tau))).
TABLE = {
    0.9: ((0.00129901, 0.013043, 0.136062, 0.427252, 1.23909, 2.21719, 3.15411), 3.32193, 3.16993),
    0.7: ((0.00101024, 0.0101344, 0.104697, 0.320779, 0.857993, 1.36034, 1.69155), 1.73697, 1.22239),
    0.5: ((7.21528e-4, 0.00723157, 0.0740006, 0.221626, 0.556818, 0.826432, 0.980359), 1.0, 0.0),
    0.1: ((1.44277e-4, 0.00144342, 0.0144996, 0.0416849, 0.0954813, 0.131654, 0.149808), 0.152003, 0.0),
}

losses_db = st.floats(0, 40)


def stations(max_size: int = 4) -> st.SearchStrategy[list[Station]]:
    return st.lists(st.builds(Station, receive_db=losses_db, emit_db=losses_db), max_size=max_size)


@pytest.mark.parametrize("tau", sorted(TABLE))
def test_the_reference_table_to_six_digits(tau: float) -> None:
    rates, limit, one_way_limit = TABLE[tau]
    station = Station.of_transmissivity(tau)
    for count, bits in zip(COUNTS, rates, strict=True):
        found = chain_rate(even_chain(TOTAL_DB, count, station))
        assert found.bits_per_use == pytest.approx(bits, rel=5e-6)
        assert found.kind == "exact"
    assert station_limit(station.loss_db).bits_per_use == pytest.approx(limit, rel=5e-6)
    assert station_limit(station.loss_db, "one-way").bits_per_use == pytest.approx(one_way_limit, rel=5e-6)


def test_ideal_chains() -> None:
    found = [chain_rate(even_chain(TOTAL_DB, count)).bits_per_use for count in (1, 2, 5, 10)]
    assert found == pytest.approx([0.00144342, 0.0144996, 0.152003, 0.483588], rel=5e-6)


def test_ten_times_the_station_loss_is_one_station_less_here() -> None:
    """tau = 0.1 with two stations and ideal stations with one have the same worst link: 1e-3."""
    lossy = chain_rate(even_chain(TOTAL_DB, 2, Station.of_transmissivity(0.1)))
    ideal = chain_rate(even_chain(TOTAL_DB, 1))
    assert lossy.bits_per_use == pytest.approx(ideal.bits_per_use, rel=1e-12)


@pytest.mark.parametrize("tau", [0.99, 0.9, 0.7, 0.5, 0.1, 1e-6])
def test_the_limit_is_reached_and_never_passed(tau: float) -> None:
    station = Station.of_transmissivity(tau)
    limit = station_limit(station.loss_db).bits_per_use
    assert limit == pytest.approx(float(capacity_of_transmissivity(tau)), rel=1e-12)
    last = 0.0
    for count in (1, 2, 3, 10, 100, 10_000, 10_000_000, 10**13):
        bits = float(capacity_from_db(worst_link_db(TOTAL_DB, count, station)))
        assert last <= bits <= limit
        last = bits
    assert last == pytest.approx(limit, abs=1e-9, rel=1e-9)
    counts = np.unique(np.geomspace(1, 1e7, 3000).astype(np.int64))
    rates = capacity_from_db(TOTAL_DB / (counts + 1) + station.loss_db)
    assert (np.diff(rates) >= 0).all() and rates[-1] <= limit


@given(st.floats(0, 60), st.floats(0, 2000), st.integers(1, 10_000_000), st.sampled_from(["two-way", "one-way"]))
def test_no_number_of_stations_passes_the_limit(station_db: float, total_db: float, count: int, strategy: str) -> None:
    station = Station(receive_db=station_db)
    bits = float(capacity_from_db(worst_link_db(total_db, count, station), strategy))  # pyright: ignore[reportArgumentType]
    assert bits <= station_limit(station_db, strategy).bits_per_use  # pyright: ignore[reportArgumentType]


def test_one_way_through_stations_of_one_half_is_exactly_nothing() -> None:
    station = Station.of_transmissivity(0.5)
    for count in (1, 2, 10, 1000):
        assert chain_rate(even_chain(TOTAL_DB, count, station), strategy="one-way").bits_per_use == 0.0
    every = [worst_link_db(TOTAL_DB, count, station) for count in (*range(1, 3000), 10**6, 10**7, 10**13)]
    assert not capacity_from_db(every, "one-way").any()
    assert station_limit(station.loss_db, "one-way").bits_per_use == 0.0


@given(st.floats(0, 300), stations())
def test_composed_is_at_most_edge_and_more_loss_never_helps(total_db: float, passed: list[Station]) -> None:
    span = PureLoss(loss_db=total_db / (len(passed) + 1))
    chain = Chain(spans=(span,) * (len(passed) + 1), stations=tuple(passed))
    worse = Chain(
        spans=chain.spans,
        stations=tuple(Station(receive_db=s.receive_db + 1, emit_db=s.emit_db) for s in passed),
    )
    for strategy in ("two-way", "one-way"):
        composed = chain_rate(chain, strategy=strategy)
        edge = chain_rate(chain, strategy=strategy, reading="edge")
        assert composed.bits_per_use <= edge.bits_per_use * (1 + 1e-12)
        assert chain_rate(chain, strategy=strategy, reading="edge", side="lower").bits_per_use == composed.bits_per_use
        for reading in ("composed", "edge"):
            before = chain_rate(chain, strategy=strategy, reading=reading)
            assert chain_rate(worse, strategy=strategy, reading=reading).bits_per_use <= before.bits_per_use


def test_the_edge_reading_is_the_worst_of_spans_and_insides() -> None:
    chain = even_chain(40.0, 3, Station(receive_db=2.0, emit_db=13.0))
    assert chain_rate(chain, reading="edge").bits_per_use == float(capacity_from_db(13.0))
    assert chain_rate(chain).bits_per_use == float(capacity_from_db(25.0))
    assert chain_rate(even_chain(100.0, 1, Station(receive_db=3.0)), reading="edge").bits_per_use == float(
        capacity_from_db(50.0)
    )


def test_the_worst_link_governs_and_order_matters_only_through_neighbours() -> None:
    good, bad, odd = Station(receive_db=0.5), Station(receive_db=6.0), Station(receive_db=1.0, emit_db=4.0)
    span = PureLoss(loss_db=10.0)
    found = {
        order: chain_rate(Chain(spans=(span,) * 4, stations=order)).bits_per_use
        for order in itertools.permutations((good, bad, odd))
    }
    for order, bits in found.items():
        # By hand: the station after `odd` receives what has lost 4 dB already.
        after_odd = order[order.index(odd) + 1] if order[-1] is not odd else Station()
        worst_db = max(10 + 6.0, 10 + 4.0 + after_odd.receive_db)
        assert bits == pytest.approx(float(capacity_from_db(worst_db)), rel=1e-12)
    assert len({round(bits, 12) for bits in found.values()}) == 2
    symmetric = Station(receive_db=2.0)
    same = [
        chain_rate(Chain(spans=(span,) * 3, stations=order)).bits_per_use
        for order in itertools.permutations((symmetric, Station(receive_db=1.0)))
    ]
    assert same[0] == same[1]


def test_ends_are_ideal() -> None:
    links = chain_links(even_chain(30.0, 2, Station(receive_db=1.0, emit_db=2.0)))
    assert [link.loss_db for link in links if isinstance(link, PureLoss)] == pytest.approx([11.0, 13.0, 12.0])


def test_loss_on_both_sides_is_two_edges_with_a_memory_between() -> None:
    """One station, 1 dB on either side, no fibre: each link has 1 dB, and so has each half of the inside."""
    chain = even_chain(0.0, 1, Station(receive_db=1.0, emit_db=1.0))
    for reading in ("composed", "edge"):
        assert chain_rate(chain, reading=reading).bits_per_use == float(capacity_from_db(1.0))
    pair = even_chain(0.0, 2, Station(receive_db=1.0, emit_db=1.0))
    assert chain_rate(pair).bits_per_use == station_limit(2.0).bits_per_use


def test_labels_say_what_a_number_is() -> None:
    station = Station(receive_db=1.0)
    assert chain_rate(even_chain(20.0, 2)).assumes == "stations ideal, ends ideal"
    assert chain_rate(even_chain(20.0, 2, station)).kind == "exact"
    assert chain_rate(even_chain(20.0, 2, station), reading="edge").kind == "upper"
    assert chain_rate(even_chain(20.0, 2, station), reading="edge", side="lower").kind == "lower"
    assert chain_rate(even_chain(20.0, 2, station), strategy="one-way").kind == "exact"
    thermal = Chain(spans=(ThermalLoss(loss_db=5, mean_photons=0.1),) * 2, stations=(station,))
    low, high = chain_rate(thermal, side="lower"), chain_rate(thermal)
    assert (low.kind, high.kind) == ("lower", "upper")
    assert 0 < low.bits_per_use < high.bits_per_use
    assert station_limit(1.0).kind == "upper"


def test_an_unknown_link_leaves_the_bounds_of_the_others() -> None:
    mixed = Chain(spans=(PureLoss(loss_db=10), Measured(bits_per_use=0.01)), stations=(Station(),))
    assert chain_rate(mixed).bits_per_use == float(capacity_from_db(10))
    assert chain_rate(mixed).kind == "upper"
    assert chain_rate(mixed, side="lower").bits_per_use == 0.01
    with pytest.raises(InputError, match="no known upper bound"):
        chain_rate(Chain(spans=(Measured(bits_per_use=0.01),)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Chain(spans=()), "spans is empty"),
        (lambda: Chain(spans=(PureLoss(loss_db=1),), stations=(Station(),)), "1 spans with 1 stations"),
        (lambda: Station(receive_db=-1), "receive_db"),
        (lambda: Station(emit_db=math.nan), "emit_db"),
        (lambda: Station.of_transmissivity(1.2), "transmissivity"),
        (lambda: even_chain(10, -1), "num_stations"),
        (lambda: even_chain(10, 1.5), "num_stations"),  # pyright: ignore[reportArgumentType]
        (lambda: even_chain(math.nan, 1), "total_db"),
        (lambda: chain_rate(even_chain(1, 1), reading="other"), "reading"),  # pyright: ignore[reportArgumentType]
        (lambda: chain_rate(even_chain(1, 1), strategy="other"), "strategy"),  # pyright: ignore[reportArgumentType]
        (lambda: chain_rate(even_chain(1, 1), side="other"), "side"),  # pyright: ignore[reportArgumentType]
        (lambda: fibre_loss_db(-1.0), "length_km"),
        (lambda: fibre_loss_db(1.0, 0.0), "db_per_km"),
        (
            lambda: chain_rate(Chain(spans=(Erasure(probability=0.1),) * 2, stations=(Station(receive_db=1),))),
            "does not merge",
        ),
    ],
)
def test_bad_chains_are_refused_by_field(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()  # pyright: ignore[reportCallIssue]


def test_an_erasure_chain_works_in_the_edge_reading() -> None:
    chain = Chain(spans=(Erasure(probability=0.1),) * 2, stations=(Station(receive_db=3),))
    edge = chain_rate(chain, reading="edge")
    assert (edge.bits_per_use, edge.kind) == (0.9, "upper")


@pytest.mark.parametrize("tau", [1.0, 0.8, 0.3])
def test_a_simulated_chain_stays_below_its_bound(tau: float) -> None:
    """One photon a use on every link, kept in perfect memories until all links have one, swapped without loss.

    Every use of a link makes a pair with the probability that the photon survives, so n uses make the smallest of the
    links' counts end to end. No such protocol may pass the bound for the same losses.
    """
    rng = np.random.default_rng(1)
    uses = 200_000
    for total_db, count in ((3.0, 1), (20.0, 2), (60.0, 5)):
        chain = even_chain(total_db, count, Station.of_transmissivity(tau))
        survives = [10 ** (-link.loss_db / 10) for link in chain_links(chain) if isinstance(link, PureLoss)]
        made = min(int(rng.binomial(uses, probability)) for probability in survives)
        assert made / uses <= chain_rate(chain).bits_per_use
        assert made / uses >= 0.3 * min(1.0, chain_rate(chain).bits_per_use) * (1 - 1 / np.sqrt(max(made, 1)))

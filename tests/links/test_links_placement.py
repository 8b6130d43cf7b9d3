"""Planning: how many stations, how far, where, and when they are worth it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.links.chains import Chain, Station, chain_rate, even_chain
from fullduplex.links.channels import PureLoss
from fullduplex.links.loss import capacity_from_db
from fullduplex.links.placement import (
    best_count,
    break_even_station_db,
    fewest_stations,
    longest_chain_km,
    longest_span_km,
    place,
    worst_link_db,
)

TOTAL_DB = 60.0


# d = -(10 / alpha) log10((1 - 2^-R) / tau) for R = 1, and the number of such spans on 300 km.
@pytest.mark.parametrize(
    ("tau", "count", "span_km"), [(1.0, 19, 15.05), (0.9, 23, 12.76), (0.8, 29, 10.21), (0.6, 75, 3.96)]
)
def test_one_bit_over_three_hundred_kilometres(tau: float, count: int, span_km: float) -> None:
    station = Station.of_transmissivity(tau)
    assert fewest_stations(1.0, TOTAL_DB, station) == count
    assert longest_span_km(1.0, station.loss_db) == pytest.approx(span_km, abs=0.005)
    assert chain_rate(even_chain(TOTAL_DB, count, station)).bits_per_use >= 1 - 1e-9
    assert chain_rate(even_chain(TOTAL_DB, count - 1, station)).bits_per_use < 1


def test_a_station_that_loses_half_forbids_one_bit_at_any_spacing() -> None:
    for tau in (0.5, 0.4):
        station = Station.of_transmissivity(tau)
        assert fewest_stations(1.0, TOTAL_DB, station) is None
    assert longest_span_km(1.0, Station.of_transmissivity(0.4).loss_db) is None
    assert longest_chain_km(1.0, 3, Station.of_transmissivity(0.4)) is None
    assert fewest_stations(1.0, math.inf) is None
    assert fewest_stations(1e-6, 10.0, Station.of_transmissivity(0.4)) == 0


def test_break_even_at_one_hundred_kilometres() -> None:
    found = [break_even_station_db(20.0, count) for count in (1, 2, 5)]
    assert found == pytest.approx([10.0, 13.3333, 16.6667], abs=1e-4)


@given(st.floats(1, 200), st.integers(1, 50))
def test_stations_help_below_break_even_and_harm_above(total_db: float, count: int) -> None:
    edge_db = break_even_station_db(total_db, count)
    direct = chain_rate(even_chain(total_db, 0)).bits_per_use
    better = chain_rate(even_chain(total_db, count, Station(receive_db=edge_db * 0.999))).bits_per_use
    worse = chain_rate(even_chain(total_db, count, Station(receive_db=edge_db * 1.001))).bits_per_use
    assert worse < direct < better


@given(st.floats(0, 300), st.integers(0, 60), st.floats(0, 20), st.floats(0, 20))
def test_the_closed_form_of_an_even_chain_agrees_with_the_chain(
    total_db: float, count: int, receive_db: float, emit_db: float
) -> None:
    station = Station(receive_db=receive_db, emit_db=emit_db)
    expected = chain_rate(even_chain(total_db, count, station)).bits_per_use
    assert float(capacity_from_db(worst_link_db(total_db, count, station))) == pytest.approx(expected, rel=1e-9)


@given(st.floats(0.01, 5), st.floats(0, 300), st.floats(0, 3), st.floats(0, 3), st.sampled_from(["two-way", "one-way"]))
def test_the_fewest_stations_are_enough_and_one_fewer_are_not(
    bits: float, total_db: float, receive_db: float, emit_db: float, strategy: str
) -> None:
    station = Station(receive_db=receive_db, emit_db=emit_db)
    count = fewest_stations(bits, total_db, station, strategy=strategy)  # pyright: ignore[reportArgumentType]
    if count is None:
        count = 10**9
        found = capacity_from_db(worst_link_db(total_db, count, station), strategy)  # pyright: ignore[reportArgumentType]
        assert found < bits * (1 + 1e-6)
        return
    found = capacity_from_db(worst_link_db(total_db, count, station), strategy)  # pyright: ignore[reportArgumentType]
    assert found >= bits * (1 - 1e-6)
    for fewer in range(max(0, count - 3), count):
        found = capacity_from_db(worst_link_db(total_db, fewer, station), strategy)  # pyright: ignore[reportArgumentType]
        assert found < bits * (1 + 1e-6)


def test_best_count_is_the_best_of_all_counts() -> None:
    for station in (Station(), Station(receive_db=3), Station(receive_db=9, emit_db=9), Station(receive_db=15)):
        for most in (0, 1, 2, 7, 20):
            rates = [chain_rate(even_chain(20.0, count, station)).bits_per_use for count in range(most + 1)]
            count, bits = best_count(20.0, most, station)
            assert bits == pytest.approx(max(rates), rel=1e-12)
            assert rates[count] == pytest.approx(bits, rel=1e-12)
    assert best_count(20.0, 50, Station(receive_db=25))[0] == 0


def test_longest_chain_fills_every_link() -> None:
    station = Station(receive_db=1.0, emit_db=0.5)
    length_km = longest_chain_km(0.01, 4, station)
    assert length_km is not None
    plan = place(0.2 * length_km, (station,) * 4)
    spans = tuple(PureLoss(loss_db=loss_db) for loss_db in plan.spans_db)
    assert chain_rate(Chain(spans=spans, stations=(station,) * 4)).bits_per_use == pytest.approx(0.01, rel=1e-9)
    # The ends have half a station each, so their spans are longer.
    assert plan.spans_db[0] == pytest.approx(plan.spans_db[1] + 0.5)
    assert plan.spans_db[-1] == pytest.approx(plan.spans_db[1] + 1.0)
    assert longest_chain_km(1.0, 0) == pytest.approx(15.0515, abs=1e-4)


losses = st.floats(0, 30)


@given(losses, st.lists(st.builds(Station, receive_db=losses, emit_db=losses), max_size=5), st.data())
def test_no_other_placement_is_better(total_db: float, stations: list[Station], data: st.DataObject) -> None:
    plan = place(total_db, stations)
    assert math.fsum(plan.spans_db) == pytest.approx(total_db, abs=1e-9)
    assert all(span_db >= 0 for span_db in plan.spans_db)
    emits = [0.0, *(s.emit_db for s in stations)]
    receives = [*(s.receive_db for s in stations), 0.0]
    links_db = [e + x + r for e, x, r in zip(emits, plan.spans_db, receives, strict=True)]
    assert max(links_db) == pytest.approx(plan.worst_link_db, abs=1e-9)
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=len(links_db), max_size=len(links_db)))
    other_db = [e + total_db * w / sum(weights) + r for e, w, r in zip(emits, weights, receives, strict=True)]
    assert max(other_db) >= plan.worst_link_db - 1e-9


def test_bad_plans_are_refused() -> None:
    for target in (0.0, math.nan, math.inf, -1.0):
        with pytest.raises(InputError, match="bits_per_use"):
            fewest_stations(target, 10.0)
        with pytest.raises(InputError, match="bits_per_use"):
            longest_span_km(target)
    with pytest.raises(InputError, match="num_stations is 0"):
        break_even_station_db(10.0, 0)
    with pytest.raises(InputError, match="total_db"):
        break_even_station_db(-1.0, 1)
    with pytest.raises(InputError, match="db_per_km"):
        longest_span_km(1.0, db_per_km=0.0)
    with pytest.raises(InputError, match="db_per_km"):
        longest_chain_km(1.0, 1, db_per_km=-1.0)
    with pytest.raises(InputError, match="infinite"):
        place(math.inf, ())
    with pytest.raises(InputError, match="infinite"):
        place(1.0, (Station(receive_db=math.inf),))
    with pytest.raises(InputError, match="most_stations"):
        best_count(10.0, -1)

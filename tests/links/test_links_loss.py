"""Loss and the capacities of pure loss: closed forms, extreme transmissivities, refusals."""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.links.loss import (
    capacity_from_db,
    capacity_of_transmissivity,
    checked_loss_db,
    checked_probability,
    loss_db_for_rate,
    loss_db_from_transmissivity,
    lost_fraction,
    transmissivity_from_db,
)
from fullduplex.links.rates import Rate


# -log2(1 - 10^(-0.02 km)), Pirandola et al. 2017, evaluated with 50 digits elsewhere.
@pytest.mark.parametrize(
    ("length_km", "bits"), [(10, 1.43814), (50, 0.152003), (100, 0.0144996), (200, 1.44277e-4), (300, 1.44270e-6)]
)
def test_the_repeaterless_bound_of_a_fibre(length_km: float, bits: float) -> None:
    assert float(capacity_from_db(0.2 * length_km)) == pytest.approx(bits, rel=5e-6)


@pytest.mark.parametrize("exponent", [-300, -100, -20, -17, -8, -3, -1])
def test_two_way_agrees_with_fifty_digit_arithmetic(exponent: int) -> None:
    getcontext().prec = 350 if exponent < -50 else 60
    eta = Decimal(10) ** exponent
    if exponent < -50:  # the first term of the series is exact to 50 digits and more
        expected = float(eta / Decimal(2).ln())
    else:
        expected = float(-(1 - eta).ln() / Decimal(2).ln())
    assert float(capacity_of_transmissivity(float(eta))) == pytest.approx(expected, rel=1e-14)
    assert float(capacity_from_db(-10.0 * exponent)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss_db", [1e-30, 1e-12, 1e-3])
def test_two_way_near_no_loss_keeps_its_digits(loss_db: float) -> None:
    # 1 - eta = x (1 - x/2 + ...), x = loss_db ln(10) / 10: a stored eta would have rounded to 1.
    x = loss_db * math.log(10) / 10
    expected = -math.log2(x) - math.log2(1 - x / 2 + x * x / 6)
    assert float(capacity_from_db(loss_db)) == pytest.approx(expected, rel=1e-12)


def test_one_way_is_exactly_zero_from_one_half_down() -> None:
    assert float(capacity_of_transmissivity(0.5, "one-way")) == 0.0
    assert float(capacity_from_db(loss_db_from_transmissivity(0.5), "one-way")) == 0.0
    assert float(capacity_of_transmissivity(0.75, "one-way")) == pytest.approx(math.log2(3), rel=1e-14)
    at_end = 10 * math.log10(2) / 0.2
    assert at_end == pytest.approx(15.05, abs=0.003)
    assert float(capacity_from_db(0.2 * (at_end + 0.01), "one-way")) == 0.0
    assert float(capacity_from_db(0.2 * (at_end - 0.01), "one-way")) > 0.0


def test_no_loss_and_a_cut_link() -> None:
    for strategy in ("two-way", "one-way"):
        np.testing.assert_array_equal(capacity_from_db([0.0, math.inf], strategy), [math.inf, 0.0])
        np.testing.assert_array_equal(capacity_of_transmissivity([1.0, 0.0], strategy), [math.inf, 0.0])
    assert loss_db_from_transmissivity(0.0) == math.inf
    assert math.copysign(1, loss_db_from_transmissivity(1.0)) == 1
    assert transmissivity_from_db(math.inf) == 0.0
    assert lost_fraction(1e-20) == pytest.approx(1e-20 * math.log(10) / 10, rel=1e-12)


@given(st.floats(1e-9, 60), st.sampled_from(["two-way", "one-way"]))
def test_the_inverse_gives_the_rate_back(bits: float, strategy: str) -> None:
    loss_db = loss_db_for_rate(bits, strategy)  # pyright: ignore[reportArgumentType]
    # One-way, small rates sit on the edge of nothing: an error of 1e-16 in x is 1e-16 bits.
    tolerance = 1e-12 * bits + (1e-15 if strategy == "one-way" else 0)
    again = float(capacity_from_db(loss_db, strategy))  # pyright: ignore[reportArgumentType]
    assert again == pytest.approx(bits, rel=1e-9, abs=tolerance)


@given(st.floats(0, 4000), st.floats(0, 4000))
def test_more_loss_never_carries_more(one_db: float, other_db: float) -> None:
    low, high = sorted((one_db, other_db))
    for strategy in ("two-way", "one-way"):
        assert capacity_from_db(high, strategy) <= capacity_from_db(low, strategy) * (1 + 1e-12)
    assert capacity_from_db(low, "one-way") <= capacity_from_db(low)


@pytest.mark.parametrize("bad", [-1.0, math.nan, "3", None, True])
def test_what_is_no_loss_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match="loss_db"):
        checked_loss_db(bad)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf, "1", False])
def test_what_is_no_probability_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match="transmissivity"):
        checked_probability(bad, "transmissivity")  # pyright: ignore[reportArgumentType]


def test_bad_arrays_strategies_targets_and_clocks_are_refused() -> None:
    with pytest.raises(InputError, match="nan"):
        capacity_from_db([1.0, math.nan])
    with pytest.raises(InputError, match=r"1\.5"):
        capacity_of_transmissivity([0.5, 1.5])
    with pytest.raises(InputError, match="'three-way'"):
        capacity_from_db(1.0, "three-way")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="'three-way'"):
        loss_db_for_rate(1.0, "three-way")  # pyright: ignore[reportArgumentType]
    for target in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="bits_per_use"):
            loss_db_for_rate(target)
    rate = Rate(bits_per_use=0.5, kind="exact", strategy="two-way", assumes="ideal ends")
    assert rate.per_second(1e6) == 5e5
    assert "exact, two-way; ideal ends" in str(rate)
    for clock_hz in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="clock_hz"):
            rate.per_second(clock_hz)

"""Channels: published values, where the bounds must meet, composition, and the bound that nobody knows."""

import math
from decimal import Decimal, getcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.links.channels import (
    Amplifier,
    Channel,
    Dephasing,
    Erasure,
    Measured,
    PureLoss,
    ThermalLoss,
    compose,
    entropy_of_mode,
    fibre,
    rate_of,
)
from fullduplex.links.loss import capacity_from_db, loss_db_from_transmissivity, transmissivity_from_db

HALF_DB = loss_db_from_transmissivity(0.5)


# eta = 1/2: lower -log2(1/2) - h(n), upper n + 1 - h(n), by hand from Pirandola et al. 2017.
@pytest.mark.parametrize(
    ("photons", "lower", "upper"), [(0.01, 0.919063, 0.929063), (0.1, 0.516553, 0.616553), (0.5, 0.0, 0.122556)]
)
def test_thermal_loss_of_one_half(photons: float, lower: float, upper: float) -> None:
    channel = ThermalLoss(loss_db=HALF_DB, mean_photons=photons)
    assert channel.limits("two-way") == pytest.approx((lower, upper), abs=5e-7)
    assert rate_of(channel).kind == "upper"
    assert rate_of(channel, side="lower").kind == "lower"


def test_thermal_loss_stops_at_the_published_threshold() -> None:
    # nbar = eta / (1 - eta) is where the channel becomes entanglement breaking.
    for eta in (0.1, 0.5, 0.9):
        edge = eta / (1 - eta)
        near = ThermalLoss(loss_db=loss_db_from_transmissivity(eta), mean_photons=edge * (1 - 1e-6))
        beyond = ThermalLoss(loss_db=loss_db_from_transmissivity(eta), mean_photons=edge * (1 + 1e-6))
        assert 0 <= near.limits("two-way")[1] < 1e-6
        assert beyond.limits("two-way") == (0.0, 0.0)


def test_amplifier_is_exact_without_photons_and_stops_at_its_threshold() -> None:
    assert Amplifier(gain=2.0).limits("two-way") == pytest.approx((1.0, 1.0))
    assert Amplifier(gain=4.0).limits("one-way")[0] == pytest.approx(math.log2(4 / 3))
    assert Amplifier(gain=1.0).limits("two-way") == (math.inf, math.inf)
    lower, upper = Amplifier(gain=2.0, mean_photons=0.1).limits("two-way")
    assert (lower, upper) == pytest.approx((1 - entropy_of_mode(0.1), 1.1 - entropy_of_mode(0.1)))
    assert Amplifier(gain=2.0, mean_photons=1 - 1e-7).limits("two-way")[1] < 1e-6
    assert Amplifier(gain=2.0, mean_photons=1.1).limits("two-way") == (0.0, 0.0)


def test_discrete_channels_have_their_closed_forms() -> None:
    assert Erasure(probability=0.25).limits("two-way") == (0.75, 0.75)
    assert Erasure(probability=0.25).limits("one-way") == (0.5, 0.5)
    assert Erasure(probability=0.75).limits("one-way") == (0.0, 0.0)
    assert Dephasing(probability=0.5).limits("two-way") == pytest.approx((0.0, 0.0), abs=1e-15)
    assert Dephasing(probability=0.0).limits("two-way") == (1.0, 1.0)
    assert Dephasing(probability=1.0).limits("one-way") == (1.0, 1.0)
    # H2(0.11) = 0.4999..., the classic threshold of one half.
    assert Dephasing(probability=0.11).limits("two-way")[0] == pytest.approx(0.5, abs=1e-3)
    for channel in (Erasure(probability=0.3), Dephasing(probability=0.3), PureLoss(loss_db=3), Amplifier(gain=3)):
        assert rate_of(channel).kind == "exact"


@given(st.floats(0, 60), st.floats(0, 5))
def test_thermal_bounds_are_ordered_and_below_pure_loss(loss_db: float, photons: float) -> None:
    channel = ThermalLoss(loss_db=loss_db, mean_photons=photons)
    for strategy in ("two-way", "one-way"):
        lower, upper = channel.limits(strategy)
        assert 0 <= lower <= upper <= float(capacity_from_db(loss_db, strategy)) * (1 + 1e-12)
    assert channel.limits("one-way")[1] <= channel.limits("two-way")[1]


@given(st.floats(0, 1e-12))
def test_hardly_any_loss_is_no_accident(loss_db: float) -> None:
    lower, upper = ThermalLoss(loss_db=loss_db, mean_photons=0.5).limits("two-way")
    assert lower <= upper
    assert upper > 30


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0, 30), st.floats(0, 3))
def test_loss_merges_as_the_covariance_says(emit_db: float, span_db: float, receive_db: float, photons: float) -> None:
    """Output noise of a chain of beam splitters: tau_d (1 - eta) (2n + 1) + (1 - tau_d) + tau_d eta (1 - tau_e)."""
    merged = compose(ThermalLoss(loss_db=span_db, mean_photons=photons), emit_db=emit_db, receive_db=receive_db)
    assert isinstance(merged, ThermalLoss)
    tau_e, eta, tau_d = (transmissivity_from_db(value) for value in (emit_db, span_db, receive_db))
    noise = tau_d * (1 - eta) * (2 * photons + 1) + (1 - tau_d) + tau_d * eta * (1 - tau_e)
    total = transmissivity_from_db(merged.loss_db)
    assert total == pytest.approx(tau_e * eta * tau_d, rel=1e-9)
    assert (1 - total) * (2 * merged.mean_photons + 1) == pytest.approx(noise, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bias", [2.0**-500, 2.0**-40, 1e-3, 0.0999, 0.1001, 0.5])
def test_dephasing_near_one_half_keeps_its_digits(bias: float) -> None:
    """1 - H2((1 - b) / 2) = b^2 / (2 ln 2) + b^4 / (12 ln 2) + ..., here with 60 digits from the definition."""
    getcontext().prec = 60
    p = (1 - bias) / 2
    exact_bias = 1 - 2 * p
    if exact_bias < 1e-6:
        expected = exact_bias**2 / (2 * math.log(2))
    else:
        wide = Decimal(p)
        expected = float(1 + (wide * wide.ln() + (1 - wide) * (1 - wide).ln()) / Decimal(2).ln())
    assert Dephasing(probability=p).limits("two-way")[0] == pytest.approx(expected, rel=1e-12, abs=0)
    assert Dephasing(probability=1 - p).limits("one-way")[0] == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("gain", [1 + 2.0**-40, 1.5, 1e8, 1e300])
def test_the_amplifier_keeps_its_digits_for_any_gain(gain: float) -> None:
    getcontext().prec = 400
    expected = float((Decimal(gain) / (Decimal(gain) - 1)).ln() / Decimal(2).ln())
    assert Amplifier(gain=gain).limits("two-way")[0] == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize("exponent", [-300, -100, -20, -3])
def test_thermal_bounds_at_tiny_transmissivity_agree_with_long_arithmetic(exponent: int) -> None:
    """-log2((1 - eta) eta^n) - h(n) with n a hundredth of eta: every term is tiny, none may round away."""
    getcontext().prec = 700
    eta = Decimal(10) ** exponent
    photons = float(eta) / 100
    wide = Decimal(photons)
    entropy = (wide + 1) * (wide + 1).ln() - wide * wide.ln()
    upper = float((-(1 - eta).ln() - wide * eta.ln() - entropy) / Decimal(2).ln())
    found = ThermalLoss(loss_db=-10.0 * exponent, mean_photons=photons).limits("two-way")
    assert found[1] == pytest.approx(upper, rel=1e-9, abs=0)
    lower = float((-(1 - eta).ln() - entropy) / Decimal(2).ln())
    assert found[0] == pytest.approx(max(0.0, lower), rel=1e-9, abs=0)


@given(st.floats(1, 50), st.floats(0, 3), st.floats(0, 30), st.floats(0, 1), st.floats(0, 0.2))
def test_worse_channels_never_carry_more(
    gain: float, photons: float, loss_db: float, probability: float, more: float
) -> None:
    pairs: list[tuple[Channel, Channel]] = [
        (Amplifier(gain=gain, mean_photons=photons), Amplifier(gain=gain + more, mean_photons=photons)),
        (Amplifier(gain=gain, mean_photons=photons), Amplifier(gain=gain, mean_photons=photons + more)),
        (ThermalLoss(loss_db=loss_db, mean_photons=photons), ThermalLoss(loss_db=loss_db, mean_photons=photons + more)),
        (Erasure(probability=probability), Erasure(probability=min(1.0, probability + more))),
        (Dephasing(probability=probability / 2), Dephasing(probability=min(0.5, probability / 2 + more))),
    ]
    for better, worse in pairs:
        for strategy in ("two-way", "one-way"):
            for side in (0, 1):
                assert worse.limits(strategy)[side] <= better.limits(strategy)[side] * (1 + 1e-9) + 1e-12


def test_loss_merges_with_loss_only() -> None:
    assert compose(PureLoss(loss_db=3), emit_db=1, receive_db=2) == PureLoss(loss_db=6)
    erasure = Erasure(probability=0.1)
    assert compose(erasure, emit_db=0, receive_db=0) is erasure
    with pytest.raises(InputError, match="reading='edge'"):
        compose(erasure, emit_db=0, receive_db=1)


def test_an_upper_bound_that_nobody_knows_is_refused() -> None:
    measured = Measured(bits_per_use=1e-4)
    assert rate_of(measured, side="lower").bits_per_use == 1e-4
    with pytest.raises(InputError, match="no upper bound is known"):
        rate_of(measured)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: PureLoss(loss_db=-1), "loss_db"),
        (lambda: PureLoss(loss_db=math.nan), "loss_db"),
        (lambda: ThermalLoss(loss_db=1, mean_photons=-1), "mean_photons"),
        (lambda: ThermalLoss(loss_db=1, mean_photons=math.inf), "mean_photons"),
        (lambda: Amplifier(gain=0.5), "gain"),
        (lambda: Amplifier(gain=math.nan), "gain"),
        (lambda: Dephasing(probability=1.5), "probability"),
        (lambda: Erasure(probability=math.nan), "probability"),
        (lambda: Measured(bits_per_use=-1), "bits_per_use"),
        (lambda: fibre(-1.0), "length_km"),
        (lambda: fibre(1.0, db_per_km=math.inf), "db_per_km"),
        (lambda: rate_of(PureLoss(loss_db=1), "both"), "strategy"),  # pyright: ignore[reportArgumentType]
        (lambda: rate_of(PureLoss(loss_db=1), side="middle"), "side"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_channels_are_refused_by_field(make: object, names: str) -> None:
    with pytest.raises(InputError, match=names):
        make()  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    "channel", [PureLoss(loss_db=3.0), Erasure(probability=0.2), Dephasing(probability=0.1), Amplifier(gain=2.0)]
)
def test_one_way_is_never_above_two_way(channel: Channel) -> None:
    assert channel.limits("one-way")[1] <= channel.limits("two-way")[1]


def test_fibre_is_loss_by_the_kilometre() -> None:
    assert fibre(50.0) == PureLoss(loss_db=10.0)
    assert fibre(50.0, mean_photons=0.1) == ThermalLoss(loss_db=10.0, mean_photons=0.1)

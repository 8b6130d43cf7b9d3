"""What dropping or perturbing the low-rank part of `legs` does to its transfer function; the theorems as tests."""

import math

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.normal import legs_frequencies, spectrum
from fullduplex.ssm.modes import modes
from fullduplex.ssm.ptd.perturb import PtdConfig, ptd
from fullduplex.ssm.ptd.spikes import discrete_modes, gain_of_legs, gain_of_modes, spike_angle, spike_of_legs
from fullduplex.ssm.ptd.start import perturbed_legs, perturbed_modes
from fullduplex.ssm.ptd.transfer import (
    bound_first_order,
    bound_of_legs,
    deviation,
    frequency_grid,
    legs_phi,
    legs_states,
    states,
)


def diagonal_states(order, frequencies):
    """V (iw - Lambda)^-1 V^H B / 2, all modes."""
    half = spectrum("legs", order)
    rows = []
    for w in frequencies:
        up = half.b_M / 2 / (1j * w - half.eigenvalues_M)
        down = (half.b_M / 2).conj() / (1j * w - half.eigenvalues_M.conj())
        rows.append(half.v_NM @ up + half.v_NM.conj() @ down)
    return np.stack(rows)


@pytest.mark.parametrize("order", [1, 4, 16, 64])
def test_states_of_legs_have_a_closed_form(order):
    w_F = np.array([-80.0, -1.0, 0.0, 0.3, 7.0, 1000.0])
    system = transition("legs", order)
    np.testing.assert_allclose(states(system.a_NN, system.b_N, w_F), legs_states(order, 1j * w_F), rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", [2, 8, 32])
def test_the_diagonal_system_is_the_full_one_over_one_plus_phi(order):
    w_F = np.array([-3.0, 0.5, 11.0, 400.0])
    expected = legs_states(order, 1j * w_F) / (1 + legs_phi(order, 1j * w_F))[:, None]
    np.testing.assert_allclose(diagonal_states(order, w_F), expected, rtol=0, atol=1e-13)
    # On the imaginary axis all factors but the first and the last cancel in size.
    np.testing.assert_allclose(np.abs(legs_phi(order, 1j * w_F)), np.abs(w_F) / np.hypot(w_F, order), rtol=1e-12)


def test_at_a_fixed_frequency_the_difference_falls_as_one_over_order():
    # Theorem 1: a slope of -1 in a log-log plot.
    orders = np.array([16, 32, 64, 128, 256])
    gaps = [abs(diagonal_states(n, [1.0])[0, 0] - 1 / (1 + 1j)) for n in orders]
    slope = np.polyfit(np.log(orders), np.log(gaps), 1)[0]
    assert slope == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize("order", [16, 64, 256])
def test_and_the_largest_difference_stays_two_over_pi(order):
    # Theorem 2: 1 / (1 + s) - 1 / ((1 + s)(1 + phi)) in closed form, near the top frequency.
    w_F = legs_frequencies(order)[-1] + np.linspace(-3, 3, 6001)
    first_F = 1 / (1 + 1j * w_F)
    gap_F = np.abs(first_F / (1 + legs_phi(order, 1j * w_F)) - first_F)
    assert gap_F.max() == pytest.approx(2 / math.pi, abs=0.04 / order + 1e-4)
    assert w_F[np.argmax(gap_F)] / order**2 == pytest.approx(1 / math.pi, rel=0.7 * math.pi / order**2 * 2)


@pytest.mark.parametrize("order", [4, 16, 48])
@pytest.mark.parametrize("method", ["optimised", "random"])
def test_theorem_3_bounds_every_perturbation(order, method):
    system = transition("legs", order)
    w_spike = legs_frequencies(order)
    sizes = (1e-6, 1e-4, 1e-3, 1e-2) if method == "random" else (0.03,)
    for size in sizes:
        found = ptd(system.a_NN, PtdConfig(method=method, size=size, num_steps=150, abscissa=None))
        grid = np.concatenate([frequency_grid(found.values_N, num_between=60), w_spike, -w_spike])
        worst, at = deviation(system.a_NN, found.e_NN, system.b_N, grid)
        assert worst <= bound_first_order(order, found.report.norm_e)
        assert worst <= bound_of_legs(order, found.report.norm_e)
        single, _ = deviation(system.a_NN, found.e_NN, system.b_N, grid, c_N=np.eye(order)[0])
        assert 0 < single <= worst
        assert at in grid


@pytest.mark.parametrize("order", [2, 8, 64])
def test_the_two_facts_behind_the_bound(order):
    system = transition("legs", order)
    # Where A is at most -1/2 in every direction, no resolvent on the axis is longer than 2.
    assert np.linalg.eigvalsh((system.a_NN + system.a_NN.T) / 2).max() <= -0.5 + 1e-9
    lengths = np.linalg.norm(legs_states(order, 1j * np.geomspace(1e-3, 1e5, 400)), axis=1)
    assert lengths.max() ** 2 <= 2 * math.log(order) + 4


def test_the_published_spike():
    # N = 64, Delta = 5e-4: 0.626 at 0.652 rad a sample, where legs itself answers 7.8e-4.
    spike = spike_of_legs(64, 5e-4, "zoh")
    assert spike.angle == pytest.approx(0.652, abs=5e-4)
    assert spike.gain_diagonal == pytest.approx(0.626, abs=1e-3)
    assert spike.gain_legs == pytest.approx(7.8e-4, abs=1e-5)


def test_the_bilinear_rule_moves_the_spike():
    zoh, bilinear = spike_of_legs(64, 5e-4, "zoh"), spike_of_legs(64, 5e-4, "bilinear")
    assert bilinear.angle == pytest.approx(2 * math.atan(legs_frequencies(64)[-1] * 5e-4 / 2), abs=2e-3)
    assert bilinear.angle < zoh.angle - 0.01
    half = spectrum("legs", 64)
    system = discrete_modes(half.eigenvalues_M, half.b_M / 2, 5e-4, "bilinear")
    # The tone that rings the zoh system is nothing to the bilinear one: published as 0.007.
    assert gain_of_modes(*system, half.v_NM[0], [zoh.angle])[0] == pytest.approx(0.007, abs=1e-3)


def test_a_spike_beyond_the_nyquist_frequency_is_folded():
    turn = legs_frequencies(64)[-1] * 4e-3  # 5.2 rad a sample
    assert spike_angle(64, 4e-3, "zoh") == pytest.approx(2 * math.pi - turn)
    # Holding the input for a step is a low-pass filter, whose gain at this frequency is sinc(turn / 2).
    expected = 2 / math.pi * abs(math.sin(turn / 2) / (turn / 2))
    assert spike_of_legs(64, 4e-3, "zoh").gain_diagonal == pytest.approx(expected, rel=0.03)
    assert spike_angle(64, 4e-3, "bilinear") < math.pi


@pytest.mark.parametrize("method", ["optimised", "random"])
def test_perturbed_modes_have_no_spike(method):
    found = perturbed_legs(16, method)
    values_M, b_M, c_M = found.modes(transition("legs", 16).b_N, np.eye(16)[0])
    for rule in ("zoh", "bilinear"):
        spike = spike_of_legs(16, 5e-3, rule)
        gain = gain_of_modes(*discrete_modes(values_M, b_M, 5e-3, rule), c_M, [spike.angle])[0]
        assert spike.gain_diagonal > 0.5
        assert gain < 0.06 * spike.gain_diagonal
        assert spike.gain_legs == pytest.approx(gain_of_legs(16, 5e-3, rule, [spike.angle])[0])


def test_discrete_modes_agree_with_the_layers():
    torch = pytest.importorskip("torch")
    from fullduplex.kernels.discretise import discretise

    a_M, b_M = modes("legs", 8)
    for rule in ("zoh", "bilinear"):
        steps = torch.tensor([0.01], dtype=torch.float64)
        got = discretise(torch.from_numpy(a_M)[None], torch.from_numpy(b_M)[None], steps, rule)
        for mine, theirs in zip(discrete_modes(a_M, b_M, 0.01, rule), got, strict=True):
            np.testing.assert_allclose(mine, theirs[0].numpy(), rtol=1e-13)


@pytest.mark.parametrize("start", ["ptd", "ptd-random"])
@pytest.mark.parametrize("order", [2, 8, 32])
def test_initialisations_of_layers(start, order):
    a_M, b_M = modes(start, order)
    assert order // 2 <= a_M.size <= order
    assert a_M.real.max() <= -0.5
    assert (a_M.imag >= 0).all()
    found = perturbed_legs(order, "optimised" if start == "ptd" else "random")
    np.testing.assert_array_equal(perturbed_modes(order, "optimised" if start == "ptd" else "random")[0], a_M)
    # All of B enters, not half of it: nothing was dropped.
    full = found.v_NN @ np.where(True, found.inverse_NN @ transition("legs", order).b_N, 0)
    np.testing.assert_allclose(full, transition("legs", order).b_N, atol=1e-8 * order)
    assert np.abs(b_M).max() > 0


@pytest.mark.parametrize(
    "bad",
    [
        lambda: spike_angle(64, 1e-3, "euler"),
        lambda: spike_angle(63, 1e-3, "zoh"),
        lambda: spike_angle(64, 0.0, "zoh"),
        lambda: discrete_modes(np.ones(1), np.ones(1), 1e-3, "euler"),
        lambda: states(np.eye(2), np.ones(3), [1.0]),
        lambda: deviation(np.eye(2), np.eye(3), np.ones(2), [1.0]),
        lambda: deviation(np.eye(2), np.eye(2), np.ones(2), []),
        lambda: perturbed_legs(0),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

"""HiPPO matrices against closed forms: kernels, Pade approximants, spectra, transfer functions."""

import math

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.basis import functions, kernels
from fullduplex.ssm.hippo.dense import discretise_dense, expm
from fullduplex.ssm.hippo.families import KINDS, Glagt, System, correction, family, transition
from fullduplex.ssm.hippo.normal import legs_frequencies, spectrum

RANKED = [kind for kind, entry in KINDS.items() if entry.rank is not None]


def matrix_kernels(system, times):
    return np.stack([expm(system.a_NN * t) @ system.b_N for t in times], axis=1)


def test_first_entries_of_legs():
    legs = transition("legs", 3)
    r3, r5, r15 = math.sqrt(3), math.sqrt(5), math.sqrt(15)
    np.testing.assert_allclose(legs.a_NN, [[-1, 0, 0], [-r3, -2, 0], [-r5, -r15, -3]], rtol=1e-15)
    np.testing.assert_allclose(legs.b_N, [1, r3, r5], rtol=1e-15)


@pytest.mark.parametrize("order", [1, 2, 12])
def test_kernels_of_legs_are_legendre_polynomials_of_the_exponential(order):
    times = np.linspace(0, 5, 11)
    got = matrix_kernels(transition("legs", order), times)
    np.testing.assert_allclose(got, kernels("legs", order, times), atol=1e-12)
    explicit = np.exp(-times) * math.sqrt(3) * (2 * np.exp(-times) - 1)
    if order > 1:
        np.testing.assert_allclose(got[1], explicit, atol=1e-12)


@pytest.mark.parametrize("kind", ["lagt", "foud"])
def test_other_exact_kernels(kind):
    times = np.linspace(0, 5, 11)
    np.testing.assert_allclose(matrix_kernels(transition(kind, 12), times), kernels(kind, 12, times), atol=1e-12)


@pytest.mark.parametrize("glagt", [Glagt(), Glagt(alpha=0.3, beta=0.2), Glagt(alpha=-0.4, beta=1.0)])
def test_kernels_of_the_tilted_laguerre_family(glagt):
    times = np.linspace(0, 5, 11)
    got = matrix_kernels(transition("glagt", 10, glagt=glagt), times)
    np.testing.assert_allclose(got, kernels("glagt", 10, times, glagt=glagt), atol=1e-12)


@pytest.mark.parametrize("order", [2, 3, 5, 8, 12])
def test_legt_is_the_pade_approximant_of_a_delay(order):
    # C (s - A)^-1 B with C = (-1)^n sqrt(2n + 1), the value at age 1, is [N-1/N] of e^-s.
    legt, f = transition("legt", order), math.factorial
    c_N = (-1.0) ** np.arange(order) * np.sqrt(2 * np.arange(order) + 1)
    m, n = order - 1, order
    for s in (0.3, 1j, 0.7 + 0.4j):
        top = sum(f(m + n - k) * f(m) / (f(m + n) * f(k) * f(m - k)) * (-s) ** k for k in range(m + 1))
        bottom = sum(f(m + n - k) * f(n) / (f(m + n) * f(k) * f(n - k)) * s**k for k in range(n + 1))
        got = c_N @ np.linalg.solve(s * np.eye(order) - legt.a_NN, legt.b_N)
        assert abs(got - top / bottom) <= 1e-14


def test_lmu_is_legt_in_other_units():
    legt, lmu = transition("legt", 9), transition("lmu", 9)
    d_N = (-1.0) ** np.arange(9) * np.sqrt(2 * np.arange(9) + 1)
    np.testing.assert_allclose(lmu.a_NN, d_N[:, None] * legt.a_NN / d_N, rtol=1e-13)
    np.testing.assert_allclose(lmu.b_N, d_N * legt.b_N, rtol=1e-13)


def window_errors(kind, order):
    """L2 errors of the kernels against the window's functions, over twice the window."""
    num, window = 1000, family(kind).window
    times = (np.arange(2 * num) + 0.5) / num * window
    system = transition(kind, order)
    turn, x = expm(system.a_NN * window / num), expm(system.a_NN * window / num / 2) @ system.b_N
    columns = []
    for _ in times:
        columns.append(x)
        x = turn @ x
    missed = np.stack(columns, axis=1) - kernels(kind, order, times)
    return np.sqrt((missed**2).sum(1) / num * window)


def test_windows_are_reached_in_the_mean_square():
    legt = {order: window_errors("legt", order) for order in (16, 64)}
    assert legt[16][0] == pytest.approx(0.110, abs=1e-3)
    assert legt[64][0] == pytest.approx(0.054, abs=1e-3)
    fout = {order: window_errors("fout", order) for order in (16, 64)}
    assert fout[16][3] == pytest.approx(0.061, abs=1e-3)
    assert fout[64][3] == pytest.approx(0.014, abs=1e-3)
    # Orders: the constant falls as N^-1/2, the sine as N^-1.
    assert 1.8 < fout[16][0] / fout[64][0] < 2.3
    assert 3.5 < fout[16][3] / fout[64][3] < 4.5


@pytest.mark.parametrize("kind", ["legt", "fout"])
def test_halved_matrices_have_twice_the_window(kind):
    whole, halved = transition(kind, 8), transition(f"{kind}_halved", 8)
    np.testing.assert_array_equal(halved.a_NN, whole.a_NN / 2)
    np.testing.assert_array_equal(halved.b_N, whole.b_N / 2)
    assert family(f"{kind}_halved").window == 2 * family(kind).window
    times = np.linspace(0, 2, 9)
    np.testing.assert_allclose(functions(f"{kind}_halved", 8, times), functions(kind, 8, times / 2), rtol=1e-13)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("order", [2, 8, 64])
def test_every_family_is_stable(kind, order):
    system = transition(kind, order)
    # Far from normal matrices are not asked for eigenvalues: triangular ones show them, others bound their growth.
    if np.allclose(system.a_NN, np.tril(system.a_NN)):
        assert np.diag(system.a_NN).max() <= 0  # slot 1 of a Fourier family stands still
    else:
        assert np.abs(expm(50 * system.a_NN)).max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", RANKED)
def test_the_correction_makes_a_normal_matrix(kind):
    system, p_NR = transition(kind, 16), correction(kind, 16)
    normal = system.a_NN + p_NR @ p_NR.T
    symmetric = (normal + normal.T) / 2
    np.testing.assert_allclose(symmetric, np.eye(16) * symmetric[0, 0], atol=1e-12)
    assert p_NR.shape == (16, family(kind).rank)


def test_the_correction_of_legt_has_rank_two():
    with pytest.raises(InputError, match="rank 2"):
        correction("legt", 8, rank=1)
    padded = correction("legs", 8, rank=3)
    np.testing.assert_array_equal(padded[:, :1], correction("legs", 8))
    assert not padded[:, 1:].any()
    with pytest.raises(InputError, match="no low-rank"):
        correction("lmu", 8)


@pytest.mark.parametrize("kind", RANKED)
@pytest.mark.parametrize("order", [2, 4, 16])
def test_half_the_modes_give_the_whole_response(kind, order):
    system, p_NR, half = transition(kind, order), correction(kind, order), spectrum(kind, order)
    c_N = np.random.default_rng(0).standard_normal(order)
    for t in (0.0, 0.3, 2.0):
        expected = c_N @ expm((system.a_NN + p_NR @ p_NR.T) * t) @ system.b_N
        got = 2 * np.sum((c_N @ half.v_NM) * np.exp(half.eigenvalues_M * t) * half.b_M).real
        assert got == pytest.approx(expected, abs=1e-10 * np.abs(system.b_N).sum())


@pytest.mark.parametrize("order", [4, 16, 64, 256, 1024])
def test_frequencies_of_legs_solve_the_arctangent_equation(order):
    solved, found_M = legs_frequencies(order), spectrum("legs", order).eigenvalues_M
    np.testing.assert_allclose(found_M.imag, solved, rtol=0, atol=1e-12 * solved[-1])
    np.testing.assert_allclose(found_M.real, -0.5, atol=1e-12)


def test_published_frequencies_of_legs():
    np.testing.assert_allclose(legs_frequencies(4), [0.556501, 4.603293], atol=1e-6)
    assert legs_frequencies(64)[-1] == pytest.approx(1303.27384, abs=1e-5)
    assert legs_frequencies(256)[-1] == pytest.approx(20860.23311, abs=1e-5)


def diagonal_response(half, c_N, s):
    """C (s - normal part)^-1 B / 2, from half of the modes, at a number or at many."""
    weights, s = (c_N @ half.v_NM) * half.b_M / 2, np.asarray(s)[..., None]
    return np.sum(weights / (s - half.eigenvalues_M) + weights.conj() / (s - half.eigenvalues_M.conj()), axis=-1)


@pytest.mark.parametrize("order", [2, 4, 8, 16])
def test_transfer_functions_with_and_without_the_low_rank_part_differ_by_a_factor(order):
    # G_diagonal(s) = G(s) / (1 + phi(s)), phi(s) = product over j of (s - j + 1) / (s + j), whatever C is.
    legs, c_N = transition("legs", order), np.random.default_rng(1).standard_normal(order)
    half = spectrum("legs", order)
    for s in (0.2 + 1j, 3j, 0.5 + 40j):
        full = c_N @ np.linalg.solve(s * np.eye(order) - legs.a_NN, legs.b_N)
        phi = math.prod((s - j + 1) / (s + j) for j in range(1, order + 1))
        assert abs(diagonal_response(half, c_N, s) - full / (1 + phi)) <= 1e-13 * abs(full / (1 + phi))


@pytest.mark.parametrize("order", [16, 64, 256])
def test_without_the_low_rank_part_one_frequency_stands_out_by_two_over_pi(order):
    # The first number of legs answers 1 / (s + 1) exactly. A spike of size 2/pi remains near order^2 / pi.
    first, half = np.eye(order)[0], spectrum("legs", order)
    near = legs_frequencies(order)[-1] + np.linspace(-3, 3, 601)
    gap = np.abs(diagonal_response(half, first, 1j * near) - 1 / (1 + 1j * near))
    assert gap.max() == pytest.approx(2 / math.pi, abs=3e-3)
    assert near[int(np.argmax(gap))] == pytest.approx(order**2 / math.pi, rel=0.01)
    # At a low frequency the difference falls as 1 / order.
    low = abs(diagonal_response(half, first, 1j) - 1 / (1 + 1j))
    assert 0.65 < order * low < 0.75


def test_expm_against_closed_forms():
    np.testing.assert_array_equal(expm(np.zeros((3, 3))), np.eye(3))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for angle in (1e-9, 0.3, 30.0):
        expected = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        np.testing.assert_allclose(expm(turn * angle), expected, atol=1e-12)
    jordan = np.array([[-2.0, 1.0], [0.0, -2.0]])
    np.testing.assert_allclose(expm(jordan), math.exp(-2) * np.array([[1, 1], [0, 1]]), rtol=1e-13)


def test_dense_rules_agree_for_small_steps():
    system = transition("legs", 6)
    zoh, bilinear = (discretise_dense(system, 1e-4, rule) for rule in ("zoh", "bilinear"))
    np.testing.assert_allclose(zoh.a_NN, bilinear.a_NN, atol=1e-7)
    # A system that stands still has no inverse and needs none.
    still = discretise_dense(System(a_NN=np.zeros((1, 1)), b_N=np.ones(1)), 0.5)
    assert (still.a_NN.item(), still.b_N.item()) == (1.0, 0.5)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: transition("legz", 4),
        lambda: transition("legs", 0),
        lambda: transition("fout", 1),
        lambda: transition("foud", 7),
        lambda: transition("legs", 4, glagt=Glagt()),
        lambda: Glagt(alpha=1.0),
        lambda: Glagt(beta=0.0),
        lambda: kernels("legs", 4, [-1.0]),
        lambda: kernels("legs", 4, [[1.0]]),
        lambda: kernels("fourier_decay", 4, [1.0]),
        lambda: functions("foud", 4, [1.0]),
        lambda: functions("legs", 4, [math.nan]),
        lambda: functions("glagt", 4, [0.0], glagt=Glagt(alpha=-0.5)),
        lambda: spectrum("legs", 5),
        lambda: spectrum("lmu", 4),
        lambda: legs_frequencies(3),
        lambda: expm(np.ones((2, 3))),
        lambda: expm(np.full((2, 2), math.inf)),
        lambda: discretise_dense(transition("legs", 2), 0.0),
        lambda: discretise_dense(transition("legs", 2), math.nan),
        lambda: discretise_dense(transition("legs", 2), 0.1, "euler"),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

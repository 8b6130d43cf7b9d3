"""Perturb-then-diagonalise: the search, its report, its edges and its cache."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.ptd import cache
from fullduplex.ssm.ptd.cache import cached_ptd
from fullduplex.ssm.ptd.descent import Search, objective
from fullduplex.ssm.ptd.perturb import PtdConfig, UnstableError, ptd

QUICK = PtdConfig(num_steps=200)


def legs(order):
    return transition("legs", order).a_NN


def check(a_NN, found):
    """What every result promises."""
    size = max(np.linalg.norm(a_NN), 1e-300)
    rebuilt = found.v_NN @ np.diag(found.values_N) @ found.inverse_NN
    assert np.linalg.norm(rebuilt - a_NN - found.e_NN) <= 1e-10 * size
    assert np.linalg.cond(found.v_NN) <= found.report.condition * (1 + 1e-9)
    assert found.report.relative == pytest.approx(np.linalg.norm(found.e_NN) / size, abs=1e-15)
    assert found.report.abscissa == found.values_N.real.max()
    if not np.iscomplexobj(a_NN):
        assert not np.iscomplexobj(found.e_NN)
        pairs = np.sort_complex(found.values_N)
        np.testing.assert_allclose(np.sort_complex(found.values_N.conj()), pairs, atol=1e-9 * size)


@pytest.mark.parametrize("order", [1, 2, 8, 32])
@pytest.mark.parametrize("method", ["optimised", "random"])
def test_legs_is_diagonalised_and_stable(order, method):
    a_NN = legs(order)
    found = ptd(a_NN, PtdConfig(method=method, num_steps=300, size=0.01 if method == "random" else 0.03, abscissa=None))
    check(a_NN, found)
    if method == "optimised":
        stable = ptd(a_NN, PtdConfig(num_steps=300, abscissa=-0.5))
        assert stable.report.abscissa <= -0.5
        assert stable.report.condition < 20


def test_a_matrix_of_size_one_is_left_alone():
    found = ptd([[-2.0]])
    assert (found.values_N, found.e_NN, found.report.condition) == (-2, 0, 1)


@pytest.mark.parametrize(("order", "steps"), [(128, 25), (256, 12)])
def test_large_matrices(order, steps):
    a_NN = legs(order)
    found = ptd(a_NN, PtdConfig(num_steps=steps, abscissa=None))
    check(a_NN, found)
    start = ptd(a_NN, PtdConfig(method="random", abscissa=None))
    assert found.report.condition < 0.5 * start.report.condition


@pytest.mark.slow
def test_size_64_at_its_defaults():
    # The search that the paper runs for minutes; well below the minute that is asked for, and reached every time.
    found = ptd(legs(64), PtdConfig(abscissa=-0.5))
    check(legs(64), found)
    assert found.report.condition < 15
    assert found.report.relative < 0.06
    assert found.report.abscissa <= -0.5


@pytest.mark.parametrize("order", [8, 16, 32])
def test_the_search_beats_a_draw_of_the_same_size(order):
    a_NN = legs(order)
    found = ptd(a_NN, PtdConfig(num_steps=500, abscissa=-0.5))
    drawn = [
        ptd(a_NN, PtdConfig(method="random", size=found.report.relative, seed=seed, abscissa=None)).report.condition
        for seed in range(5)
    ]
    assert found.report.condition < 0.5 * min(drawn)


def test_a_larger_price_gives_a_smaller_perturbation():
    reports = [ptd(legs(16), PtdConfig(gamma=gamma, num_steps=500)).report for gamma in (5, 20, 60)]
    sizes, conditions = [r.relative for r in reports], [r.condition for r in reports]
    assert sizes == sorted(sizes, reverse=True)
    assert conditions == sorted(conditions)


def test_random_draws_trade_condition_for_size():
    # Theorems 4 and 5 of the paper: the condition number grows as 1 / ||E||, up to logarithms.
    conditions = [
        np.median(
            [
                ptd(legs(16), PtdConfig(method="random", size=s, seed=k, abscissa=None)).report.condition
                for k in range(9)
            ]
        )
        for s in (1e-4, 1e-3, 1e-2)
    ]
    assert conditions[0] > 2 * conditions[1] > 4 * conditions[2]


@pytest.mark.parametrize("complex_entries", [False, True])
def test_the_gradient_is_that_of_the_objective(complex_entries):
    draw = np.random.default_rng(0)

    def matrix(scale):
        real = draw.standard_normal((6, 6))
        return scale * (real + 1j * draw.standard_normal((6, 6)) if complex_entries else real)

    a_NN, e_NN, way_NN = matrix(1), matrix(0.1), matrix(1)
    search = Search(gamma=3, num_steps=1, bound=-0.3)
    _, _, gradient_NN = objective(a_NN, e_NN, search)
    ahead, behind = (objective(a_NN, e_NN + h * way_NN, search)[0] for h in (1e-6, -1e-6))
    slope = np.sum(gradient_NN.conj() * way_NN).real
    assert (ahead - behind) / 2e-6 == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("order", [2, 5, 12])
def test_a_jordan_block_becomes_diagonalisable(order):
    block_NN = -np.eye(order) + np.diag(np.ones(order - 1), 1)
    found = ptd(block_NN, QUICK)
    check(block_NN, found)
    assert found.report.condition_before > 1e7
    assert found.report.condition < 100
    assert found.report.abscissa <= 0


@pytest.mark.parametrize(
    "normal_NN",
    [
        np.zeros((3, 3)),
        -np.eye(4),
        np.diag([-1.0, -1.0, -3.0]),
        np.array([[-1.0, -2.0], [2.0, -1.0]]),
        np.kron(np.eye(2), np.array([[-1.0, -2.0], [2.0, -1.0]])),
        -np.ones((4, 4)),
        np.diag([-1.0, 1j, -2 - 1j]),
    ],
    ids=["zero", "identity", "diagonal", "turn", "two-equal-turns", "symmetric", "complex"],
)
@pytest.mark.parametrize("method", ["optimised", "random", "exact"])
def test_a_normal_matrix_is_left_alone(normal_NN, method):
    found = ptd(normal_NN, PtdConfig(method=method))
    check(normal_NN, found)
    assert not found.e_NN.any()
    assert found.report.was_normal
    assert found.report.condition == pytest.approx(1, abs=1e-12)


def test_good_eigenvectors_are_hardly_touched():
    a_NN = np.array([[-1.0, 0.01], [0.0, -2.0]])
    found = ptd(a_NN, QUICK)
    assert found.report.relative < 0.002
    assert found.report.condition < 1.02


def test_real_eigenvalues_count_once():
    # One pair and one real eigenvalue: three dimensions, two modes.
    draw = np.random.default_rng(3)
    t_NN = draw.standard_normal((3, 3))
    a_NN = t_NN @ np.array([[-1, -5, 0], [5, -1, 0], [0, 0, -2.0]]) @ np.linalg.inv(t_NN)
    found = ptd(a_NN, PtdConfig(method="exact"))
    b_N, c_N = draw.standard_normal(3), draw.standard_normal(3)
    values_M, b_M, c_M = found.modes(b_N, c_N)
    assert values_M.size == 2
    for s in (0.3j, 2 + 1j, 7j):
        half = c_M * b_M / (s - values_M) + (c_M * b_M).conj() / (s - values_M.conj())
        assert half.sum() == pytest.approx(c_N @ np.linalg.solve(s * np.eye(3) - a_NN, b_N), rel=1e-10)


def test_what_may_not_grow_raises_with_its_abscissa():
    with pytest.raises(UnstableError) as caught:
        ptd(np.diag([1.0, -1.0]))
    assert caught.value.abscissa == 1
    with pytest.raises(UnstableError):
        ptd(legs(32), PtdConfig(method="random", size=0.03))
    assert ptd(np.diag([1.0, -1.0]), PtdConfig(abscissa=None)).report.abscissa == 1


@settings(max_examples=25, deadline=None)
@given(order=st.integers(1, 9), seed=st.integers(0, 2**31), complex_entries=st.booleans())
def test_any_matrix(order, seed, complex_entries):
    draw = np.random.default_rng(seed)
    a_NN = draw.standard_normal((order, order))
    if complex_entries:
        a_NN = a_NN + 1j * draw.standard_normal((order, order))
    check(a_NN, ptd(a_NN, PtdConfig(num_steps=30, abscissa=None)))


def test_a_seed_decides_everything():
    first, again, other = (ptd(legs(8), PtdConfig(num_steps=50, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.e_NN, again.e_NN)
    assert not np.array_equal(first.e_NN, other.e_NN)


def test_the_cache_is_keyed_by_matrix_settings_and_version(tmp_path, monkeypatch):
    searched = []

    def look(a_NN, config=QUICK):
        return cached_ptd(a_NN, config, folder=tmp_path, report=lambda step, _: searched.append(step))

    first = look(legs(6))
    assert len(searched) == 200
    again = look(legs(6))
    assert len(searched) == 200
    np.testing.assert_array_equal(first.e_NN, again.e_NN)
    np.testing.assert_array_equal(first.values_N, again.values_N)
    look(legs(7))
    look(legs(6), PtdConfig(num_steps=200, gamma=7))
    assert len(searched) == 600
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    look(legs(6))
    assert len(searched) == 800


def test_a_damaged_or_unwritable_cache_costs_time_only(tmp_path, caplog):
    first = cached_ptd(legs(4), QUICK, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    np.testing.assert_array_equal(cached_ptd(legs(4), QUICK, folder=tmp_path).e_NN, first.e_NN)
    assert "searching again" in caplog.text
    with file.open("wb") as stream:
        np.savez(stream, e_NN=np.zeros(3))
    np.testing.assert_array_equal(cached_ptd(legs(4), QUICK, folder=tmp_path).e_NN, first.e_NN)
    blocked = tmp_path / "a-file"
    blocked.write_text("x")
    np.testing.assert_array_equal(cached_ptd(legs(4), QUICK, folder=blocked).e_NN, first.e_NN)
    assert "not kept" in caplog.text


@pytest.mark.parametrize(
    "bad",
    [
        lambda: ptd(np.ones((2, 3))),
        lambda: ptd(np.ones(4)),
        lambda: ptd(np.zeros((0, 0))),
        lambda: ptd([[np.nan, 0], [0, 1]]),
        lambda: ptd([[np.inf, 0], [0, 1]]),
        lambda: ptd([["a", "b"], ["c", "d"]]),
        lambda: ptd(np.array([[-1.0, 1.0], [0.0, -1.0]]), PtdConfig(method="exact")),
        lambda: ptd(np.diag([1j, 2, 3]), PtdConfig(abscissa=None)).modes(np.ones(3)),
        lambda: ptd(legs(4), QUICK).modes(np.ones(3)),
        lambda: ptd(legs(4), QUICK).modes(np.ones(4), np.ones(5)),
        lambda: PtdConfig(method="best"),
        lambda: PtdConfig(gamma=-1),
        lambda: PtdConfig(size=0),
        lambda: PtdConfig(num_steps=0),
        lambda: PtdConfig(abscissa=float("nan")),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

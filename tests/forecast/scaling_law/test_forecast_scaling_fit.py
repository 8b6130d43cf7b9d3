"""The fitting instrument: what it must recover, with what intervals, and what it must refuse."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.forecast.scaling_law.fit import FitConfig, HopelessRunsError, compare_forms, fit_law
from fullduplex.forecast.scaling_law.joint import fit_joint
from fullduplex.forecast.scaling_law.runs import ComputeError, envelope, refuse_wrong_compute

SIZES = np.geomspace(1e3, 1e7, 10)


def losses(
    exponent: float, *, factor: float = 1.0, floor: float = 0.0, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (floor + factor * SIZES**-exponent) * np.exp(noise * rng.standard_normal(SIZES.size))


@pytest.mark.parametrize("exponent", [0.015, 0.094, 0.5])
@pytest.mark.parametrize("floor", [0.0, 1.5])
def test_exact_curves_give_their_exponent_and_floor_back(exponent: float, floor: float) -> None:
    made = losses(exponent, factor=20.0, floor=floor)
    law = fit_law(SIZES, made, FitConfig(num_copies=20, form="offset" if floor else None))
    assert law.exponent == pytest.approx(exponent, rel=3e-3)  # a floor is hard to see under so flat a power
    if floor:
        assert law.floor == pytest.approx(floor, rel=2e-2)
    else:
        assert law.chosen.form.name == "power"
        assert law.reference == pytest.approx(20.0 ** (1 / exponent), rel=1e-2)
    assert law.at(1e8)[0] == pytest.approx(floor + 20.0 * 1e8**-exponent, rel=2e-3)


def test_the_criterion_finds_the_floor_where_there_is_one_and_none_where_there_is_none() -> None:
    with_floor = [
        compare_forms(SIZES, losses(0.3, factor=30, floor=1.5, noise=0.005, seed=seed), FitConfig(num_copies=20))
        for seed in range(20)
    ]
    without = [
        compare_forms(SIZES, losses(0.12, factor=3, noise=0.01, seed=seed), FitConfig(num_copies=20))
        for seed in range(20)
    ]
    assert sum(law.chosen.form.name == "offset" for law in with_floor) == 20
    assert sum(law.chosen.form.name == "power" for law in without) >= 18


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "exponent", "floor", "noise"), [("power", 0.12, 0.0, 0.01), ("offset", 0.2, 0.5, 0.005)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(form, exponent: float, floor: float, noise: float) -> None:
    """200 trials at 95 %: between 90 and 98 % of them, and the middle estimate within 2 % of the truth."""
    found, held = [], 0
    for seed in range(200):
        made = losses(exponent, factor=8.0, floor=floor, noise=noise, seed=seed)
        law = compare_forms(SIZES, made, FitConfig(form=form, seed=seed, num_copies=120))
        low, high = law.exponent_interval
        held += low <= exponent <= high
        found.append(law.exponent)
    assert 0.90 <= held / 200 <= 0.985
    assert np.median(found) == pytest.approx(exponent, rel=0.02)


def test_without_noise_in_the_way_the_line_is_that_of_numpy() -> None:
    """Small, even noise has no outlier, so Huber's fit of a power is least squares, as the paper fits."""
    made = losses(0.03, factor=4.0) * np.exp(0.01 * np.resize([1.0, -1.0], SIZES.size))
    law = fit_law(SIZES, made, FitConfig(num_copies=20, form="power"))
    assert law.exponent == pytest.approx(-np.polyfit(np.log10(SIZES), np.log10(made), 1)[0], abs=1e-9)


def test_an_outlying_run_hardly_moves_the_exponent() -> None:
    made = losses(0.12, factor=3.0, noise=0.005)
    spoiled = made.copy()
    spoiled[7] *= 1.5
    clean, robust = (compare_forms(SIZES, y, FitConfig(form="power")) for y in (made, spoiled))
    squares = -np.polyfit(np.log(SIZES), np.log(spoiled), 1)[0]
    assert abs(robust.exponent - 0.12) < 0.005 < abs(squares - 0.12)
    width = [law.exponent_interval[1] - law.exponent_interval[0] for law in (clean, robust)]
    assert width[1] > 2 * width[0]  # it is not thrown away: the interval says that something is odd


def test_another_unit_of_the_data_changes_no_recommended_exponent() -> None:
    """Times 10: a loss with the unit of the data grows tenfold, a likelihood in nats by log 10."""
    made = losses(0.2, factor=8.0, floor=0.5, noise=0.005)
    assert fit_law(SIZES, 10 * made, FitConfig()).exponent == pytest.approx(
        fit_law(SIZES, made, FitConfig()).exponent, 1e-4
    )
    nats = [fit_law(SIZES, made + shift, FitConfig(nats=True)) for shift in (0.0, np.log(10), -3.0)]
    assert [law.exponent for law in nats[1:]] == pytest.approx([nats[0].exponent] * 2, rel=1e-4)
    assert nats[1].floor == pytest.approx(nats[0].floor + np.log(10), abs=1e-4)  # type: ignore[operator]
    # The published way, a power of the raw likelihood, does depend on it: 0.1 becomes far less.
    raw = [fit_law(SIZES, made + shift, FitConfig(form="power")).exponent for shift in (0.0, np.log(10))]
    assert raw[1] < 0.6 * raw[0]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1e3, 1e4, 1e5], [3.0, 2.0, 1.0], "needs 4 or more"),
        ([1e3] * 6, [3.0, 2.0, 1.0, 2.5, 2.2, 1.8], "1 different sizes"),
        ([1e3, 1e3, 1e4, 1e4, 1e5], [3.0, 3.0, 2.0, 2.0, 1.0], "3 different sizes"),
        ([1e3, 1.2e3, 1.4e3, 1.6e3], [3.0, 2.0, 1.5, 1.2], "span"),
        ([1e3, 1e4, 1e5, 1e6], [3.0, 2.0, 0.0, 1.0], "--nats"),
        ([1e3, 1e4, 1e5, 1e6], [3.0, 2.0, np.nan, 1.0], "missing"),
        ([0, 1e4, 1e5, 1e6], [3.0, 2.0, 1.5, 1.0], "not above 0"),
        ([1e3, 1e4, 1e5, 1e6], [1.0, 2.0, 3.0, 4.0], "do not surely fall"),
    ],
)
def test_hopeless_runs_are_refused(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(HopelessRunsError, match=message):
        fit_law(x, y, FitConfig(num_copies=50))


def test_noise_alone_is_hardly_ever_called_a_law() -> None:
    called = 0
    for seed in range(32):
        rng = np.random.default_rng(seed)
        sizes = np.geomspace(1e3, 1e6, 4 + seed % 8)
        try:
            fit_law(sizes, np.exp(0.02 * rng.standard_normal(sizes.size)), FitConfig(num_copies=60, seed=seed))
            called += 1
        except HopelessRunsError:
            pass
    assert called <= 4  # one-sided 2.5 %, so one is to be expected


def test_a_loss_below_the_floor_is_never_reached() -> None:
    law = fit_law(SIZES, losses(0.3, factor=30, floor=1.5, noise=0.002), FitConfig(num_copies=50))
    value, low, high = law.needed_for(2.0)
    assert low <= value <= high
    assert law.at(value)[0] == pytest.approx(2.0, rel=1e-9)
    with pytest.raises(HopelessRunsError, match="below what this law"):
        law.needed_for(1.0)
    with pytest.raises(InputError):
        law.at(-1.0)
    with pytest.raises(InputError):
        FitConfig(level=1.0)


def chinchilla(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published law of arXiv 2203.15556: 1.69 + 406.4 N^-0.34 + 410.7 D^-0.28."""
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5)))
    rng = np.random.default_rng(3)
    return n, d, (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(noise * rng.standard_normal(n.size))


def test_a_law_of_both_is_recovered_and_spends_compute_as_the_formula_says() -> None:
    law = fit_joint(*chinchilla(0.002), num_copies=100)
    assert law.theta_K[[2, 4]] == pytest.approx([0.34, 0.28], rel=0.03)
    assert np.exp(law.theta_K[0]) == pytest.approx(1.69, rel=0.02)
    for index, truth in ((2, 0.34), (4, 0.28)):
        low, high = law.interval(index)
        assert low <= truth <= high
    budget = fit_joint(*chinchilla(0.0), num_copies=20).spend(6e19)
    grid = np.geomspace(1e7, 1e11, 40_001)
    by_search = grid[np.argmin(1.69 + 406.4 * grid**-0.34 + 410.7 * (1e19 / grid) ** -0.28)]
    assert budget.parameters[0] == pytest.approx(by_search, rel=2e-3)
    assert budget.parameters[0] * budget.tokens[0] * 6 == pytest.approx(6e19)


def test_runs_that_cannot_tell_parameters_from_data_are_refused() -> None:
    n = np.geomspace(1e6, 1e9, 10)
    with pytest.raises(HopelessRunsError, match="grow together"):
        fit_joint(n, 20 * n, 1 + n**-0.3)
    with pytest.raises(HopelessRunsError, match="3 token counts"):
        fit_joint(n, np.resize([1e9, 2e9], 10), 1 + n**-0.3)
    some = np.resize([1e9, 1e10, 1e11], 10)
    with pytest.raises(HopelessRunsError, match="not say that more tokens help"):
        fit_joint(
            n, some, (1 + 50 * n**-0.3) * np.exp(0.01 * np.random.default_rng(0).standard_normal(10)), num_copies=60
        )


def test_the_envelope_is_what_no_cheaper_run_beats() -> None:
    compute = np.array([1.0, 1.01, 10.0, 11.9, 100.0])
    kept, loss = envelope(compute, np.array([3.0, 2.9, 2.0, 2.5, 2.2]))
    assert kept.tolist() == [1.01, 10.0]
    assert loss.tolist() == [2.9, 2.0]


def test_compute_by_the_number_of_the_evaluation_is_found() -> None:
    """The released notebooks multiply by the evaluation's number, 1000 steps apart: compute 1000 times too small."""
    n, step = np.array([1e3, 1e4, 1e5]), np.array([1000.0, 2000.0, 3000.0])
    tokens = step * 128 * 512
    refuse_wrong_compute(6 * n * tokens, n, tokens)
    with pytest.raises(ComputeError, match="1,000 times below"):
        refuse_wrong_compute(6 * n * tokens / 1000, n, tokens)

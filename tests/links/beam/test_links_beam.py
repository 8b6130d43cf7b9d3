"""HoloBeam: the surface, the grid lemma, schedules that sum, searches, the null and its cure, the bound, sound."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.cli.main import main
from fullduplex.links.beam.align import BLOCK, METHODS, AlignConfig, align, random_directions
from fullduplex.links.beam.bound import error_bound
from fullduplex.links.beam.grid import check_unimodal, checked_grid, exact_grid
from fullduplex.links.beam.microphones import Line
from fullduplex.links.beam.noise import Noise, noise_from_snr
from fullduplex.links.beam.schedule import schedule
from fullduplex.links.beam.search import SEARCHES, eliminate_thirds, eliminate_thirds_ref
from fullduplex.links.beam.study import best_budget, compare, second_path, study, throughput
from fullduplex.links.beam.surface import Surface, element_sum, gain, link_amplitude, two_path_gain

QUIET = Noise(law="gaussian", sigma=0.0)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- the surface


@pytest.mark.parametrize("offset", [0.0, 0.003, 0.1, -0.37, 1.2])
def test_the_closed_form_is_the_sum_over_elements(offset: float) -> None:
    surface = Surface(size=2500.0, spacing=0.25)  # 10^4 elements
    summed = element_sum(surface, 0.2 + offset, 0.2)
    assert abs(summed.imag) < 1e-9
    assert summed.real == pytest.approx(float(gain(surface, np.array(offset))), abs=1e-9)


def test_small_elements_make_a_continuous_aperture() -> None:
    offset = np.linspace(-1, 1, 41)
    fine, whole = Surface(size=10, spacing=0.01), Surface(size=10)
    assert np.abs(gain(fine, offset) - gain(whole, offset)).max() < 1e-3


def test_the_near_field_is_another_matter() -> None:
    surface = Surface(size=50, spacing=0.25)
    far = element_sum(surface, 0.5, 0.5)
    assert abs(far) == pytest.approx(1.0)
    assert abs(element_sum(surface, 0.5, 0.5, range_wavelengths=1e7)) == pytest.approx(1.0, abs=1e-3)
    assert abs(element_sum(surface, 0.5, 0.5, range_wavelengths=100.0)) < 0.6


def test_friis() -> None:
    assert link_amplitude(10.0, 0.1) == pytest.approx(0.1 / (4 * math.pi * 10))


# --- the grid


@pytest.mark.parametrize(
    ("factor", "low", "high"),
    [(1.0, 1, 1), (2.0, 1, 1), (0.9, 0, 0.02), (1.1, 0, 0.02), (0.5, 0, 0.05), (0.25, 0, 0.01)],
)
def test_only_the_exact_step_and_its_multiples_are_unimodal(factor: float, low: float, high: float) -> None:
    surface = Surface(size=32)
    grid = np.arange(-math.floor(32 / factor), math.floor(32 / factor) + 1) * factor / 32
    assert low <= check_unimodal(surface, grid).share <= high


@pytest.mark.parametrize(("spacing", "holds"), [(0.25, True), (0.125, True), (0.3, False), (0.5, False)])
def test_elements_more_than_a_quarter_of_a_wavelength_apart_wrap_around(spacing: float, holds: bool) -> None:
    surface = Surface(size=32, spacing=spacing)
    found = check_unimodal(surface, exact_grid(surface))
    assert found.holds is holds
    assert (found.counterexample is None) is holds


@given(st.floats(1.0, 60.0), st.floats(-1.0, 1.0))
def test_the_exact_grid_is_unimodal_for_any_size_and_direction(size: float, where: float) -> None:
    surface = Surface(size=size)
    grid = exact_grid(surface)
    power = gain(surface, where * grid[-1] - grid) ** 2
    peak = int(power.argmax())
    assert np.all(np.diff(power[: peak + 1]) >= -1e-13) and np.all(np.diff(power[peak:]) <= 1e-13)


def test_a_second_path_breaks_it_and_the_report_says_so() -> None:
    surface = Surface(size=32)
    grid = exact_grid(surface)
    power = two_path_gain(surface, 0.31 - grid, -0.52 - grid, 0.7) ** 2
    with pytest.raises(InputError, match="not unimodal"):
        error_bound(power, 1000, Noise(law="gaussian", sigma=0.01))
    assert second_path(surface, 0.0).error == 0.0 and second_path(surface, 0.0).unimodal_share == 1.0
    weak, strong = second_path(surface, 0.1), second_path(surface, 0.7)
    assert strong.unimodal_share < 0.1
    assert strong.error_low > weak.error_high > 0
    assert strong.gain < weak.gain < 1


def test_other_grids_are_refused_with_a_direction_that_fails() -> None:
    surface = Surface(size=32)
    assert checked_grid(surface, exact_grid(surface)).size == 65
    with pytest.raises(InputError, match=r"0\.03125 \(1/K\)"):
        checked_grid(surface, np.arange(-64, 65) / 64)
    wide = Surface(size=32, spacing=0.5)
    with pytest.raises(InputError, match="quarter of a wavelength"):
        checked_grid(wide, exact_grid(wide))


# --- the schedule


@given(st.integers(1, 300), st.integers(0, 100_000))
def test_schedules_sum_to_the_budget(arms: int, budget: int) -> None:
    for literal in (False, True):
        plan = schedule(arms, budget, literal=literal)
        assert sum(plan.pilots) == budget
        assert min(plan.pilots) >= 0
        assert plan.sizes[-1] <= 3 or arms <= 3
    least = 4 * (len(plan.sizes) - 1) + plan.sizes[-1]
    assert schedule(arms, budget).starved == (budget < least)


def test_the_schedule_is_the_papers_formula() -> None:
    plan = schedule(64, 3**12)
    phases = len(plan.sizes) - 1
    expected = [3**12 * 2 ** (phases - 2) / 3 ** (phases - 1)] * 2
    expected += [3**12 * 2 ** (phases - l + 1) / 3 ** (phases - l + 2) for l in range(3, phases + 2)]
    assert np.allclose(plan.pilots, expected, atol=1)
    assert plan.pilots[-1] == pytest.approx(3**12 / 3, abs=1)


# --- searches


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("size", [1, 1.5, 2, 3, 5, 16])
def test_without_noise_the_peak_is_found_wherever_it_is(name: str, size: float) -> None:
    surface = Surface(size=size)
    grid = exact_grid(surface)
    direction = np.concatenate([[grid[0], grid[-1]], draw().uniform(grid[0], grid[-1], 200)]) + 1e-7
    amplitude = gain(surface, direction[:, None] - grid)
    found = SEARCHES[name](amplitude, 40 * grid.size, QUIET, draw(1))
    assert np.array_equal(found.best_B, np.abs(amplitude).argmax(axis=1))


@given(st.sampled_from(sorted(SEARCHES)), st.integers(1, 2000), st.integers(1, 70))
def test_no_search_uses_more_than_its_budget(name: str, budget: int, arms: int) -> None:
    found = SEARCHES[name](np.ones((3, arms)), budget, Noise(), draw())
    assert 0 < found.pilots <= budget
    assert np.all((found.best_B >= 0) & (found.best_B < arms))


def test_all_trials_at_once_equal_one_by_one() -> None:
    surface = Surface(size=16)
    grid = exact_grid(surface)
    amplitude = gain(surface, draw().uniform(-1, 1, 300)[:, None] - grid)
    together = eliminate_thirds(amplitude, 300, QUIET, draw()).best_B
    alone = [eliminate_thirds_ref(row, 300, QUIET, draw()) for row in amplitude]
    assert together.tolist() == alone
    noisy = Noise(law="gaussian", sigma=0.05)  # the same law: the rates agree within four standard errors
    best = np.abs(amplitude).argmax(axis=1)
    one = np.mean([eliminate_thirds_ref(row, 300, noisy, draw(i)) for i, row in enumerate(amplitude)] == best)
    many = np.mean(eliminate_thirds(amplitude, 300, noisy, draw(5)).best_B == best)
    assert abs(one - many) < 4 * math.sqrt(0.5 / 300)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("arms", [1, 2, 3, 4, 5, 9])
def test_silence_gives_every_arm_alike_and_says_so(name: str, arms: int) -> None:
    found = SEARCHES[name](np.zeros((9000, arms)), 100, QUIET, draw())
    assert found.undetermined_B.all() == (arms > 1)
    share = np.bincount(found.best_B, minlength=arms) / 9000
    assert np.abs(share - 1 / arms).max() < 5 * math.sqrt(1 / arms / 9000)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("arms", [1, 2, 3, 4, 5])
def test_few_arms(name: str, arms: int) -> None:
    for peak in range(arms):
        amplitude = 1.0 / (1 + np.abs(np.arange(arms) - peak))[None, :]
        found = SEARCHES[name](amplitude, 10 * arms + 4, QUIET, draw())
        assert found.best_B.tolist() == [peak]
        assert not found.undetermined_B.any() or arms == 1


@pytest.mark.parametrize("law", ["gaussian", "physical"])
def test_a_mean_of_pilots_has_the_moments_of_its_law(law: str) -> None:
    noise = Noise(law=law, sigma=0.3)
    report = noise.observe(np.full(200_000, 0.8), 5, draw())
    mean = 0.64 + (0.09 if law == "physical" else 0.0)
    variance = 0.09 / 5 if law == "gaussian" else (0.09**2 + 2 * 0.09 * 0.64) / 5
    assert report.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / 200_000))
    assert report.var() == pytest.approx(variance, rel=0.03)


def test_logarithmic_and_quantised_reports_rank_arms_too() -> None:
    for law in ("log", "rssi"):
        noise = Noise(law=law, sigma=0.01)
        report = noise.observe(np.tile([0.05, 0.5, 1.0], (50, 1)), 4, draw())
        assert np.all(np.diff(report, axis=1) > 0)
        assert np.all(noise.observe(np.ones((2, 2)), 0, draw()) == -np.inf)


# --- alignment


def config(**changes: object) -> AlignConfig:
    return AlignConfig(
        **{"first": Surface(size=32), "second": Surface(size=32), "noise": noise_from_snr(70), **changes}
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [1, 2, 7, 40, 333])
@pytest.mark.parametrize("refine", [False, True])
def test_never_more_pilots_than_allowed_and_says_when_they_are_too_few(method: str, budget: int, refine: bool) -> None:
    surface = Surface(size=5)
    found = align(config(first=surface, second=surface, budget=budget, refine=refine), method, np.zeros((3, 2)), seed=0)
    assert found.pilots <= budget
    assert np.all(np.abs(found.gradient_B2) <= 1)
    if budget <= 7:
        assert found.starved


def test_a_trial_does_not_depend_on_how_many_there_are() -> None:
    few, many = random_directions(config(), 10, seed=3), random_directions(config(), BLOCK + 10, seed=3)
    assert np.array_equal(few, many[:10])
    for method in METHODS:
        one, other = (align(config(), method, directions, seed=3) for directions in (few, many))
        assert np.array_equal(one.gradient_B2, other.gradient_B2[:10])
    for law in ("gaussian", "rssi"):  # rounded reports tie, and a tie in one trial must not move the others
        tied = config(noise=Noise(law=law, sigma=0.02, step_db=3.0), budget=60)  # type: ignore[arg-type]
        one, other = (align(tied, "hierarchical", directions, seed=3) for directions in (few, many))
        assert np.array_equal(one.gradient_B2, other.gradient_B2[:10])
        one, other = (align(tied, "holobeam", directions, seed=3) for directions in (few, many))
        assert np.array_equal(one.gradient_B2, other.gradient_B2[:10])
    shifted = [align(config(shift=True), "line-fan", directions, seed=3) for directions in (few, many)]
    assert np.array_equal(shifted[0].gradient_B2, shifted[1].gradient_B2[:10])


def test_a_direction_on_the_grid_hides_from_the_literal_algorithm_only() -> None:
    """alpha_2 on the grid: every wrong beta_2 receives exactly nothing in phase one."""
    grid = exact_grid(Surface(size=32))
    direction = np.stack([draw().uniform(-1, 1, 400), grid[draw(1).integers(5, 60, 400)]], axis=1)
    literal = align(config(budget=400, noise=noise_from_snr(90)), "holobeam", direction, seed=0)
    assert (~literal.right_B).mean() > 0.85
    robust = config(budget=400, noise=noise_from_snr(90), shift=True)
    fan = align(robust, "holobeam-fan", direction, seed=0)
    assert (~fan.right_B).mean() < 0.2
    assert fan.ratio_B.mean() > 0.9


def test_the_regimes_of_the_comparison() -> None:
    """Few pilots, strong signal: structure pays. Two pilots an arm and weak signal: halving wins, and is shown to."""
    strong = {r.method: r for r in compare(config(budget=100), METHODS, snr_db=70, trials=600, frame=10_000, seed=0)}
    assert strong["holobeam-fan"].error_high < strong["halving-fan"].error_low
    assert strong["holobeam"].error_high < strong["halving-2d"].error_low
    weak = compare(config(budget=200, noise=noise_from_snr(50)), METHODS, snr_db=50, trials=600, frame=10_000, seed=0)
    rows = {row.method: row for row in weak}
    assert rows["halving-fan"].error_high < rows["holobeam"].error_low
    assert all(row.error_low <= row.error <= row.error_high and row.pilots <= 200 for row in weak)


def test_the_parametric_end_goes_beyond_the_grid() -> None:
    direction = random_directions(config(), 300, seed=1)
    plain = align(config(budget=400, noise=noise_from_snr(80)), "halving-fan", direction, seed=0)
    refined = align(config(budget=400, noise=noise_from_snr(80), refine=True), "halving-fan", direction, seed=0)
    assert plain.power_B.mean() < 0.8  # half a step off along each axis costs up to 8 dB in all
    assert refined.power_B.mean() > 0.97
    assert refined.pilots <= 400


def test_the_parametric_end_stays_inside_at_the_ends_of_the_grid() -> None:
    edge = exact_grid(Surface(size=32))[[0, -1]]
    direction = np.array([[edge[0] + 0.25 / 32, 0.2], [edge[1] - 0.25 / 32, -0.4]])
    refined = align(config(budget=400, noise=noise_from_snr(90), refine=True), "sweep-fan", direction, seed=0)
    assert np.abs(refined.gradient_B2 - direction).max() < 0.1 / 32


def test_pilots_cost_symbols() -> None:
    rows = study(config(), snrs_db=(90.0,), budgets=(100, 5000), methods=("hierarchical",), trials=200, frame=10_000)
    assert best_budget(rows) == {("hierarchical", 90.0): 100}
    assert throughput(20.0, 1.0, 10, 10) == 0.0


# --- the bound


@pytest.mark.parametrize("direction", [0.1, 0.33, -0.8, 0.999])
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_the_bound_is_never_below_the_error(direction: float, sigma: float) -> None:
    surface = Surface(size=4)
    amplitude = gain(surface, direction - exact_grid(surface))
    noise, trials = Noise(law="gaussian", sigma=sigma), 4000
    bounds = []
    for budget in (30, 100, 1000, 20_000):
        found = eliminate_thirds(np.tile(amplitude, (trials, 1)), budget, noise, draw(budget))
        error = float((found.best_B != (amplitude**2).argmax()).mean())
        bounds.append(error_bound(amplitude**2, budget, noise))
        assert error <= bounds[-1] + 3 * math.sqrt(max(error, 1 / trials) / trials)
    assert bounds == sorted(bounds, reverse=True)
    assert sigma > 0.01 or bounds[-1] < 0.6 or direction == 0.999


@pytest.mark.parametrize("law", ["physical", "log", "rssi"])
def test_no_bound_is_claimed_for_other_laws(law: str) -> None:
    with pytest.raises(InputError, match=law):
        error_bound(np.array([0.5, 1.0]), 100, Noise(law=law))  # type: ignore[arg-type]


def test_the_error_itself_falls_exponentially_in_pilots() -> None:
    """Five arms with even gaps: the logarithm of the error is a line over pilots, falling as fast as the bound's or faster."""
    amplitude = np.sqrt(np.array([0.2, 0.6, 1.0, 0.6, 0.2]))
    noise, trials, budgets = Noise(law="gaussian", sigma=0.8), 30_000, np.array([48, 96, 144, 192, 240])
    errors, bounds = [], []
    for budget in budgets.tolist():
        found = eliminate_thirds(np.tile(amplitude, (trials, 1)), budget, noise, draw(budget))
        errors.append((found.best_B != 2).mean())
        bounds.append(error_bound(amplitude**2, budget, noise))
    assert np.all(np.array(errors) <= bounds)
    assert np.corrcoef(budgets, np.log(errors))[0, 1] ** 2 > 0.99
    assert np.log(errors[-1] / errors[2]) < np.log(bounds[-1] / bounds[2])


def test_the_bound_falls_exponentially_in_pilots() -> None:
    power = np.array([0.1, 0.4, 1.0, 0.5, 0.2])
    logs = [math.log(error_bound(power, budget, Noise(law="gaussian", sigma=0.3))) for budget in (1200, 2400, 4800)]
    assert logs[2] - logs[1] == pytest.approx(2 * (logs[1] - logs[0]), rel=0.15)


# --- mistakes and the command


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Surface(size=0.5),
        lambda: Surface(size=4, spacing=0.0),
        lambda: Noise(sigma=-1.0),
        lambda: Noise(sigma=float("nan")),
        lambda: Noise(law="loud"),  # type: ignore[arg-type]
        lambda: noise_from_snr(float("nan")),
        lambda: AlignConfig(budget=0),
        lambda: AlignConfig(first_share=1.0),
        lambda: AlignConfig(fan=2.0),
        lambda: align(config(), "luck", np.zeros((1, 2)), seed=0),  # type: ignore[arg-type]
        lambda: Line(microphones=1),
    ],
)
def test_absurd_settings_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: align(config(), "holobeam", np.zeros(2), seed=0),
        lambda: align(config(), "holobeam", np.full((1, 2), np.nan), seed=0),
        lambda: align(config(), "holobeam", np.full((1, 2), 1.5), seed=0),
        lambda: random_directions(config(), 0, seed=0),
        lambda: check_unimodal(Surface(size=4), np.array([0.0, 0.0])),
        lambda: check_unimodal(Surface(size=4), np.array([])),
        lambda: schedule(0, 10),
        lambda: eliminate_thirds(np.full((1, 3), np.inf), 10, QUIET, draw()),
        lambda: eliminate_thirds(np.ones((1, 3)), 0, QUIET, draw()),
        lambda: error_bound(np.array([1.0, np.nan]), 10, Noise(law="gaussian")),
        lambda: error_bound(np.array([1.0, 0.5]), 10, QUIET),
        lambda: element_sum(Surface(size=4), 0.0, 0.0),
        lambda: link_amplitude(0.0, 0.1),
        lambda: throughput(10.0, 1.0, 1, 0),
    ],
)
def test_bad_input_is_refused(wrong) -> None:
    with pytest.raises(InputError):
        wrong()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--size", "8", "--trials", "50"]
    assert main(["link", "beam", "--budget", "60", *small, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unimodal_share"] == 1.0 and {row["method"] for row in told["rows"]} == set(METHODS)
    assert main(["link", "beam", "study", *small, "--method", "holobeam", "--out", str(tmp_path)]) == 0
    assert "most throughput" in capsys.readouterr().out
    assert (tmp_path / "beam.png").stat().st_size > 10_000
    assert main(["link", "beam", "--spacing", "0.5", *small]) == 0
    assert "warning" in capsys.readouterr().out
    assert main(["link", "beam", "--budget", "0"]) == 2

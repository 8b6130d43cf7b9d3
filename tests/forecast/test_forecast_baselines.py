"""The models to beat: exact cases, the rows of ETTh1 and of the exchange rates."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.backtest import backtest, prepare
from fullduplex.forecast.baselines import (
    FittedLinear,
    LinearForecaster,
    SeasonalNaive,
    base_map,
    naive2,
    repeat_map,
    seasonal_indices,
)
from fullduplex.forecast.classical import ClassicalForecaster
from fullduplex.forecast.windows import ETT_HOURLY, History, split_by_share

DATA = Path(__file__).parents[3] / "shared" / "data"
# MSE, MAE of seasonal naive and MSE of RLinear as published, L 96, all windows (arXiv:2310.06625).
ETTH1 = {96: (0.512, 0.433, 0.386), 192: (0.581, 0.469, 0.437), 336: (0.650, 0.501, 0.479), 720: (0.655, 0.514, 0.481)}


def history(values: np.ndarray, season: int = 1) -> History:
    return History(train_TC=values, validate_TC=values[:0], season=season)


def test_seasonal_naive_repeats_the_last_season_and_looks_further_back_for_what_is_missing() -> None:
    context = np.arange(6.0)[None, :, None]
    fitted = SeasonalNaive(context=6, horizon=5).fit(history(context[0], season=3))
    assert fitted.predict(context)[0, :, 0].tolist() == [3, 4, 5, 3, 4]
    context[0, 4] = np.nan
    assert fitted.predict(context)[0, :, 0].tolist() == [3, 1, 5, 3, 1]
    context[0, 1] = np.nan
    with pytest.raises(InputError, match="no value anywhere"):
        fitted.predict(context)
    with pytest.raises(InputError, match="season has 3"):
        fitted.predict(context[:, :2])


def test_the_linear_map_is_the_ridge_solution() -> None:
    """Against scikit-learn on the same standardised windows."""
    peer = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.standard_normal((300, 2)), axis=0)
    fitted = LinearForecaster(context=12, horizon=3, ridge=0.7).fit(history(values))
    views = np.lib.stride_tricks.sliding_window_view(values, 15, axis=0).reshape(-1, 15)
    seen, target = views[:, :12], views[:, 12:]
    mean, std = seen.mean(axis=1, keepdims=True), np.sqrt(seen.var(axis=1, keepdims=True) + 1e-5)
    ridge = peer.Ridge(alpha=0.7, fit_intercept=False).fit((seen - mean) / std, (target - mean) / std)
    assert np.allclose(fitted.weights_LH, ridge.coef_.T, atol=1e-8)


def test_the_linear_map_continues_a_sine_and_a_constant() -> None:
    time = np.arange(400.0)
    values = np.column_stack([np.sin(2 * np.pi * time / 25), np.full(400, 3.0)])
    fitted = LinearForecaster(context=50, horizon=10, ridge=1e-9).fit(history(values[:300]))
    made = fitted.predict(values[None, 300:350])[0]
    assert np.allclose(made, values[350:360], atol=1e-3)


def test_the_linear_map_refuses_what_it_cannot_use() -> None:
    fitted = LinearForecaster(context=4, horizon=2).fit(history(np.arange(20.0)[:, None]))
    with pytest.raises(InputError, match="fitted on 4"):
        fitted.predict(np.zeros((1, 5, 1)))
    with pytest.raises(InputError, match="missing"):
        fitted.predict(np.full((1, 4, 1), np.nan))
    with pytest.raises(InputError, match="every training window"):
        LinearForecaster(context=4, horizon=2).fit(history(np.where(np.arange(20) % 3, 1.0, np.nan)[:, None]))
    with pytest.raises(InputError, match="rows, a window needs"):
        LinearForecaster(context=40, horizon=2).fit(history(np.arange(20.0)[:, None]))
    with pytest.raises(ConfigError):
        LinearForecaster(context=4, horizon=2, ridge=-1)


@pytest.mark.parametrize("season", [1, 3, 6])
def test_a_repeated_season_is_also_a_map(season: int) -> None:
    context = np.random.default_rng(0).standard_normal((4, 6, 2))
    naive = SeasonalNaive(context=6, horizon=8).fit(history(context[0], season=season))
    made = FittedLinear(weights_LH=repeat_map(6, 8, season)).predict(context)
    assert np.allclose(made, naive.predict(context), atol=1e-9)
    with pytest.raises(InputError, match="season of 7"):
        repeat_map(6, 8, 7)


def test_the_best_base_is_that_of_the_validation_rows() -> None:
    rng, time = np.random.default_rng(0), np.arange(400)
    walk = np.cumsum(rng.standard_normal(400))
    week = np.tile(rng.standard_normal(7), 58)[:400] + 0.01 * rng.standard_normal(400)
    falling = np.sin(2 * np.pi * time / 25) + 0.02 * rng.standard_normal(400)
    for values, season, expected in ((walk, 7, "last"), (week, 7, "season"), (falling, 7, "linear")):
        parts = History(train_TC=values[:300, None], validate_TC=values[300:, None], season=season)
        # Of a short training part the closed form over 30 steps has little to learn from.
        context = 60 if expected == "linear" else 7
        parts = replace(parts, train_TC=parts.train_TC[-90:]) if expected != "linear" else parts
        assert np.array_equal(base_map("best", parts, context, 10), base_map(expected, parts, context, 10)), expected
    alone = History(train_TC=walk[:, None], validate_TC=walk[:0, None], season=7)
    assert np.array_equal(base_map("best", alone, 7, 3), base_map("linear", alone, 7, 3))
    with pytest.raises(ConfigError, match="base is 'worst'"):
        base_map("worst", alone, 7, 3)  # type: ignore[arg-type]


def test_naive2_recovers_a_multiplicative_season() -> None:
    indices = np.array([0.5, 1.0, 1.5, 1.0])
    series = 10 * np.tile(indices, 12)
    assert np.allclose(seasonal_indices(series, 4), indices)
    assert np.allclose(naive2(series[:-1], 5, 4), [10, 5, 10, 15, 10])
    assert naive2(np.full(20, 3.0), 2, 4).tolist() == [3, 3]
    with pytest.raises(InputError):
        naive2(np.array([np.nan]), 2, 4)
    with pytest.raises(InputError):
        seasonal_indices(series[:7], 4)


@pytest.mark.parametrize("horizon", sorted(ETTH1))
def test_the_rows_of_etth1_over_all_windows(horizon: int) -> None:
    path = DATA / "ett" / "ETTh1.csv"
    if not path.is_file():
        pytest.skip("ETTh1 is not here")
    prepared = prepare(np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8)), ETT_HOURLY, season=24)
    naive = backtest(SeasonalNaive(context=96, horizon=horizon), prepared)
    linear = backtest(LinearForecaster(context=96, horizon=horizon), prepared)
    naive_mse, naive_mae, rlinear_mse = ETTH1[horizon]
    assert (round(naive.mse, 3), round(naive.mae, 3)) == (naive_mse, naive_mae)
    # RLinear learns the same map by gradient descent with early stopping, which helps it nowhere by more than this.
    assert linear.mse <= rlinear_mse + 0.001
    assert linear.mse == pytest.approx(rlinear_mse, rel=0.05)


def test_the_linear_map_loses_to_the_last_value_on_exchange_rates() -> None:
    path = DATA / "exchange_rate" / "exchange_rate.txt.gz"
    if not path.is_file():
        pytest.skip("the exchange rates are not here")
    with gzip.open(path) as file:
        rates = np.loadtxt(file, delimiter=",")
    prepared = prepare(rates, split_by_share(len(rates)))
    naive = backtest(SeasonalNaive(context=96, horizon=96), prepared)
    linear = backtest(LinearForecaster(context=96, horizon=96), prepared)
    assert naive.num_windows == linear.num_windows == 1422
    assert round(naive.mse, 3) == 0.081  # published for the repeated last value (arXiv:2205.13504)
    assert naive.mse < linear.mse


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto-ets", "auto-theta"])
def test_classical_models_forecast_a_season_and_a_constant(name: str) -> None:
    pytest.importorskip("statsforecast")
    time = np.arange(60.0)
    values = np.column_stack([10 + np.tile([0.0, 2.0, 1.0, -3.0], 15) + 0.01 * time, np.full(60, 2.0)])
    fitted = ClassicalForecaster(name=name, context=56, horizon=4).fit(history(values[:56], season=4))
    made = fitted.predict(values[None, :56])[0]
    assert np.allclose(made, values[56:], atol=0.3)
    with pytest.raises(ConfigError):
        ClassicalForecaster(name="auto-guess", context=4, horizon=1)

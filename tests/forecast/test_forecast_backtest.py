"""Windows, scaling and the order of things; planted leaks are found."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.forecast.backtest import LeakError, backtest, prepare, refuse_leak
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.conformal import calibrate
from fullduplex.forecast.scale import fit_scaler
from fullduplex.forecast.windows import ETT_HOURLY, History, Split, cut_windows, num_windows, split_by_share

SPLIT = Split(train=200, validate=60, test=80)


def waves(rows: int = 340, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(rows)[:, None]
    return np.sin(2 * np.pi * time / np.array([12.0, 24.0])) + 0.1 * rng.standard_normal((rows, 2))


@pytest.mark.parametrize(("horizon", "count"), [(96, 2785), (192, 2689), (336, 2545), (720, 2161)])
def test_every_test_window_of_ett_is_scored(horizon: int, count: int) -> None:
    """The released code drops the last batch: of 2785 windows it scores 2688."""
    rows = np.zeros((ETT_HOURLY.past + ETT_HOURLY.test, 1))
    rows[:, 0] = np.arange(len(rows)) % 7
    result = backtest(SeasonalNaive(context=96, horizon=horizon), prepare(rows, ETT_HOURLY, season=7))
    assert (result.num_windows, result.mse) == (count, 0.0)


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
def test_windows_hold_the_rows_in_order(rows: int, context: int, horizon: int) -> None:
    values = np.arange(float(rows))[:, None]
    if num_windows(rows, context, horizon) < 1:
        with pytest.raises(InputError):
            cut_windows(values, context, horizon)
        return
    seen, target = cut_windows(values, context, horizon)
    for index in range(num_windows(rows, context, horizon)):
        joined = np.concatenate([seen[index, :, 0], target[index, :, 0]])
        assert joined.tolist() == list(range(index, index + context + horizon))


def test_shares_are_those_of_the_field() -> None:
    assert split_by_share(7588) == Split(train=5311, validate=760, test=1517)  # the exchange rates
    for shares in ((0.9, 0.2), (0.0, 0.2)):
        with pytest.raises(InputError):
            split_by_share(100, *shares)


def test_the_scaler_knows_the_training_rows_only() -> None:
    values = waves()
    values[SPLIT.train :] += 100
    prepared = prepare(values, SPLIT)
    assert np.allclose(prepared.scaled_TC[: SPLIT.train].mean(axis=0), 0)
    assert np.allclose(prepared.scaled_TC[: SPLIT.train].std(axis=0), 1)
    assert prepared.history.past_TC.shape == (SPLIT.past, 2)


def test_scaling_and_back_and_channels_that_never_move() -> None:
    values = np.column_stack([np.arange(9.0), np.full(9, 0.1)])
    scaler = fit_scaler(values)
    assert scaler.std_C[1] == 1
    assert np.allclose(scaler.unscale(scaler.scale(values)), values)
    for bad in (np.zeros((0, 2)), np.full((3, 1), np.nan), np.array([[np.inf]])):
        with pytest.raises(InputError):
            fit_scaler(bad)
    with pytest.raises(InputError, match="columns changed"):
        scaler.scale(np.zeros((3, 3)))


def forecasts(values: np.ndarray, rows_of_scaler: int, rows_of_fit: int) -> np.ndarray:
    scaled = fit_scaler(values[:rows_of_scaler]).scale(values)
    fitted = LinearForecaster(context=24, horizon=6).fit(
        History(train_TC=scaled[:rows_of_fit], validate_TC=scaled[:0], season=12)
    )
    return fitted.predict(scaled[None, SPLIT.past - 24 : SPLIT.past])


def test_planted_leaks_are_found_and_the_honest_pipeline_passes() -> None:
    values = waves()
    refuse_leak(lambda rows: forecasts(rows, SPLIT.train, SPLIT.train), values, SPLIT.past)
    with pytest.raises(LeakError, match="only later rows"):
        refuse_leak(lambda rows: forecasts(rows, len(rows), SPLIT.train), values, SPLIT.past)  # scaler on all rows
    with pytest.raises(LeakError):
        refuse_leak(lambda rows: forecasts(rows, SPLIT.train, len(rows)), values, SPLIT.past)  # fitted on all rows
    with pytest.raises(InputError):
        refuse_leak(lambda rows: rows, values, 0)


def test_our_own_preparation_leaks_nothing() -> None:
    def pipeline(values: np.ndarray) -> np.ndarray:
        prepared = prepare(values, SPLIT, season=12)
        fitted = LinearForecaster(context=24, horizon=6).fit(prepared.history)
        return fitted.predict(prepared.scaled_TC[None, SPLIT.past - 24 : SPLIT.past])

    refuse_leak(pipeline, waves(), SPLIT.past)


@dataclass(frozen=True)
class Broken:
    context: int = 24
    horizon: int = 6
    name: str = "broken"

    def fit(self, history: History) -> "Broken":
        return self

    def predict(self, context_NLC: np.ndarray) -> np.ndarray:
        return np.full((len(context_NLC), 6, context_NLC.shape[2]), np.nan)


def test_missing_forecasts_and_short_series_are_refused() -> None:
    prepared = prepare(waves(), SPLIT)
    with pytest.raises(InputError, match="broken"):
        backtest(Broken(), prepared)
    with pytest.raises(InputError, match="shorten --horizon"):
        backtest(LinearForecaster(context=24, horizon=81), prepared)
    with pytest.raises(InputError, match="split"):
        prepare(waves(100), SPLIT)
    with pytest.raises(InputError):
        Split(train=0, validate=1, test=1)


def test_missing_observations_do_not_count() -> None:
    values = waves()
    whole = backtest(SeasonalNaive(context=24, horizon=6), prepare(values, SPLIT, season=12))
    values[SPLIT.past + 5 :: 7] = np.nan
    holed = backtest(SeasonalNaive(context=24, horizon=6), prepare(values, SPLIT, season=12))
    assert holed.num_windows == whole.num_windows
    assert holed.mse == pytest.approx(whole.mse, rel=0.3)
    assert holed.mse != whole.mse


def test_conformal_intervals_cover_what_they_say() -> None:
    """For exchangeable errors the coverage of 99 calibration points at 0.9 is Beta(90, 10): mean 0.9."""
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(300):
        errors = rng.standard_normal((99, 1, 1))
        intervals = calibrate(errors, np.zeros((99, 1, 1)), 0.9)
        shares.append(float((np.abs(rng.standard_normal(500)) <= intervals.width_HC[0, 0]).mean()))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.008)  # 3 deviations of the mean: 0.03 * 3 / sqrt(300) + sampling


def test_conformal_ranks_by_hand_and_too_few_errors() -> None:
    errors = np.arange(1.0, 10.0)[:, None, None]
    assert calibrate(errors, np.zeros_like(errors), 0.9).width_HC[0, 0] == 9  # ceil(10 * 0.9) = 9th of 9
    assert calibrate(errors, np.zeros_like(errors), 0.5).width_HC[0, 0] == 5
    with pytest.raises(InputError, match="need 9 or more"):
        calibrate(errors[:8], np.zeros((8, 1, 1)), 0.9)
    lower, upper = calibrate(errors, np.zeros_like(errors), 0.5).around(np.zeros((1, 1)))
    assert (lower[0, 0], upper[0, 0]) == (-5, 5)
    with pytest.raises(InputError):
        calibrate(errors, errors, 1.0)

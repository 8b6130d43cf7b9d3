"""The verified faults of the released TimeMixer's evaluation; those of its model are in ..._model_faults.py.

Each test puts one question twice: to our code, which passes, and to a stand-in with the released behaviour, which fails:
so no check is one that cannot fail. Axes: N windows, C channels, L context, H horizon, T rows, V variates.
"""

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from fullduplex.forecast import metrics  # noqa: E402
from fullduplex.forecast.anomaly.detector import ChimeraDetector, DetectorConfig  # noqa: E402
from fullduplex.forecast.anomaly.measures import best_f1, point_adjusted_f1  # noqa: E402
from fullduplex.forecast.backtest import backtest, prepare  # noqa: E402
from fullduplex.forecast.baselines import SeasonalNaive  # noqa: E402
from fullduplex.forecast.chimera.coupled import Fit  # noqa: E402
from fullduplex.forecast.epochs import EpochsConfig  # noqa: E402
from fullduplex.forecast.timemixer.config import TimeMixerConfig  # noqa: E402
from fullduplex.forecast.timemixer.fit import TimeMixerForecaster  # noqa: E402
from fullduplex.forecast.timemixer.panel import PanelConfig, fit_panel, newest_contexts  # noqa: E402
from fullduplex.forecast.windows import ETT_HOURLY, Split, cut_windows  # noqa: E402


def refused(check: Callable[[], None]) -> None:
    """The check says no."""
    with pytest.raises(AssertionError):
        check()


# 4. The released loader drops the last batch of the test windows.


def scored_here(values_TC: np.ndarray) -> tuple[int, float]:
    result = backtest(SeasonalNaive(context=96, horizon=96), prepare(values_TC, ETT_HOURLY))
    return result.num_windows, result.mse


def scored_without_the_last_batch(values_TC: np.ndarray) -> tuple[int, float]:
    prepared = prepare(values_TC, ETT_HOURLY)
    seen_NLC, target_NHC = cut_windows(prepared.scaled_TC[ETT_HOURLY.past - 96 :], 96, 96)
    full = len(seen_NLC) // 128 * 128
    return full, float(((target_NHC - seen_NLC[:, -1:]) ** 2)[:full].mean())


def counts_every_window(score: Callable[[np.ndarray], tuple[int, float]]) -> None:
    values_TC = np.random.default_rng(0).standard_normal((ETT_HOURLY.past + ETT_HOURLY.test, 1))
    changed_TC = values_TC.copy()
    changed_TC[-1] += 3  # a row of the last window alone
    assert score(values_TC)[0] == 2785
    assert score(changed_TC)[1] != score(values_TC)[1]


def test_fault_04_no_test_window_is_dropped() -> None:
    counts_every_window(scored_here)
    assert scored_without_the_last_batch(np.zeros((14_400, 1)))[0] == 2688  # what the published figures are of
    refused(lambda: counts_every_window(scored_without_the_last_batch))


# 5. The released anomaly task: stops by the test loss, takes its threshold from the test scores too, scores rows of
# overlapping windows once for each, and adjusts points.

QUICK = DetectorConfig(fit=Fit(num_updates=8, batch=8, num_steps=32))


def calm_then_wild() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    past_TV, calm_TV = (0.1 * generator.standard_normal((rows, 1)) for rows in (200, 100))
    calm_TV[50] += 3
    wild_TV = calm_TV.copy()
    wild_TV[60:] += 40 * generator.standard_normal((40, 1))
    return past_TV, calm_TV, wild_TV


def flags_here(past_TV: np.ndarray, rows_TV: np.ndarray) -> np.ndarray:
    return ChimeraDetector(QUICK).fit(past_TV).score(rows_TV) >= 5


def flags_by_test_scores(past_TV: np.ndarray, rows_TV: np.ndarray) -> np.ndarray:
    detector = ChimeraDetector(QUICK).fit(past_TV)
    scores_T = detector.score(rows_TV)
    return scores_T >= np.percentile(np.concatenate([np.zeros(len(past_TV)), scores_T]), 95)


def flags_of_overlapping_windows(past_TV: np.ndarray, rows_TV: np.ndarray) -> np.ndarray:
    views_NW = np.lib.stride_tricks.sliding_window_view(flags_here(past_TV, rows_TV), 10)
    return views_NW.reshape(-1)


def knows_no_later_row(flags: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    past_TV, calm_TV, wild_TV = calm_then_wild()
    before_T, after_T = flags(past_TV, calm_TV), flags(past_TV, wild_TV)
    assert len(before_T) == len(calm_TV)
    assert before_T[50]
    assert np.array_equal(before_T[:60], after_T[:60])


TWO_PARTS = Split(train=150, validate=40, test=60)
TRIED = (1, 8)  # epochs


def chosen_by(part: slice) -> Callable[[np.ndarray], np.ndarray]:
    """Scale, fit after few and after many epochs, keep the better one on the rows of `part`, forecast."""
    config = TimeMixerConfig(context=16, horizon=4, num_channels=1, num_scales=1, width=4, hidden=8)

    def pipeline(values_TC: np.ndarray) -> np.ndarray:
        prepared, found = prepare(values_TC, TWO_PARTS), []
        seen_NLC, target_NHC = cut_windows(prepared.scaled_TC[part], 16, 4)
        for epochs in TRIED:
            how = EpochsConfig(num_epochs=epochs, batch_size=32)
            fitted = TimeMixerForecaster(config=config, fit_config=how).fit(prepared.history)
            made_NHC = fitted.predict(prepared.scaled_TC[None, TWO_PARTS.past - 16 : TWO_PARTS.past])
            found.append((float(((fitted.predict(seen_NLC) - target_NHC) ** 2).mean()), made_NHC))
        return min(found, key=lambda pair: pair[0])[1]

    return pipeline


def forecasts_the_same_before_any_future(pipeline: Callable[[np.ndarray], np.ndarray]) -> None:
    generator, time = np.random.default_rng(1), np.arange(250)
    wave_TC = (np.sin(2 * np.pi * time / 8) + 0.1 * generator.standard_normal(250))[:, None]
    turned_TC = wave_TC.copy()
    turned_TC[TWO_PARTS.past :] = generator.standard_normal((60, 1))  # where a wave is a worse guess than the mean
    assert np.array_equal(pipeline(wave_TC), pipeline(turned_TC))


def test_fault_05_scores_thresholds_and_stops_know_no_test_row() -> None:
    knows_no_later_row(flags_here)
    for faulty in (flags_by_test_scores, flags_of_overlapping_windows):
        refused(lambda faulty=faulty: knows_no_later_row(faulty))
    forecasts_the_same_before_any_future(chosen_by(slice(TWO_PARTS.train - 16, TWO_PARTS.past)))
    refused(lambda: forecasts_the_same_before_any_future(chosen_by(slice(TWO_PARTS.past, None))))
    truth_T = np.zeros(2000, np.int64)
    truth_T[900:1100] = 1
    random_T = np.random.default_rng(1).random(2000)
    assert best_f1(random_T, truth_T) < 0.3
    assert point_adjusted_f1(random_T, truth_T).random > 0.9  # so it is shown beside that, never alone


# 6. The released M4 task stops by the competition's test values.

PANEL = TimeMixerConfig(context=16, horizon=4, num_channels=1, num_scales=1, width=4, hidden=8)


def panel() -> tuple[list[np.ndarray], np.ndarray]:
    generator = np.random.default_rng(0)
    series = [
        10 + np.sin(2 * np.pi * np.arange(60) / 8 + k) + 0.3 * generator.standard_normal(60) for k in range(6)
    ]  # fmt: skip
    return [values_T[:-4] for values_T in series], np.stack([values_T[-4:] for values_T in series])


def forecast_here(past: list[np.ndarray], _future_NH: np.ndarray) -> np.ndarray:
    fitted = fit_panel(past, PANEL, PanelConfig(num_steps=20, batch_size=32))
    return fitted.predict(newest_contexts(past, 16))[..., 0]


def forecast_stopped_by_the_test(past: list[np.ndarray], future_NH: np.ndarray) -> np.ndarray:
    tried = [
        fit_panel(past, PANEL, PanelConfig(num_steps=steps, batch_size=32)).predict(newest_contexts(past, 16))[..., 0]
        for steps in (1, 60)
    ]
    return min(tried, key=lambda made_NH: metrics.smape(future_NH, made_NH))


def forecasts_the_same_whatever_comes(forecast: Callable[[list[np.ndarray], np.ndarray], np.ndarray]) -> None:
    past, future_NH = panel()
    early_NH = fit_panel(past, PANEL, PanelConfig(num_steps=1, batch_size=32)).predict(newest_contexts(past, 16))[
        ..., 0
    ]
    assert np.array_equal(forecast(past, future_NH), forecast(past, early_NH))


def test_fault_06_the_competitions_test_values_choose_nothing() -> None:
    forecasts_the_same_whatever_comes(forecast_here)
    refused(lambda: forecasts_the_same_whatever_comes(forecast_stopped_by_the_test))


# 7. The released percentage error sets every ratio above 5 to 0.


def mape_without_large_ratios(actual: np.ndarray, forecast: np.ndarray) -> float:
    ratios = np.abs((forecast - actual) / actual)
    return float(100 * np.mean(np.where(ratios > 5, 0, ratios)))


def a_worse_forecast_has_a_larger_error(mape: Callable[[np.ndarray, np.ndarray], float]) -> None:
    actual = np.ones(4)
    errors = [mape(actual, actual + np.array([0, 0, 0, off])) for off in (1.0, 4.0, 6.0, 100.0)]
    assert errors == pytest.approx([25, 100, 150, 2500])


def test_fault_07_every_percentage_counts() -> None:
    a_worse_forecast_has_a_larger_error(metrics.mape)
    refused(lambda: a_worse_forecast_has_a_larger_error(mape_without_large_ratios))

"""Inside StatsForecast and sktime, with the real packages."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.forecast.api.choice import TRAINED
from fullduplex.forecast.api.forecaster import SeriesForecaster
from fullduplex.forecast.api.nixtla import NixtlaModel

pandas = pytest.importorskip("pandas")


def frame() -> "pandas.DataFrame":
    time = np.arange(200)
    parts = [
        pandas.DataFrame({"unique_id": name, "ds": pandas.date_range("2026-01-01", periods=200, freq="h"), "y": values})
        for name, values in (("a", 10 + np.sin(2 * np.pi * time / 12)), ("b", 5 + np.cos(2 * np.pi * time / 12)))
    ]
    return pandas.concat(parts, ignore_index=True)


def test_nixtlas_statsforecast_runs_our_models_beside_its_own() -> None:
    statsforecast = pytest.importorskip("statsforecast")
    naive = pytest.importorskip("statsforecast.models").SeasonalNaive(season_length=12)
    models = [
        NixtlaModel("linear", season_length=12, context=24),
        NixtlaModel("seasonal-naive", season_length=12),
        naive,
    ]
    room = statsforecast.StatsForecast(models=models, freq="h")
    made = room.forecast(df=frame(), h=12, level=[90])
    assert list(made.columns[:3]) == ["unique_id", "ds", "linear"]
    assert {"linear-lo-90", "linear-hi-90"} <= set(made.columns)
    expected = 10 + np.sin(2 * np.pi * np.arange(200, 212) / 12)
    assert np.allclose(made[made.unique_id == "a"]["linear"], expected, atol=1e-2)
    assert np.allclose(made["seasonal-naive"], made["SeasonalNaive"], atol=1e-9)
    ours = SeriesForecaster(horizon=12, context=24, season=12).fit(frame().query("unique_id == 'b'")["y"].to_numpy())
    assert np.allclose(made[made.unique_id == "b"]["linear"], ours.predict().mean_HC[:, 0])
    crossed = room.cross_validation(df=frame(), h=6, n_windows=2, step_size=6)
    assert np.abs(crossed["linear"] - crossed["y"]).max() < 0.05
    fitted = statsforecast.StatsForecast(models=[NixtlaModel("linear", horizon=12, context=24)], freq="h").fit(frame())
    assert np.allclose(fitted.predict(h=12)["linear"].to_numpy()[:12], expected, atol=1e-2)


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models_inside_statsforecast(name: str) -> None:
    pytest.importorskip("torch")
    statsforecast = pytest.importorskip("statsforecast")
    model = NixtlaModel(name, season_length=12, context=24, epochs=8, alias="Ours")
    made = statsforecast.StatsForecast(models=[model], freq="h").forecast(df=frame(), h=6, level=[80])
    expected = 10 + np.sin(2 * np.pi * np.arange(200, 206) / 12)
    assert np.abs(made[made.unique_id == "a"]["Ours"].to_numpy() - expected).mean() < 0.3
    assert np.all(made["Ours-lo-80"] <= made["Ours-hi-80"])


def test_nixtlas_conventions_that_do_not_fit_are_refused() -> None:
    model = NixtlaModel("linear", horizon=4, context=8)
    y = np.sin(np.arange(60.0))
    for call, message in (
        (lambda: model.predict(4), "nothing was fitted"),
        (lambda: model.fit(y, np.zeros((60, 1))), "exogenous"),
        (lambda: model.forecast(y, 4, fitted=True), "fitted values"),
        (lambda: model.fit(y).predict(5), "1 to 4"),
        (lambda: model.fit(y[:5]), "5 rows"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    assert model.new().fit(y).predict(2)["mean"].shape == (2,)


@pytest.mark.filterwarnings("ignore")
def test_sktime_fits_predicts_and_gives_intervals() -> None:
    pytest.importorskip("sktime")
    from fullduplex.forecast.api.sktime import SktimeForecaster

    y = frame().pivot(index="ds", columns="unique_id", values="y").asfreq("h")
    one = SktimeForecaster(context=24, season=12).fit(y["a"], fh=[1, 3, 12])
    made = one.predict()
    expected = 10 + np.sin(2 * np.pi * np.array([200, 202, 211]) / 12)
    assert np.allclose(made, expected, atol=1e-2)
    assert list(made.index) == [y.index[-1] + pandas.Timedelta(hours=h) for h in (1, 3, 12)]
    interval = one.predict_interval(coverage=[0.5, 0.9])
    assert interval.shape == (3, 4)
    assert np.all(np.diff(interval.to_numpy()[:, 2:], axis=1) >= 0)
    both = SktimeForecaster(context=24, season=12).fit(y, fh=[1, 2]).predict()
    assert list(both.columns) == ["a", "b"]
    assert np.allclose(both["a"], [*expected[0:1].tolist(), 10 + np.sin(2 * np.pi * 201 / 12)], atol=1e-2)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.filterwarnings("ignore")
def test_trained_models_inside_sktime(name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sktime")
    from fullduplex.forecast.api.sktime import SktimeForecaster

    y = frame().pivot(index="ds", columns="unique_id", values="y").asfreq("h")
    model = SktimeForecaster(model=name, context=24, season=12, epochs=8)
    made = model.fit(y, fh=[1, 2, 6]).predict()
    ahead = np.array([200, 201, 205])
    expected = np.stack([10 + np.sin(2 * np.pi * ahead / 12), 5 + np.cos(2 * np.pi * ahead / 12)], axis=1)
    assert list(made.columns) == ["a", "b"]
    assert np.abs(made.to_numpy() - expected).mean() < 0.3
    assert model.clone().get_params() == model.get_params()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sktimes_own_checks_pass() -> None:
    """Its conformance suite, the checks of fit, predict and intervals."""
    checks = pytest.importorskip("sktime.utils.estimator_checks")
    from fullduplex.forecast.api.sktime import SktimeForecaster

    names = [
        "test_constructor",
        "test_clone",
        "test_predict_time_index",
        "test_predict_interval",
        "test_y_multivariate",
    ]
    found = checks.check_estimator(SktimeForecaster, raise_exceptions=True, tests_to_run=names)
    assert found
    assert set(found.values()) == {"PASSED"}

"""Errors against closed forms, other libraries, and the published rows of the M4 competition."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.forecast import metrics
from fullduplex.forecast.baselines import naive2
from fullduplex.forecast.series import read_ragged_rows

M4 = Path(__file__).parents[3] / "shared" / "data" / "m4"
# Naive, seasonal naive and Naive 2 as the competition published them: sMAPE and MASE, to three decimals.
M4_ROWS = {
    ("Hourly", 24): {"naive": (43.003, 11.608), "snaive": (13.912, 1.193), "naive2": (18.383, 2.395)},
    ("Weekly", 1): {"naive": (9.161, 2.777), "snaive": (9.161, 2.777), "naive2": (9.161, 2.777)},
}


def test_closed_forms() -> None:
    actual, forecast = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 1.0])
    assert metrics.mse(actual, forecast) == pytest.approx(10 / 3)
    assert metrics.mae(actual, forecast) == pytest.approx(4 / 3)
    assert metrics.smape(actual, forecast) == pytest.approx(200 * (1 / 3 + 0 + 3 / 5) / 3)
    # The past moves by 1 a step, so its naive error is 1.
    assert metrics.mase(actual, forecast, np.arange(9.0), 1) == pytest.approx(4 / 3)
    assert metrics.owa(20.0, 3.0, 10.0, 2.0) == pytest.approx(1.75)
    assert metrics.coverage(actual, forecast - 1, forecast + 1) == pytest.approx(2 / 3)


def test_no_large_percentage_is_dropped() -> None:
    """The released code of TimeMixer sets every ratio above 5 to 0 before it averages."""
    assert metrics.mape(np.array([1.0, 1.0]), np.array([11.0, 1.0])) == pytest.approx(500.0)


def test_missing_observations_are_left_out_and_missing_forecasts_refused() -> None:
    actual = np.array([1.0, np.nan, 3.0])
    assert metrics.mae(actual, np.array([2.0, 7.0, 3.0])) == pytest.approx(0.5)
    with pytest.raises(InputError, match="missing or infinite"):
        metrics.mae(actual, np.array([2.0, 7.0, np.nan]))
    with pytest.raises(InputError, match="no observation"):
        metrics.mae(np.full(2, np.nan), np.zeros(2))
    with pytest.raises(InputError, match="same shape"):
        metrics.mse(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.mape(np.zeros(2), np.ones(2)),
        lambda: metrics.mase(np.ones(2), np.ones(2), np.ones(9), 1),
        lambda: metrics.mase(np.ones(2), np.ones(2), np.arange(3.0), 3),
        lambda: metrics.quantile_loss(np.ones(2), np.ones(2), 1.0),
        lambda: metrics.crps_ensemble(np.ones(2), np.ones((3, 4))),
        lambda: metrics.crps_quantiles(np.ones(2), np.ones((2, 3)), np.array([0.1, 0.9])),
        lambda: metrics.owa(1.0, 1.0, 0.0, 1.0),
    ],
)
def test_what_means_nothing_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_quantile_loss_and_crps_equal_scoringrules(level: float) -> None:
    peer = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(0)
    actual, forecast, members = rng.normal(size=50), rng.normal(size=50), rng.normal(size=(50, 21))
    ours = metrics.quantile_loss(actual, forecast, level)
    assert ours == pytest.approx(float(np.mean(peer.quantile_score(actual, forecast, level))), abs=1e-9)
    theirs = float(np.mean(peer.crps_ensemble(actual, members, estimator="nrg")))
    assert metrics.crps_ensemble(actual, members) == pytest.approx(theirs, abs=1e-9)


def test_crps_of_many_quantiles_tends_to_that_of_the_normal_distribution() -> None:
    """CRPS of N(0, 1) at 0 is 2 phi(0) - 1 / sqrt(pi) (Gneiting and Raftery 2007, equation 21)."""
    statistics = pytest.importorskip("scipy.stats")
    levels = (np.arange(2000) + 0.5) / 2000
    found = metrics.crps_quantiles(np.zeros(1), statistics.norm.ppf(levels)[None], levels)
    assert found == pytest.approx(2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi), abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.data())
def test_smape_is_symmetric_and_bounded(values: list[float], data: st.DataObject) -> None:
    actual = np.array(values)
    forecast = np.array(data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(values), max_size=len(values))))
    assert metrics.smape(actual, forecast) == pytest.approx(metrics.smape(forecast, actual))
    assert 0 <= metrics.smape(actual, forecast) <= 200 + 1e-9


@pytest.mark.parametrize(("group", "season"), sorted(M4_ROWS))
def test_the_naive_rows_of_m4_are_the_published_ones(group: str, season: int) -> None:
    if not M4.is_dir():
        pytest.skip("the M4 files are not here")
    past, future = (read_ragged_rows(M4 / f"{group}-{part}.csv") for part in ("train", "test"))
    assert len(past) == {"Hourly": 414, "Weekly": 359}[group]
    methods = {
        "naive": lambda series, horizon: np.full(horizon, series[-1]),
        "snaive": lambda series, horizon: np.resize(series[-season:], horizon),
        "naive2": lambda series, horizon: naive2(series, horizon, season),
    }
    for name, (published_smape, published_mase) in M4_ROWS[group, season].items():
        made = {key: methods[name](past[key], future[key].size) for key in past}
        found_smape = np.mean([metrics.smape(future[key], made[key]) for key in past])
        found_mase = np.mean([metrics.mase(future[key], made[key], past[key], season) for key in past])
        assert (round(float(found_smape), 3), round(float(found_mase), 3)) == (published_smape, published_mase), name


def test_errors_equal_those_of_utilsforecast() -> None:
    losses = pytest.importorskip("utilsforecast.losses")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(1)
    past, actual, forecast = rng.normal(size=60), rng.normal(size=12), rng.normal(size=12)
    table = pandas.DataFrame({"unique_id": "a", "ds": range(60, 72), "y": actual, "m": forecast})
    older = pandas.DataFrame({"unique_id": "a", "ds": range(60), "y": past})
    assert metrics.mase(actual, forecast, past, 4) == pytest.approx(
        losses.mase(table, ["m"], seasonality=4, train_df=older)["m"][0], abs=1e-9
    )
    # Its sMAPE is a share of |a| + |f|; M4's is 200 times that.
    assert metrics.smape(actual, forecast) == pytest.approx(200 * losses.smape(table, ["m"])["m"][0], abs=1e-9)

"""The object with fit, predict, save and load; its intervals on rows it never saw; and input that cannot be used."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.forecast.api.choice import TRAINED
from fullduplex.forecast.api.forecaster import SeriesForecaster
from fullduplex.forecast.backtest import backtest, prepare
from fullduplex.forecast.baselines import LinearForecaster
from fullduplex.forecast.series import Series
from fullduplex.forecast.windows import Split, filled


def waves(rows: int = 400, seed: int = 0) -> np.ndarray:
    rng, time = np.random.default_rng(seed), np.arange(rows)[:, None]
    return np.sin(2 * np.pi * time / np.array([12.0, 24.0])) + 0.1 * rng.standard_normal((rows, 2))


def test_fit_returns_itself_and_predict_continues_the_wave() -> None:
    values = waves(424)
    series = Series(values_TC=values[:400], names=("a", "b"), times=None, frequency="3600s")
    model = SeriesForecaster(horizon=24)
    assert model.fit(series) is model
    made = model.predict()
    assert made.mean_HC.shape == (24, 2)
    assert np.abs(made.mean_HC - values[400:]).mean() < 0.15
    assert np.all(made.lower_HC < made.mean_HC)
    assert np.all(made.mean_HC < made.upper_HC)
    assert np.array_equal(model.predict(6).mean_HC, made.mean_HC[:6])
    later = model.predict(6, values[10:400])
    assert np.allclose(later.mean_HC, made.mean_HC[:6])


@pytest.mark.parametrize("name", ["seasonal-naive", "linear", *TRAINED])
def test_saved_and_loaded_forecasts_are_bit_equal(name: str, tmp_path: Path) -> None:
    if name in TRAINED:
        pytest.importorskip("torch")
    model = SeriesForecaster(horizon=6, model=name, context=24, season=12, epochs=1).fit(waves())
    model.save(tmp_path / "m")
    loaded = SeriesForecaster.load(tmp_path / "m")
    for rows in (None, waves(60, 3)):
        before, after = model.predict(5, rows), loaded.predict(5, rows)
        for part in ("mean_HC", "lower_HC", "upper_HC"):
            assert np.array_equal(getattr(before, part), getattr(after, part))
    (tmp_path / "m" / "arrays.npz").write_bytes(b"PK no")
    with pytest.raises(FormatError, match="holds no forecaster"):
        SeriesForecaster.load(tmp_path / "m")
    with pytest.raises(FormatError):
        SeriesForecaster.load(tmp_path / "nothing")


def test_intervals_hold_what_they_say_on_windows_never_seen() -> None:
    """An autoregression, whose errors are alike at all times: nine of ten later values lie inside, step by step too."""
    rng, values = np.random.default_rng(5), np.zeros(9_000)
    for t in range(1, values.size):
        values[t] = 0.8 * values[t - 1] + rng.standard_normal()
    model = SeriesForecaster(horizon=8, context=24).fit(values[:4_000])
    held = []
    for start in range(4_000, 8_900, 12):
        made = model.predict(8, values[start - 24 : start, None])
        truth = values[start : start + 8, None]
        held.append((made.lower_HC <= truth) & (truth <= made.upper_HC))
    shares = np.mean(held, axis=0)
    # 493 calibration windows that overlap and 409 tests: three deviations are 0.06.
    assert shares.mean() == pytest.approx(0.9, abs=0.03)
    assert np.abs(shares - 0.9).max() < 0.06


def test_the_backtest_finds_the_same_coverage() -> None:
    rng, values = np.random.default_rng(6), np.zeros((6_000, 1))
    for t in range(1, len(values)):
        values[t] = 0.8 * values[t - 1] + rng.standard_normal()
    prepared = prepare(values, Split(train=3_000, validate=1_500, test=1_500))
    for level in (0.5, 0.9):
        assert backtest(LinearForecaster(context=24, horizon=8), prepared, level=level).coverage == pytest.approx(
            level, abs=0.04
        )


def test_filled_takes_the_season_before_then_the_last_value_and_never_a_later_one() -> None:
    nan = np.nan
    rows = np.array([nan, 1.0, 2.0, 3.0, nan, nan, 6.0, nan])[None, :, None]
    assert filled(rows, 3)[0, :, 0].tolist() == [1, 1, 2, 3, 1, 2, 6, 1]
    assert filled(rows, 1)[0, :, 0].tolist() == [1, 1, 2, 3, 3, 3, 6, 6]
    whole = np.ones((1, 3, 1))
    assert filled(whole) is whole
    changed = rows.copy()
    changed[0, 6] = 99
    assert filled(changed, 3)[0, :6].tolist() == filled(rows, 3)[0, :6].tolist()
    for bad in (np.full((1, 4, 1), nan), np.array([[[np.inf], [1.0]]])):
        with pytest.raises(InputError):
            filled(bad)


@pytest.mark.parametrize("name", ["linear", *TRAINED])
def test_missing_values_in_the_past_and_in_the_context(name: str) -> None:
    if name in TRAINED:
        pytest.importorskip("torch")
    values = waves(424)
    holed = values[:400].copy()
    holed[np.random.default_rng(0).random(holed.shape) < 0.005] = np.nan
    holed[-5, 0] = np.nan
    whole, some = (
        SeriesForecaster(horizon=6, model=name, context=24, season=24, epochs=4).fit(rows).predict().mean_HC
        for rows in (values[:400], holed)
    )
    assert np.abs(some - whole).mean() < 0.3
    assert np.abs(some - values[400:406]).mean() < 0.45


@pytest.mark.parametrize("name", ["linear", "seasonal-naive", *TRAINED])
def test_a_constant_series_goes_on_without_width(name: str) -> None:
    if name in TRAINED:
        pytest.importorskip("torch")
    made = SeriesForecaster(horizon=4, model=name, context=8, epochs=1).fit(np.full(80, 7.0)).predict()
    assert np.allclose(made.mean_HC, 7.0, atol=0.05)
    assert np.allclose(made.upper_HC - made.lower_HC, 0.0, atol=0.05)


@pytest.mark.parametrize("name", ["linear", "seasonal-naive", *TRAINED])
def test_channels_that_changed_since_the_fit_are_refused(name: str) -> None:
    if name in TRAINED:
        pytest.importorskip("torch")
    model = SeriesForecaster(horizon=4, model=name, context=8, epochs=1).fit(waves(80))
    for rows in (waves(80)[:, :1], np.column_stack([waves(80), waves(80)])):
        with pytest.raises(InputError, match="columns changed"):
            model.predict(4, rows)


@dataclass(frozen=True)
class Other:
    """A forecaster of another horizon."""

    context: int = 4
    horizon: int = 9
    name: str = "other"

    def fit(self, history: object) -> "Other":
        return self

    def predict(self, context_NLC: np.ndarray) -> np.ndarray:
        return np.zeros((len(context_NLC), self.horizon, context_NLC.shape[2]))


def test_what_cannot_be_is_refused() -> None:
    fitted = SeriesForecaster(horizon=6, context=24).fit(waves())
    for call, message in (
        (lambda: SeriesForecaster(horizon=0), "expected 1 or more"),
        (lambda: SeriesForecaster(horizon=6).predict(), "nothing was fitted"),
        (lambda: SeriesForecaster(horizon=6).fit(np.zeros((1, 2))), "1 rows for a horizon of 6"),
        (lambda: SeriesForecaster(horizon=300).fit(waves()), "more than twice"),
        (lambda: SeriesForecaster(horizon=6).fit(np.zeros((2, 2, 2))), "expected \\(time"),
        (lambda: SeriesForecaster(horizon=6).fit(np.full((90, 1), np.nan)), "no value"),
        (lambda: SeriesForecaster(horizon=6).fit(np.where(np.arange(90) == 3, np.inf, 1.0)), "infinite"),
        (lambda: SeriesForecaster(horizon=6, context=399).fit(waves()), "shorten the context"),
        (lambda: SeriesForecaster(horizon=6, model="oracle").fit(waves()), "no model 'oracle'"),
        (lambda: SeriesForecaster(horizon=6, model=Other()).fit(waves()), "forecasts 9 steps"),
        (lambda: SeriesForecaster(horizon=9, model=Other()).fit(waves()).save(Path("x")), "no way to be saved"),
        (lambda: fitted.predict(7), "1 to 6"),
        (lambda: fitted.predict(6, waves()[:, :1]), "columns changed"),
        (lambda: fitted.predict(6, waves(9)), "this model sees 24"),
        (lambda: fitted.predict(6, np.full((30, 2), np.nan)), "missing in a whole context"),
    ):
        with pytest.raises(InputError, match=message):
            call()

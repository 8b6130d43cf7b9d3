"""Chimeras to use: fit, forecast, step, classify, keep; and what they refuse."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.forecast.backtest import backtest, prepare, refuse_leak
from fullduplex.forecast.baselines import Base, FittedLinear, base_map
from fullduplex.forecast.chimera.classify import ChimeraClassifier, ClassifierConfig
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.estimator import ChimeraModel, ModelConfig
from fullduplex.forecast.chimera.fit import CHIMERA_EPOCHS, ChimeraForecaster, load_chimera
from fullduplex.forecast.chimera.patches import PatchConfig
from fullduplex.forecast.classify.cases import read_cases
from fullduplex.forecast.fitted import FittedNetwork
from fullduplex.forecast.scale import fit_scaler
from fullduplex.forecast.series import Series
from fullduplex.forecast.windows import History, Split

TINY = ChimeraConfig(width=4, expand=1, order=2, num_taps=2)
MODEL = ModelConfig(layer=TINY, num_updates=15, batch=4, num_steps=24, num_ahead=6)


def waves(rows: int = 300, seed: int = 0) -> np.ndarray:
    time = np.arange(rows)
    pair = np.stack([np.sin(2 * np.pi * time / 12), 5 + 2 * np.cos(2 * np.pi * time / 12)], axis=1)
    return pair + 0.05 * np.random.default_rng(seed).standard_normal(pair.shape)


def forecaster(epochs: int = 2, folder=None, report=None, **options) -> ChimeraForecaster:
    config = PatchConfig(**{"num_variates": 2, "context": 24, "horizon": 6, "patch": 4, "layer": TINY, **options})
    fit = replace(CHIMERA_EPOCHS, num_epochs=epochs, batch_size=16, peak_lr=1e-2)
    return ChimeraForecaster(config=config, fit_config=fit, folder=folder, report=report)


class Once:
    """A forecaster whose fitted model stays at hand after a backtest."""

    def __init__(self, inner: ChimeraForecaster) -> None:
        self.inner, self.kept = inner, []
        self.name, self.context, self.horizon = inner.name, inner.context, inner.horizon

    def fit(self, history: History) -> FittedNetwork:
        self.kept.append(self.inner.fit(history))
        return self.kept[-1]


@pytest.fixture(scope="module")
def fitted() -> ChimeraModel:
    return ChimeraModel(MODEL).fit(waves())


@pytest.mark.parametrize("decoder", ["direct", "closed"])
@pytest.mark.parametrize("base", ["none", "linear"])
def test_every_forecaster_learns_a_wave_and_is_kept(decoder: str, base: str, tmp_path) -> None:
    made = Once(forecaster(epochs=3, decoder=decoder, base=base, horizon=7))
    prepared = prepare(waves(400), Split(train=240, validate=60, test=60), season=12)
    result = backtest(made, prepared)
    assert result.num_windows == 60 - 7 + 1
    assert result.mse < 0.05  # the noise alone is 0.005 of a variance
    fitted = made.kept[0]
    fitted.save(tmp_path / "it.ckpt")
    context = prepared.scaled_TC[None, 100:124]
    assert np.array_equal(load_chimera(tmp_path / "it.ckpt").predict(context), fitted.predict(context))


@pytest.mark.parametrize("base", ["last", "season", "linear", "best"])
@pytest.mark.parametrize("decoder", ["direct", "closed"])
def test_beside_a_base_it_starts_as_that_map(base: Base, decoder: str) -> None:
    history = History(train_TC=waves(120), validate_TC=waves(60, seed=1), season=12)
    how = replace(CHIMERA_EPOCHS, num_epochs=1, batch_size=16, peak_lr=1e-12)
    made = replace(forecaster(base=base, decoder=decoder), fit_config=how)
    solved = FittedLinear(weights_LH=base_map(base, history, 24, 6))
    context = waves(80, seed=2)[None, 10:34]
    assert np.allclose(made.fit(history).predict(context), solved.predict(context), atol=1e-4)


def test_missing_values_are_filled_where_seen_and_do_not_count_where_forecast() -> None:
    values = waves(160)
    values[20:140:9, 0] = np.nan
    history = History(train_TC=values[:110], validate_TC=values[110:], season=12)
    fitted = forecaster(epochs=4, base="best").fit(history)
    assert np.isfinite(fitted.losses).all()
    context = values[None, 120:144]
    made, whole = fitted.predict(context), waves(160)[144:150]
    assert np.isnan(context).any() and np.abs(made[0] - whole).mean() < 0.3


def test_no_leak() -> None:
    values = waves(200)

    def pipeline(whole: np.ndarray) -> np.ndarray:
        scaler = fit_scaler(whole[:120])
        scaled = scaler.scale(whole)
        fitted = forecaster(epochs=1).fit(History(train_TC=scaled[:120], validate_TC=scaled[120:160]))
        return fitted.predict(scaled[None, 136:160])

    refuse_leak(pipeline, values, 160)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path) -> None:
    history = History(train_TC=waves(100), validate_TC=waves(50, seed=1))
    whole = forecaster(epochs=3, folder=tmp_path / "whole").fit(history)
    seen = []

    class Stopped(Exception):
        pass

    def stop(report) -> None:
        seen.append(report.step)
        if len(seen) == 7:
            raise Stopped

    with pytest.raises(Stopped):
        forecaster(epochs=3, folder=tmp_path / "cut", report=stop).fit(history)
    resumed = forecaster(epochs=3, folder=tmp_path / "cut").fit(history)
    assert resumed.losses == whole.losses
    context = waves(60, seed=3)[None, :24]
    assert np.array_equal(resumed.predict(context), whole.predict(context))
    with pytest.raises(InputError, match="other data or settings"):
        forecaster(epochs=4, folder=tmp_path / "cut").fit(history)


def test_a_model_forecasts_any_horizon_in_the_units_of_the_series() -> None:
    model = ChimeraModel(replace(MODEL, num_updates=80, layer=ChimeraConfig(width=8, expand=1, order=4))).fit(
        waves(400)
    )
    made, truth = model.predict(12), waves(412)[400:]
    assert made.shape == (12, 2)
    assert np.mean((made - truth) ** 2) < 0.2 * np.mean((truth - truth.mean(axis=0)) ** 2)
    assert np.array_equal(model.predict(5), made[:5])


def test_going_on_a_column_at_a_time(fitted: ChimeraModel, tmp_path) -> None:
    state, columns = fitted.init(), waves(310)[300:]
    first = fitted.predict(1)[0]
    for column in columns:
        ahead, state = fitted.step(column, state)
        assert np.allclose(fitted.predict(1, state)[0], ahead)
    fitted.save(tmp_path / "it.ckpt")
    again = ChimeraModel.load(tmp_path / "it.ckpt")
    assert np.array_equal(again.predict(9), fitted.predict(9)) and np.array_equal(again.predict(1)[0], first)
    # A missing value is replaced by its own prediction.
    filled, _ = fitted.step(first, fitted.init())
    missing, _ = fitted.step(np.full(2, np.nan), fitted.init())
    assert np.allclose(filled, missing, atol=1e-5)


def test_a_series_from_a_file_is_as_good_as_its_values(fitted: ChimeraModel) -> None:
    series = Series(values_TC=waves(), names=("a", "b"), times=None, frequency="row")
    assert np.array_equal(ChimeraModel(MODEL).fit(series).predict(4), fitted.predict(4))


def test_constant_and_huge_series_stay_finite() -> None:
    values = np.stack([np.full(200, 7.0), 1e12 * waves(200)[:, 0]], axis=1)
    made = ChimeraModel(MODEL).fit(values).predict(20)
    assert np.isfinite(made).all() and np.allclose(made[:, 0], 7, atol=3)
    context = values[None, :24]
    patched = forecaster(epochs=1).fit(History(train_TC=fit_scaler(values).scale(values), validate_TC=values[:0]))
    assert np.isfinite(patched.predict(fit_scaler(values).scale(context))).all()


def test_bad_input_to_forecasters_is_refused(fitted: ChimeraModel, tmp_path) -> None:
    with pytest.raises(InputError, match="31 rows or more"):
        ChimeraModel(MODEL).fit(waves(30))
    with pytest.raises(InputError, match="missing or infinite"):
        ChimeraModel(MODEL).fit(np.where(np.arange(300)[:, None] == 9, np.nan, waves()))
    with pytest.raises(InputError, match="not fitted"):
        ChimeraModel(MODEL).predict(3)
    with pytest.raises(InputError, match="horizon is 0"):
        fitted.predict(0)
    with pytest.raises(InputError, match="were channels changed"):
        fitted.step(np.zeros(3), fitted.init())
    with pytest.raises(ConfigError, match="multiple of the patch"):
        forecaster(patch=5)
    with pytest.raises(ConfigError, match="decoder 'open'"):
        forecaster(decoder="open")
    with pytest.raises(InputError, match="a window needs 24"):
        forecaster().fit(History(train_TC=waves(20), validate_TC=waves(0)))
    patched = forecaster(epochs=1).fit(History(train_TC=waves(60), validate_TC=waves(0)))
    with pytest.raises(InputError, match="were columns or --context changed"):
        patched.predict(waves(24)[None, :, :1])
    with pytest.raises(InputError, match="missing in a whole context"):
        patched.predict(waves(24)[None] * np.nan)
    patched.save(tmp_path / "it.ckpt")
    with pytest.raises(FormatError, match="expected a fitted Chimera model"):
        ChimeraModel.load(tmp_path / "it.ckpt")
    (tmp_path / "it.ckpt").write_bytes((tmp_path / "it.ckpt").read_bytes()[:-5])
    with pytest.raises(FormatError, match="truncated or damaged"):
        load_chimera(tmp_path / "it.ckpt")


def classified(count: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    generator = np.random.default_rng(seed)
    cases, labels = [], []
    for case in range(count):
        length, fast = int(generator.integers(12, 30)), case % 2
        wave = np.sin(np.arange(length) * (1.6 if fast else 0.4) + generator.uniform(0, 6))
        cases.append(np.stack([wave, generator.standard_normal(length)], axis=1))
        labels.append("fast" if fast else "slow")
    return cases, labels


@pytest.fixture(scope="module")
def classifier() -> ChimeraClassifier:
    layer = ChimeraConfig(width=8, expand=1, order=2)
    return ChimeraClassifier(ClassifierConfig(layer=layer, num_epochs=15, batch_size=8, peak_lr=2e-2)).fit(
        *classified(32, 0)
    )


def test_classes_are_learnt_and_kept(classifier: ChimeraClassifier, tmp_path) -> None:
    cases, labels = classified(40, 1)
    named = classifier.predict(cases)
    assert np.mean([own == label for own, label in zip(named, labels, strict=True)]) >= 0.9
    probabilities = classifier.predict_proba(cases)
    assert np.allclose(probabilities.sum(axis=1), 1)
    classifier.save(tmp_path / "it.ckpt")
    assert np.array_equal(ChimeraClassifier.load(tmp_path / "it.ckpt").predict_proba(cases), probabilities)


def test_the_company_of_longer_cases_changes_nothing(classifier: ChimeraClassifier) -> None:
    cases, _ = classified(9, 2)
    together, alone = classifier.predict_proba(cases), [classifier.predict_proba([case])[0] for case in cases]
    assert np.allclose(together, np.stack(alone), atol=1e-5)


def archive(name: str, part: str) -> Path:
    """A file of the archives that aeon carries; the package itself is not imported."""
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        pytest.skip("aeon is not installed: pip install --no-deps aeon")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / name / f"{name}_{part}.ts"


def test_cases_of_the_archive_are_read() -> None:
    vowels = read_cases(archive("JapaneseVowels", "TRAIN"))
    assert len(vowels.values) == 270 and {case.shape[1] for case in vowels.values} == {12}
    assert min(len(case) for case in vowels.values) == 7 and set(vowels.labels) == set("123456789")
    motions = read_cases(archive("BasicMotions", "TEST"))
    assert len(motions.values) == 40 and motions.values[0].shape == (100, 6)
    assert sorted(set(motions.labels)) == ["Badminton", "Running", "Standing", "Walking"]


@pytest.mark.slow
def test_basic_motions() -> None:
    train, test = read_cases(archive("BasicMotions", "TRAIN")), read_cases(archive("BasicMotions", "TEST"))
    layer = ChimeraConfig(width=16, expand=1, order=4, num_taps=4)
    how = ClassifierConfig(layer=layer, num_epochs=20, batch_size=8, peak_lr=5e-3)
    named = ChimeraClassifier(how).fit(train.values, train.labels).predict(test.values)
    assert np.mean([own == label for own, label in zip(named, test.labels, strict=True)]) >= 0.97


def test_bad_input_to_the_classifier_is_refused(classifier: ChimeraClassifier, tmp_path) -> None:
    cases, labels = classified(4, 3)
    how = classifier.config
    for given, classes, message in (
        (cases, ["a"] * 4, "1 classes"),
        (cases[:3], labels, "3 cases, 4 labels"),
        ([*cases[:3], cases[3][:, :1]], labels, "case 3 has shape"),
        ([*cases[:3], cases[3] * np.nan], labels, "case 3 holds a missing"),
    ):
        with pytest.raises(InputError, match=message):
            ChimeraClassifier(how).fit(given, classes)
    with pytest.raises(InputError, match="were channels changed"):
        classifier.predict([np.zeros((5, 3))])
    with pytest.raises(InputError, match="no case"):
        classifier.predict([])
    with pytest.raises(InputError, match="not fitted"):
        ChimeraClassifier(how).predict(cases)
    with pytest.raises(ConfigError, match="dropout 1"):
        replace(how, dropout=1)
    (tmp_path / "it.ckpt").write_text("nothing")
    with pytest.raises(FormatError, match="not a fullduplex archive"):
        ChimeraClassifier.load(tmp_path / "it.ckpt")

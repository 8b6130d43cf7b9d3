"""Fitting a TimeMixer: it learns, sees only the past, resumes to the bit, and is what was saved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, FormatError, InputError  # noqa: E402
from fullduplex.forecast.backtest import backtest, prepare, refuse_leak  # noqa: E402
from fullduplex.forecast.baselines import SeasonalNaive  # noqa: E402
from fullduplex.forecast.epochs import EpochsConfig  # noqa: E402
from fullduplex.forecast.timemixer.config import MixingConfig, TimeMixerConfig  # noqa: E402
from fullduplex.forecast.timemixer.fit import TimeMixerForecaster, load_timemixer  # noqa: E402
from fullduplex.forecast.windows import History, Split  # noqa: E402
from fullduplex.train.loop import StepReport  # noqa: E402

SPLIT = Split(train=300, validate=80, test=80)


def two_scales(seed: int = 0, rows: int = 460) -> np.ndarray:
    """A fast and a slow wave of changing size, and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(rows)
    slow = np.sin(2 * np.pi * time / 48)
    values = np.stack([slow + 0.5 * np.sin(2 * np.pi * time / 8), (1 + slow) * np.sin(2 * np.pi * time / 8)], axis=1)
    return values + 0.05 * rng.standard_normal(values.shape)


def forecaster(folder: Path | None = None, report=None, **how: object) -> TimeMixerForecaster:
    config = TimeMixerConfig(context=48, horizon=8, num_channels=2, num_scales=2, width=8, hidden=16)
    settings = {"num_epochs": 6, "batch_size": 32, **how}
    return TimeMixerForecaster(
        config=config, fit_config=EpochsConfig(**settings), folder=folder, report=report  # type: ignore[arg-type]
    )  # fmt: skip


def test_it_learns_what_repeating_the_last_season_does_not_know() -> None:
    prepared = prepare(two_scales(), SPLIT, season=8)
    learned = backtest(forecaster(), prepared)
    naive = backtest(SeasonalNaive(context=48, horizon=8), prepared)
    assert learned.num_windows == naive.num_windows == 73
    assert learned.mse < 0.5 * naive.mse


def test_nothing_after_the_past_reaches_the_forecast() -> None:
    """Neither the scaler, the weights nor the choice of the epoch move when only test rows change."""

    def pipeline(values: np.ndarray) -> np.ndarray:
        prepared = prepare(values, SPLIT)
        fitted = forecaster(num_epochs=2).fit(prepared.history)
        return fitted.predict(prepared.scaled_TC[None, SPLIT.past - 48 : SPLIT.past])

    refuse_leak(pipeline, two_scales(), SPLIT.past)


def test_the_epoch_kept_is_the_best_on_the_validation_rows() -> None:
    history = prepare(two_scales(), SPLIT).history
    fitted = forecaster(peak_lr=0.1).fit(history)
    assert len(fitted.losses) == 1 + 6  # the first before any training
    rows = np.concatenate([history.train_TC[-48:], history.validate_TC])
    seen = np.lib.stride_tricks.sliding_window_view(rows, 56, axis=0).transpose(0, 2, 1)
    found = np.mean((fitted.predict(seen[:, :48]) - seen[:, 48:]) ** 2)
    assert found == pytest.approx(min(fitted.losses), rel=1e-9)


def test_a_run_that_was_stopped_ends_bit_equal(tmp_path: Path) -> None:
    history = prepare(two_scales(), SPLIT).history
    whole = forecaster(tmp_path / "a").fit(history)

    class Stop(Exception):
        pass

    def stop(step: StepReport) -> None:
        if step.step == 20:
            raise Stop

    with pytest.raises(Stop):
        forecaster(tmp_path / "b", report=stop).fit(history)
    resumed = forecaster(tmp_path / "b").fit(history)
    assert resumed.losses == whole.losses
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    forecaster(tmp_path, num_epochs=1).fit(prepare(two_scales(), SPLIT).history)
    with pytest.raises(InputError, match="other data or settings"):
        forecaster(tmp_path, num_epochs=1).fit(prepare(two_scales(1), SPLIT).history)
    with pytest.raises(InputError, match="other data or settings"):
        forecaster(tmp_path, num_epochs=1, seed=1).fit(prepare(two_scales(), SPLIT).history)


def test_saved_and_loaded_is_bit_equal(tmp_path: Path) -> None:
    config = TimeMixerConfig(
        context=20, horizon=4, num_channels=2, num_scales=1, mixing=MixingConfig(downsample="conv", decomposition="dft")
    )
    history = prepare(two_scales(), SPLIT).history
    fitted = TimeMixerForecaster(config=config, fit_config=EpochsConfig(num_epochs=1)).fit(history)
    fitted.save(tmp_path / "model")
    loaded = load_timemixer(tmp_path / "model")
    context = history.train_TC[None, :20]
    assert np.array_equal(loaded.predict(context), fitted.predict(context))
    assert (loaded.config, loaded.losses) == (config, fitted.losses)
    (tmp_path / "model").write_bytes((tmp_path / "model").read_bytes()[:-9])
    with pytest.raises(FormatError):
        load_timemixer(tmp_path / "model")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_beside_a_base_it_begins_as_that_forecast_and_learns(
    per_channel: bool, normalise: bool, tmp_path: Path
) -> None:
    history = prepare(two_scales(), SPLIT, season=8).history
    made = forecaster(num_epochs=4)
    config = replace(made.config, base="season", per_channel=per_channel, normalise=normalise)
    made = replace(made, config=config)
    nothing = replace(made, fit_config=EpochsConfig(num_epochs=1, batch_size=32, peak_lr=1e-12)).fit(history)
    context = history.validate_TC[None, :48]
    naive = SeasonalNaive(context=48, horizon=8).fit(history).predict(context)
    assert np.allclose(nothing.predict(context), naive, atol=1e-4)
    fitted = made.fit(history)
    assert min(fitted.losses) < 0.9 * fitted.losses[0]
    fitted.save(tmp_path / "model")
    assert np.array_equal(load_timemixer(tmp_path / "model").predict(context), fitted.predict(context))
    with pytest.raises(ConfigError, match="base is 'mean'"):
        replace(config, base="mean")  # type: ignore[arg-type]


def test_bad_input_is_refused() -> None:
    history = prepare(two_scales(), SPLIT).history
    fitted = forecaster(num_epochs=1).fit(history)
    for context, message in ((np.full((1, 48, 2), np.nan), "missing"), (np.zeros((1, 48, 3)), "windows have shape")):
        with pytest.raises(InputError, match=message):
            fitted.predict(context)
    with pytest.raises(InputError, match="missing"):
        forecaster().fit(History(train_TC=np.full((99, 2), np.nan), validate_TC=np.zeros((0, 2))))
    with pytest.raises(InputError, match="needs 48"):
        forecaster().fit(History(train_TC=np.zeros((40, 2)), validate_TC=np.zeros((0, 2))))
    with pytest.raises(ConfigError):
        EpochsConfig(num_epochs=0)
    with pytest.raises(ConfigError):
        EpochsConfig(loss="sine")

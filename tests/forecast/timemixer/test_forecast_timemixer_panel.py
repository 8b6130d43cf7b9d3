"""One TimeMixer for many series of different lengths."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, InputError  # noqa: E402
from fullduplex.forecast import metrics  # noqa: E402
from fullduplex.forecast.timemixer.config import TimeMixerConfig  # noqa: E402
from fullduplex.forecast.timemixer.panel import PanelConfig, fit_panel, newest_contexts, smape_loss  # noqa: E402

CONFIG = TimeMixerConfig(context=16, horizon=4, num_channels=1, num_scales=1, width=8, hidden=8)
HOW = PanelConfig(num_steps=200, batch_size=64)


def panel() -> list[np.ndarray]:
    """Twelve waves of one period and different lengths, levels and sizes."""
    rng = np.random.default_rng(0)
    return [
        (k + 2) * (5 + np.sin(2 * np.pi * (np.arange(60 + 7 * k) + rng.integers(8)) / 8)) for k in range(12)
    ]  # fmt: skip


def test_it_learns_the_wave_of_every_series_at_its_own_level() -> None:
    series = panel()
    past, future = [values[:-4] for values in series], [values[-4:] for values in series]
    fitted = fit_panel(past, CONFIG, HOW)
    made = fitted.predict(newest_contexts(past, 16))[..., 0]
    errors = [metrics.smape(actual, row) for actual, row in zip(future, made, strict=True)]
    naive = [metrics.smape(actual, np.full(4, values[-1])) for actual, values in zip(future, past, strict=True)]
    assert np.mean(errors) < 0.25 * np.mean(naive)


def test_what_comes_after_the_past_chooses_nothing() -> None:
    """The released code stops on the competition's test values; here there is no argument for them, and the rows that
    choose are the last of the past: changing them changes the choice, and no window of the training holds them."""
    series = panel()
    before = fit_panel(series, CONFIG, PanelConfig(num_steps=20, batch_size=32))
    other = [np.concatenate([values[:-4], 3 * values[-4:]]) for values in series]
    after = fit_panel(other, CONFIG, PanelConfig(num_steps=20, batch_size=32))
    assert before.losses != after.losses
    last = [fit_panel(rows, CONFIG, PanelConfig(num_steps=1)).model.state_dict() for rows in (series, other)]
    assert all(torch.equal(value, last[1][name]) for name, value in last[0].items())  # one step, so nothing to choose


@pytest.mark.parametrize("base", ["season", "best"])
def test_beside_a_base_it_begins_as_the_last_season(base: str) -> None:
    series = panel()
    how = PanelConfig(num_steps=1, batch_size=8, peak_lr=1e-12, season=8)
    fitted = fit_panel(series, replace(CONFIG, base=base), how)
    made = fitted.predict(newest_contexts(series, 16))[..., 0]
    assert np.allclose(made, [values[-8:-4] for values in series], atol=1e-3)
    with pytest.raises(InputError, match="another base"):
        fit_panel(series, replace(CONFIG, base="linear"), how)


def test_the_loss_is_the_competitions_error() -> None:
    rng = np.random.default_rng(1)
    actual, made = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    assert float(smape_loss(torch.from_numpy(made), torch.from_numpy(actual))) == pytest.approx(
        metrics.smape(actual, made)
    )


def test_short_series_are_padded_and_bad_ones_refused() -> None:
    assert newest_contexts([np.array([2.0, 3.0])], 4)[0, :, 0].tolist() == [2, 2, 2, 3]
    for series, message in (
        ([np.arange(20.0)], "0 series of 24 steps"),
        ([np.array([])], "empty"),
        ([np.full(90, np.nan)], "missing"),
    ):
        with pytest.raises(InputError, match=message):
            fit_panel(series, CONFIG, HOW)
    with pytest.raises(ConfigError):
        PanelConfig(num_steps=0)

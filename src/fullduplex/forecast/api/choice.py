"""Forecasters by name."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.forecast.backtest import Forecaster
from fullduplex.forecast.baselines import LinearForecaster, SeasonalNaive
from fullduplex.forecast.classical import CLASSICAL, ClassicalForecaster

__all__ = ["BASELINES", "MODELS", "TRAINED", "classical_installed", "default_context", "make_forecaster"]

BASELINES = ("seasonal-naive", "linear")
TRAINED = ("timemixer", "chimera")
MODELS = (*BASELINES, *TRAINED, *CLASSICAL)

_USUAL_CONTEXT = 96
_LONGEST_PATCH = 16


def make_forecaster(
    name: str,
    *,
    context: int,
    horizon: int,
    epochs: int = 3,
    seed: int = 0,
    folder: Path | None = None,
    report: Callable[[object], None] | None = None,
) -> Forecaster:
    """The forecaster called `name`, one of `MODELS`.

    Args:
        name: which.
        context: steps it sees.
        horizon: steps it forecasts.
        epochs: of a model that is trained.
        seed: of a model that is trained.
        folder: where training is kept and goes on.
        report: called after every step of training.

    Raises:
        InputError: there is no such model.
    """
    if name == "seasonal-naive":
        return SeasonalNaive(context=context, horizon=horizon)
    if name == "linear":
        return LinearForecaster(context=context, horizon=horizon)
    if name in CLASSICAL:
        return ClassicalForecaster(name=name, context=context, horizon=horizon)
    if name == "timemixer":
        return _timemixer(context, horizon, epochs, seed, folder, report)
    if name == "chimera":
        return _chimera(context, horizon, epochs, seed, folder, report)
    raise InputError(f"no model {name!r}; expected {', '.join(MODELS)}")


def _timemixer(
    context: int, horizon: int, epochs: int, seed: int, folder: Path | None, report: Callable[[object], None] | None
) -> Forecaster:
    from fullduplex.forecast.epochs import EpochsConfig
    from fullduplex.forecast.timemixer.config import TimeMixerConfig
    from fullduplex.forecast.timemixer.fit import TimeMixerForecaster

    scales = max(0, min(3, int(np.log2(max(1, context // 4)))))
    return TimeMixerForecaster(
        config=TimeMixerConfig(context=context, horizon=horizon, num_channels=1, num_scales=scales),
        fit_config=EpochsConfig(num_epochs=epochs, seed=seed),
        folder=folder,
        report=report,
    )


def _chimera(
    context: int, horizon: int, epochs: int, seed: int, folder: Path | None, report: Callable[[object], None] | None
) -> Forecaster:
    from fullduplex.forecast.chimera.config import ChimeraConfig
    from fullduplex.forecast.chimera.fit import CHIMERA_EPOCHS, ChimeraForecaster
    from fullduplex.forecast.chimera.patches import PatchConfig

    patch = max(size for size in range(1, _LONGEST_PATCH + 1) if context % size == 0)
    layer = ChimeraConfig(width=16, expand=1, order=4, num_taps=2)
    return ChimeraForecaster(
        config=PatchConfig(
            num_variates=1, context=context, horizon=horizon, layer=layer, patch=patch, base="best", dropout=0.2
        ),
        fit_config=replace(CHIMERA_EPOCHS, num_epochs=epochs, seed=seed),
        folder=folder,
        report=report,
    )


def default_context(num_rows: int, horizon: int, season: int) -> int:
    """Steps a model sees where nobody says: 96, or two seasons if that is more; fewer of a short series."""
    wanted = max(_USUAL_CONTEXT, 2 * season)
    # A short series: leave a fitted model as many windows to learn from as the context is long.
    return max(min(wanted, (num_rows - horizon) // 2), min(season, num_rows), 1)


def classical_installed() -> bool:
    """Whether statsforecast is there; without importing it, which takes seconds."""
    return importlib.util.find_spec("statsforecast") is not None

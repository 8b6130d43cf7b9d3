"""Fit a Chimera on the past, forecast any window; `epochs.train_epochs` is how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fullduplex.forecast.baselines import base_map
from fullduplex.forecast.chimera.patches import PatchConfig, PatchForecaster
from fullduplex.forecast.epochs import EpochsConfig, train_epochs
from fullduplex.forecast.fitted import FittedNetwork, load_fitted
from fullduplex.forecast.windows import History
from fullduplex.train.loop import StepReport

__all__ = ["CHIMERA_EPOCHS", "ChimeraForecaster", "load_chimera"]

CHIMERA_EPOCHS = EpochsConfig(
    num_epochs=5, batch_size=64, peak_lr=1e-3, weight_decay=0.05, warmup=0.1, clip_norm=1.0
)  # the paper's are not known to us


@dataclass(frozen=True, slots=True, kw_only=True)
class ChimeraForecaster:
    """Fits a Chimera.

    Args:
        config: the sizes; `num_variates` is taken from the data.
        fit_config: how it is trained.
        folder: where the run keeps its checkpoint and its best epoch; a run begun there goes on. None keeps nothing.
        report: called after every step.
    """

    config: PatchConfig
    fit_config: EpochsConfig = field(default=CHIMERA_EPOCHS)
    folder: Path | None = None
    report: Callable[[StepReport], None] | None = None
    name: str = "chimera"

    @property
    def context(self) -> int:
        """Steps it sees."""
        return self.config.context

    @property
    def horizon(self) -> int:
        """Steps it forecasts."""
        return self.config.horizon

    def fit(self, history: History) -> FittedNetwork:
        """Train, and keep the best epoch.

        Raises:
            InputError, DivergedError: as `epochs.train_epochs`.
        """
        config = replace(self.config, num_variates=history.train_TC.shape[1])
        model = PatchForecaster(config, generator=torch.Generator().manual_seed(self.fit_config.seed))
        if config.base != "none":
            base_LH = base_map(config.base, history, config.context, config.horizon)
            model.get_buffer("base_LH").copy_(torch.from_numpy(base_LH))
        losses = train_epochs(model, model, config, history, self.fit_config, folder=self.folder, report=self.report)
        return FittedNetwork(model=model, config=config, forward=model, losses=losses, season=history.season)


def load_chimera(path: Path) -> FittedNetwork:
    """Read a fitted Chimera that was saved; its forecasts are bit-equal.

    Raises:
        FormatError: the file is damaged or of another kind.
    """

    def build(config: PatchConfig) -> FittedNetwork:
        model = PatchForecaster(config)
        return FittedNetwork(model=model, config=config, forward=model)

    return load_fitted(path, PatchConfig, build)

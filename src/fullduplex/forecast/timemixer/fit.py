"""Fit a TimeMixer on the past, forecast any window; `epochs.train_epochs` is how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fullduplex.forecast.baselines import base_map
from fullduplex.forecast.epochs import EpochsConfig, train_epochs
from fullduplex.forecast.fitted import FittedNetwork, load_fitted
from fullduplex.forecast.timemixer.config import TimeMixerConfig
from fullduplex.forecast.timemixer.model import TimeMixer
from fullduplex.forecast.windows import History
from fullduplex.train.loop import StepReport

__all__ = ["TimeMixerForecaster", "load_timemixer", "network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMixerForecaster:
    """Fits a TimeMixer.

    The published schedule is one cycle with its peak at a fifth; here a linear warm-up over a fifth, then a cosine.

    Args:
        config: the sizes; `num_channels` is taken from the data.
        fit_config: how it is trained.
        folder: where the run keeps its checkpoint and its best epoch; a run begun there goes on. None keeps nothing.
        report: called after every step.
    """

    config: TimeMixerConfig
    fit_config: EpochsConfig = field(default_factory=EpochsConfig)
    folder: Path | None = None
    report: Callable[[StepReport], None] | None = None
    name: str = "timemixer"

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
        config = replace(self.config, num_channels=history.train_TC.shape[1])
        with torch.random.fork_rng():
            torch.manual_seed(self.fit_config.seed)
            model = TimeMixer(config)
        if config.base != "none":
            base_LH = base_map(config.base, history, config.context, config.horizon)
            model.get_buffer("base_LH").copy_(torch.from_numpy(base_LH))
        untrained = network(model)
        losses = train_epochs(
            model, untrained.forward, config, history, self.fit_config, folder=self.folder, report=self.report
        )
        return replace(untrained, losses=losses, season=history.season)


def network(model: TimeMixer) -> FittedNetwork:
    """A TimeMixer as it is, to forecast windows of shape (B, L, C)."""
    return FittedNetwork(
        model=model, config=model.config, forward=lambda x_BLC: model(x_BLC.transpose(1, 2)).transpose(1, 2)
    )


def load_timemixer(path: Path) -> FittedNetwork:
    """Read a fitted TimeMixer that was saved; its forecasts are bit-equal.

    Raises:
        FormatError: the file is damaged or of another kind.
    """
    return load_fitted(path, TimeMixerConfig, lambda config: network(TimeMixer(config)))

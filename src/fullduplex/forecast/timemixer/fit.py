"""Fit a TimeMixer on the past, forecast any window; `epochs.train_epochs` is how it is trained."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FormatError
from fullduplex.forecast.baselines import base_map
from fullduplex.forecast.epochs import EpochsConfig, Forward, forecast_windows, train_epochs
from fullduplex.forecast.timemixer.config import MixingConfig, TimeMixerConfig
from fullduplex.forecast.timemixer.model import TimeMixer
from fullduplex.forecast.windows import History, filled
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.train.loop import StepReport

__all__ = ["FittedTimeMixer", "TimeMixerForecaster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTimeMixer:
    """A trained model.

    Args:
        model: its weights.
        losses: the validation errors, the first before any training, empty where nothing was validated.
        season: where a missing value is looked up first.
    """

    model: TimeMixer
    losses: tuple[float, ...] = ()
    season: int = 1

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C) for contexts of shape (N, L, C); missing values are filled from their own past.

        Raises:
            InputError: a channel is missing in a whole context, or the shape is not the model's.
        """
        self.model.eval()
        return forecast_windows(_forward(self.model), filled(context_NLC, self.season))

    def save(self, path: Path) -> None:
        """Write the model and its configuration to `path`."""
        payload = {
            "config": asdict(self.model.config),
            "model": self.model.state_dict(),
            "losses": list(self.losses),
            "season": self.season,
        }
        write_archive(path, cast("dict[str, object]", payload))

    @classmethod
    def load(cls, path: Path) -> "FittedTimeMixer":
        """Read what `save` wrote; its forecasts are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved: dict[str, Any] = read_archive(path)
        if saved.keys() != {"config", "model", "losses", "season"} or "mixing" not in saved["config"]:
            raise FormatError(f"{path.name} holds {sorted(saved)}; expected a fitted TimeMixer")
        config = TimeMixerConfig(**{**saved["config"], "mixing": MixingConfig(**saved["config"]["mixing"])})
        model = TimeMixer(config)
        model.load_state_dict(saved["model"])
        return cls(model=model, losses=tuple(saved["losses"]), season=saved["season"])


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

    def fit(self, history: History) -> FittedTimeMixer:
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
        losses = train_epochs(
            model, _forward(model), config, history, self.fit_config, folder=self.folder, report=self.report
        )
        return FittedTimeMixer(model=model, losses=losses, season=history.season)


def _forward(model: TimeMixer) -> Forward:
    return lambda x_BLC: model(x_BLC.transpose(1, 2)).transpose(1, 2)

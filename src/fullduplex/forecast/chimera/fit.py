"""Fit a Chimera on the past, forecast any window; `epochs.train_epochs` is how it is trained."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FormatError
from fullduplex.forecast.baselines import base_map
from fullduplex.forecast.chimera.config import layer_from_plain
from fullduplex.forecast.chimera.patches import PatchConfig, PatchForecaster
from fullduplex.forecast.epochs import EpochsConfig, forecast_windows, train_epochs
from fullduplex.forecast.windows import History, filled
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.train.loop import StepReport

__all__ = ["CHIMERA_EPOCHS", "ChimeraForecaster", "FittedChimera"]

CHIMERA_EPOCHS = EpochsConfig(
    num_epochs=5, batch_size=64, peak_lr=1e-3, weight_decay=0.05, warmup=0.1, clip_norm=1.0
)  # the paper's are not known to us


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedChimera:
    """A trained model.

    Args:
        model: its weights.
        losses: the validation errors, the first before any training, empty where nothing was validated.
        season: where a missing value is looked up first.
    """

    model: PatchForecaster
    losses: tuple[float, ...] = ()
    season: int = 1

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C) for contexts of shape (N, L, C); missing values are filled from their own past.

        Raises:
            InputError: a channel is missing in a whole context, or the shape is not the model's.
        """
        self.model.eval()
        return forecast_windows(self.model, filled(context_NLC, self.season))

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
    def load(cls, path: Path) -> "FittedChimera":
        """Read what `save` wrote; its forecasts are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved: dict[str, Any] = read_archive(path)
        if saved.keys() != {"config", "model", "losses", "season"} or "layer" not in saved["config"]:
            raise FormatError(f"{path.name} holds {sorted(saved)}; expected a fitted Chimera")
        config = PatchConfig(**{**saved["config"], "layer": layer_from_plain(saved["config"]["layer"])})
        model = PatchForecaster(config)
        model.load_state_dict(saved["model"])
        return cls(model=model, losses=tuple(saved["losses"]), season=saved["season"])


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

    def fit(self, history: History) -> FittedChimera:
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
        return FittedChimera(model=model, losses=losses, season=history.season)

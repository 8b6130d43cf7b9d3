"""Fit a TimeMixer on the past, choose the epoch on the rows after it, forecast any window.

The only data that comes in is a `History`: there is no argument through which a test row could reach the training, the
choice of the epoch or a stop. What is kept is the epoch with the least validation error over *all* validation windows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.base.record import hash_bytes
from fullduplex.forecast.timemixer.config import MixingConfig, TimeMixerConfig
from fullduplex.forecast.timemixer.model import TimeMixer
from fullduplex.forecast.windows import History, cut_windows, filled, num_windows
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["FittedTimeMixer", "TimeMixerFitConfig", "TimeMixerForecaster"]

_PREDICT_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMixerFitConfig:
    """How a TimeMixer is trained; the defaults are the paper's for ETTh1.

    The published schedule is one cycle with its peak at a fifth; here a linear warm-up over a fifth, then a cosine.

    Args:
        num_epochs: passes over the training windows.
        batch_size: windows of a step.
        peak_lr: largest learning rate of Adam.
        seed: of the weights, the order of the windows and dropout.
        loss: `"mse"` or `"mae"`.
    """

    num_epochs: int = 10
    batch_size: int = 128
    peak_lr: float = 0.01
    seed: int = 0
    loss: str = "mse"

    def __post_init__(self) -> None:
        if self.num_epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"num_epochs {self.num_epochs}, batch_size {self.batch_size}; expected 1 or more each")
        if self.loss not in ("mse", "mae"):
            raise ConfigError(f"loss is {self.loss!r}; expected 'mse' or 'mae'")


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTimeMixer:
    """A trained model.

    Args:
        model: its weights.
        losses: the validation errors of the epochs, empty where nothing was validated.
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
        context_NLC = filled(context_NLC, self.season)
        self.model.eval()
        parts: list[np.ndarray] = []
        with torch.no_grad():
            for first in range(0, len(context_NLC), _PREDICT_BATCH):
                x_BCL = np.ascontiguousarray(context_NLC[first : first + _PREDICT_BATCH].transpose(0, 2, 1), np.float32)
                parts.append(self.model(torch.from_numpy(x_BCL)).numpy().transpose(0, 2, 1))
        return np.concatenate(parts).astype(np.float64)

    def save(self, path: Path) -> None:
        """Write the model and its configuration to `path`."""
        config = self.model.config
        plain = {name: getattr(config, name) for name in config.__dataclass_fields__ if name != "mixing"}
        mixing = {name: getattr(config.mixing, name) for name in config.mixing.__dataclass_fields__}
        payload: dict[str, object] = {
            "config": plain,
            "mixing": mixing,
            "model": self.model.state_dict(),
            "losses": list(self.losses),
        }
        payload["season"] = self.season
        write_archive(path, payload)

    @classmethod
    def load(cls, path: Path) -> "FittedTimeMixer":
        """Read what `save` wrote; its forecasts are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved = read_archive(path)
        if saved.keys() != {"config", "mixing", "model", "losses", "season"}:
            raise FormatError(f"{path.name} holds {sorted(saved)}; expected a fitted TimeMixer")
        mixing = MixingConfig(**cast("dict[str, object]", saved["mixing"]))  # type: ignore[arg-type]
        config = TimeMixerConfig(**cast("dict[str, object]", saved["config"]), mixing=mixing)  # type: ignore[arg-type]
        model = TimeMixer(config)
        model.load_state_dict(cast("dict[str, Tensor]", saved["model"]))
        losses = tuple(cast("list[float]", saved["losses"]))
        return cls(model=model, losses=losses, season=cast("int", saved["season"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMixerForecaster:
    """Fits a TimeMixer.

    Args:
        config: the sizes; `num_channels` is taken from the data.
        fit_config: how it is trained.
        folder: where the run keeps its checkpoint and its best epoch; a run begun there goes on. None keeps nothing.
        report: called after every step.
    """

    config: TimeMixerConfig
    fit_config: TimeMixerFitConfig = field(default_factory=TimeMixerFitConfig)
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

    def num_steps(self, history: History) -> int:
        """Optimiser steps of a whole run."""
        count = num_windows(len(history.train_TC), self.context, self.horizon)
        return self.fit_config.num_epochs * max(1, count // min(self.fit_config.batch_size, max(1, count)))

    def fit(self, history: History) -> FittedTimeMixer:
        """Train on `history.train_TC`, keep the epoch that is best on `history.validate_TC` (without it, the last).

        What a window sees is filled from the past (`filled`); a missing value it should forecast does not count.

        Raises:
            InputError: a channel has no value, one is infinite, or the rows do not fill one window.
            DivergedError: a loss is no longer finite; lower `peak_lr`.
        """
        how = self.fit_config
        config = replace(self.config, num_channels=history.train_TC.shape[1])
        with torch.random.fork_rng():
            torch.manual_seed(how.seed)
            model = TimeMixer(config)
        batches = _batches(history, config, how)
        steps_per_epoch = batches.num_items // batches.batch_size
        num_steps = how.num_epochs * steps_per_epoch
        train_config = TrainConfig(
            num_steps=num_steps,
            peak_lr=how.peak_lr,
            seed=how.seed,
            schedule=ScheduleConfig(warmup_steps=max(1, num_steps // 5)),
            weight_decay=0.0,
            betas=(0.9, 0.999),
            clip_norm=5.0,
            evaluate_every_steps=steps_per_epoch,
            checkpoint_every_steps=steps_per_epoch,
        )
        best = _Best(history, config, self.folder)
        checkpoint = None if self.folder is None else _checkpoint(self.folder, history, config, how)
        state = load_checkpoint(checkpoint) if checkpoint is not None and checkpoint.exists() else None
        if state is not None:
            best.resume()
        train(
            model,
            batches,
            _loss_of(how.loss),
            train_config,
            state=state,
            report=self.report,
            evaluate=best.look,
            checkpoint=checkpoint,
        )
        if best.weights is not None:
            model.load_state_dict(best.weights)
        return FittedTimeMixer(model=model, losses=tuple(best.losses), season=history.season)


class _Best:
    """The epoch with the least validation error so far, in memory and, with a folder, on disk."""

    def __init__(self, history: History, config: TimeMixerConfig, folder: Path | None) -> None:
        self.losses: list[float] = []
        self.season = history.season
        self.weights: dict[str, Tensor] | None = None
        self.path = None if folder is None else folder / "best.ckpt"
        # The first window's context is the end of the training rows; nothing that is forecast was trained on.
        rows_TC = np.concatenate([history.train_TC[-config.context :], history.validate_TC])
        enough = num_windows(len(rows_TC), config.context, config.horizon) > 0 and len(history.validate_TC) > 0
        self.windows = cut_windows(rows_TC, config.context, config.horizon) if enough else None

    def look(self, model: nn.Module) -> Mapping[str, float]:
        if self.windows is None:
            return {}
        context_NLC, target_NHC = self.windows
        forecast_NHC = FittedTimeMixer(model=cast("TimeMixer", model), season=self.season).predict(context_NLC)
        loss = float(np.nanmean((forecast_NHC - target_NHC) ** 2))
        if not self.losses or loss < min(self.losses):
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.losses.append(loss)
        if self.path is not None:
            write_archive(self.path, {"losses": list(self.losses), "model": self.weights})
        return {"validation_mse": loss}

    def resume(self) -> None:
        if self.path is not None and self.path.exists():
            saved = read_archive(self.path)
            self.losses = list(cast("list[float]", saved["losses"]))
            self.weights = cast("dict[str, Tensor]", saved["model"])


def _checkpoint(folder: Path, history: History, config: TimeMixerConfig, how: TimeMixerFitConfig) -> Path:
    """Where the run stands on disk; a folder belongs to one run."""
    rows = (np.ascontiguousarray(part).tobytes() for part in (history.train_TC, history.validate_TC))
    mark = hash_bytes([repr((config, how, len(history.train_TC))).encode(), *rows])
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "run.sha256"
    if owner.exists() and owner.read_text(encoding="utf-8") != mark:
        raise InputError(f"{folder} holds a run with other data or settings; give another folder or remove that one")
    owner.write_text(mark, encoding="utf-8")
    return folder / "last.ckpt"


def _batches(history: History, config: TimeMixerConfig, how: TimeMixerFitConfig) -> ShuffledBatches[Tensor]:
    train_TC = history.train_TC
    length = config.context + config.horizon
    count = num_windows(len(train_TC), config.context, config.horizon)
    if count < 1:
        raise InputError(f"{len(train_TC)} rows to train on; a window needs {config.context} + {config.horizon}")
    seen_TC = filled(train_TC[None], history.season)[0]
    windows_NCW, seen_NCW = (
        torch.from_numpy(rows.astype(np.float32)).unfold(0, length, 1) for rows in (train_TC, seen_TC)
    )

    def collate(indices: Int64Array) -> Tensor:
        chosen = torch.from_numpy(indices)
        if seen_TC is train_TC or np.shares_memory(seen_TC, train_TC):
            return windows_NCW[chosen]
        batch_BCW = windows_NCW[chosen]
        batch_BCW[..., : config.context] = seen_NCW[chosen][..., : config.context]
        return batch_BCW

    return ShuffledBatches(collate=collate, num_items=count, batch_size=min(how.batch_size, count), seed=how.seed)


def _loss_of(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    measure = F.mse_loss if name == "mse" else F.l1_loss

    def loss(model: nn.Module, batch_BCW: Tensor) -> Tensor:
        context = cast("TimeMixer", model).config.context
        made, target = model(batch_BCW[..., :context]), batch_BCW[..., context:]
        present = ~target.isnan()
        # Where nothing is missing the mean is the plain one; an empty batch has no gradient to give.
        return measure(made, target) if present.all() else measure(made[present], target[present]).nan_to_num(0.0)

    return loss

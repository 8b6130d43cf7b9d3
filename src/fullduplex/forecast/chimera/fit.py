"""Fit a Chimera on the past, choose the epoch on the rows after it, forecast any window.

The only data that comes in is a `History`: there is no argument through which a test row could reach the training, the
choice of the epoch or a stop. What is kept is the epoch with the least validation error over *all* validation windows.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.base.record import hash_bytes
from fullduplex.forecast.baselines import LinearForecaster
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.patches import PatchConfig, PatchForecaster
from fullduplex.forecast.windows import History, cut_windows, num_windows
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["ChimeraFitConfig", "ChimeraForecaster", "FittedChimera", "layer_from_plain"]

_PREDICT_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ChimeraFitConfig:
    """How a Chimera is trained: AdamW, a warm-up over a tenth of the steps, then a cosine.

    Args:
        num_epochs: passes over the training windows.
        batch_size: windows of a step.
        peak_lr: largest learning rate.
        weight_decay: of matrices.
        seed: of the weights, the order of the windows and dropout.

    Raises:
        ConfigError: a count below 1.
    """

    num_epochs: int = 5
    batch_size: int = 64
    peak_lr: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"num_epochs {self.num_epochs}, batch_size {self.batch_size}; expected 1 or more each")


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedChimera:
    """A trained model; `losses` are the validation errors, the first before any training, empty without validation."""

    model: PatchForecaster
    losses: tuple[float, ...] = ()

    def predict(self, context_NLC: Float64Array) -> Float64Array:
        """Forecasts of shape (N, H, C) for contexts of shape (N, L, C).

        Raises:
            InputError: a value is missing or infinite, or the shape is not the model's.
        """
        if not np.isfinite(context_NLC).all():
            raise InputError("a context holds a missing or infinite value; fill gaps first (--gaps linear)")
        config = self.model.config
        if context_NLC.ndim != 3 or context_NLC.shape[1:] != (config.context, config.num_variates):
            raise InputError(
                f"contexts of shape {context_NLC.shape} for a model of {config.context} steps and {config.num_variates} "
                "channels; were columns or --context changed since the fit?"
            )
        self.model.eval()
        parts: list[np.ndarray] = []
        with torch.no_grad():
            for first in range(0, len(context_NLC), _PREDICT_BATCH):
                x_BLC = torch.from_numpy(np.ascontiguousarray(context_NLC[first : first + _PREDICT_BATCH], np.float32))
                parts.append(self.model(x_BLC).numpy())
        return np.concatenate(parts).astype(np.float64)

    def save(self, path: Path) -> None:
        """Write the model and its configuration to `path`."""
        payload = {"config": asdict(self.model.config), "model": self.model.state_dict(), "losses": list(self.losses)}
        write_archive(path, cast("dict[str, object]", payload))

    @classmethod
    def load(cls, path: Path) -> "FittedChimera":
        """Read what `save` wrote; its forecasts are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved: dict[str, Any] = read_archive(path)
        if saved.keys() != {"config", "model", "losses"}:
            raise FormatError(f"{path.name} holds {sorted(saved)}; expected a fitted Chimera")
        config = PatchConfig(**{**saved["config"], "layer": layer_from_plain(saved["config"]["layer"])})
        model = PatchForecaster(config)
        model.load_state_dict(saved["model"])
        return cls(model=model, losses=tuple(saved["losses"]))


def layer_from_plain(plain: Mapping[str, Any]) -> ChimeraConfig:
    """The configuration that `dataclasses.asdict` took apart."""
    heads = tuple(
        HeadConfig(time=StepStart(**head["time"]), variates=StepStart(**head["variates"])) for head in plain["heads"]
    )
    return ChimeraConfig(**{**plain, "heads": heads})


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
    fit_config: ChimeraFitConfig = field(default_factory=ChimeraFitConfig)
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

    def num_steps(self, history: History) -> int:
        """Optimiser steps of a whole run."""
        count = num_windows(len(history.train_TC), self.context, self.horizon)
        return self.fit_config.num_epochs * max(1, count // min(self.fit_config.batch_size, max(1, count)))

    def fit(self, history: History) -> FittedChimera:
        """Train on `history.train_TC`, keep the epoch that is best on `history.validate_TC` (without it, the last).

        Raises:
            InputError: a value is missing, or the rows do not fill one window.
            DivergedError: a loss is no longer finite; lower `peak_lr`.
        """
        if not np.isfinite(history.past_TC).all():
            raise InputError("the past holds a missing or infinite value; fill gaps first (--gaps linear)")
        how, config = self.fit_config, replace(self.config, num_variates=history.train_TC.shape[1])
        model = PatchForecaster(config, generator=torch.Generator().manual_seed(how.seed))
        batches = _batches(history.train_TC, config, how)
        if config.base == "linear":
            solved = LinearForecaster(context=config.context, horizon=config.horizon).fit(history)
            model.get_buffer("base_LH").copy_(torch.from_numpy(solved.weights_LH))
        steps_per_epoch = batches.num_items // batches.batch_size
        num_steps = how.num_epochs * steps_per_epoch
        train_config = TrainConfig(
            num_steps=num_steps,
            peak_lr=how.peak_lr,
            seed=how.seed,
            schedule=ScheduleConfig(warmup_steps=max(1, num_steps // 10)),
            weight_decay=how.weight_decay,
            betas=(0.9, 0.999),
            clip_norm=1.0,
            evaluate_every_steps=steps_per_epoch,
            checkpoint_every_steps=steps_per_epoch,
        )
        best = _Best(history, config, self.folder)
        checkpoint = None if self.folder is None else _checkpoint(self.folder, history, config, how)
        state = load_checkpoint(checkpoint) if checkpoint is not None and checkpoint.exists() else None
        if state is None:
            best.look(model)  # what it starts with may be the best there is
        else:
            best.resume()
        train(
            model, batches, _loss, train_config,
            state=state, report=self.report, evaluate=best.look, checkpoint=checkpoint,
        )  # fmt: skip
        if best.weights is not None:
            model.load_state_dict(best.weights)
        return FittedChimera(model=model, losses=tuple(best.losses))


class _Best:
    """The weights with the least validation error so far, in memory and, with a folder, on disk."""

    def __init__(self, history: History, config: PatchConfig, folder: Path | None) -> None:
        self.losses: list[float] = []
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
        total = 0.0
        fitted = FittedChimera(model=cast("PatchForecaster", model))
        for first in range(0, len(context_NLC), _PREDICT_BATCH):
            piece = slice(first, first + _PREDICT_BATCH)
            total += float(((fitted.predict(context_NLC[piece]) - target_NHC[piece]) ** 2).sum())
        loss = total / target_NHC.size
        if not self.losses or loss < min(self.losses):
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.losses.append(loss)
        if self.path is not None and self.path.parent.is_dir():
            write_archive(self.path, {"losses": list(self.losses), "model": self.weights})
        return {"validation_mse": loss}

    def resume(self) -> None:
        if self.path is not None and self.path.exists():
            saved = read_archive(self.path)
            self.losses = list(cast("list[float]", saved["losses"]))
            self.weights = cast("dict[str, Tensor]", saved["model"])


def _checkpoint(folder: Path, history: History, config: PatchConfig, how: ChimeraFitConfig) -> Path:
    """Where the run stands on disk; a folder belongs to one run."""
    rows = (np.ascontiguousarray(part).tobytes() for part in (history.train_TC, history.validate_TC))
    mark = hash_bytes([repr((config, how, len(history.train_TC))).encode(), *rows])
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "run.sha256"
    if owner.exists() and owner.read_text(encoding="utf-8") != mark:
        raise InputError(f"{folder} holds a run with other data or settings; give another folder or remove that one")
    owner.write_text(mark, encoding="utf-8")
    return folder / "last.ckpt"


def _batches(train_TC: Float64Array, config: PatchConfig, how: ChimeraFitConfig) -> ShuffledBatches[Tensor]:
    length = config.context + config.horizon
    count = num_windows(len(train_TC), config.context, config.horizon)
    if count < 1:
        raise InputError(f"{len(train_TC)} rows to train on; a window needs {config.context} + {config.horizon}")
    rows_TC = torch.from_numpy(train_TC.astype(np.float32))

    def collate(indices: Int64Array) -> Tensor:
        return rows_TC[torch.from_numpy(indices)[:, None] + torch.arange(length)]

    return ShuffledBatches(collate=collate, num_items=count, batch_size=min(how.batch_size, count), seed=how.seed)


def _loss(model: nn.Module, batch_BWC: Tensor) -> Tensor:
    context = cast("PatchForecaster", model).config.context
    return functional.mse_loss(model(batch_BWC[:, :context]), batch_BWC[:, context:])

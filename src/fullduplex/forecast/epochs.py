"""Train on the windows of the past, keep the epoch that is best on the rows after it.

The only data that comes in is a `History`: there is no argument through which a test row could reach the training, the
choice of the epoch or a stop. What is kept has the least error over *all* validation windows; what the model was before
any training is a candidate too.

Axes: B batch, N windows, L context, H horizon, W = L + H, T rows, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.base.record import hash_bytes
from fullduplex.forecast.windows import History, cut_windows, filled, num_windows
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["EpochsConfig", "Forward", "SizedConfig", "forecast_windows", "train_epochs"]

Forward = Callable[[Tensor], Tensor]  # windows (B, L, C) to forecasts (B, H, C)

_PREDICT_BATCH = 256


class SizedConfig(Protocol):
    """What decides a model, its context and its horizon among it."""

    @property
    def context(self) -> int:
        """L."""
        ...

    @property
    def horizon(self) -> int:
        """H."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochsConfig:
    """How a model is trained on windows: AdamW, a linear warm-up, then a cosine. The defaults are TimeMixer's for ETTh1.

    Args:
        num_epochs: passes over the training windows.
        batch_size: windows of a step.
        peak_lr: largest learning rate.
        seed: of the weights, the order of the windows and dropout.
        loss: `"mse"` or `"mae"`.
        weight_decay: of matrices.
        warmup: share of the steps before the rate is at its peak.
        clip_norm: longest gradient step taken.

    Raises:
        ConfigError: a count below 1, an unknown loss, or a warm-up outside [0, 1].
    """

    num_epochs: int = 10
    batch_size: int = 128
    peak_lr: float = 0.01
    seed: int = 0
    loss: Literal["mse", "mae"] = "mse"
    weight_decay: float = 0.0
    warmup: float = 0.2
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        if self.num_epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"num_epochs {self.num_epochs}, batch_size {self.batch_size}; expected 1 or more each")
        if self.loss not in ("mse", "mae") or not 0 <= self.warmup <= 1:
            raise ConfigError(f"loss {self.loss!r}, warmup {self.warmup}; expected 'mse' or 'mae', and 0 to 1")


def train_epochs(
    model: nn.Module,
    forward: Forward,
    config: SizedConfig,
    history: History,
    how: EpochsConfig,
    *,
    folder: Path | None = None,
    report: Callable[[StepReport], None] | None = None,
) -> tuple[float, ...]:
    """Train on `history.train_TC`, keep what is best on `history.validate_TC` (without it, the last epoch).

    What a window sees is filled from its own past (`filled`); a missing value it should forecast does not count.

    Args:
        model: changed in place.
        forward: the forecasts of `model`.
        config: of the model; with it `folder` is told from that of another run.
        history: all that it sees.
        how: the training.
        folder: where the run keeps its checkpoint and its best epoch; a run begun there goes on. None keeps nothing.
        report: called after every step.

    Returns:
        The validation errors, the first of the untrained model; empty without validation windows.

    Raises:
        InputError: a channel has no value, one is infinite, the rows do not fill one window, or the folder is another run's.
        DivergedError: a loss is no longer finite; lower `peak_lr`.
    """
    batches = _batches(history, config, how)
    steps_per_epoch = batches.num_items // batches.batch_size
    num_steps = how.num_epochs * steps_per_epoch
    train_config = TrainConfig(
        num_steps=num_steps,
        peak_lr=how.peak_lr,
        seed=how.seed,
        schedule=ScheduleConfig(warmup_steps=max(1, int(how.warmup * num_steps))),
        weight_decay=how.weight_decay,
        betas=(0.9, 0.999),
        clip_norm=how.clip_norm,
        evaluate_every_steps=steps_per_epoch,
        checkpoint_every_steps=steps_per_epoch,
    )
    checkpoint = None if folder is None else _claimed(folder, history, config, how)
    best = _Best(history, config, forward, folder)
    state = load_checkpoint(checkpoint) if checkpoint is not None and checkpoint.exists() else None
    if state is None:
        model.eval()
        best.look(model)
    else:
        best.resume()
    train(
        model, batches, _loss(forward, config.context, how.loss), train_config,
        state=state, report=report, evaluate=best.look, checkpoint=checkpoint,
    )  # fmt: skip
    if best.weights is not None:
        model.load_state_dict(best.weights)
    model.eval()
    return tuple(best.losses)


def forecast_windows(forward: Forward, context_NLC: Float64Array) -> Float64Array:
    """Forecasts of shape (N, H, C), a few windows at a time, without a gradient."""
    parts: list[np.ndarray] = []
    with torch.no_grad():
        for first in range(0, len(context_NLC), _PREDICT_BATCH):
            x_BLC = np.ascontiguousarray(context_NLC[first : first + _PREDICT_BATCH], np.float32)
            parts.append(forward(torch.from_numpy(x_BLC)).numpy())
    return np.concatenate(parts).astype(np.float64)


class _Best:
    """The weights with the least validation error so far, in memory and, with a folder, on disk."""

    def __init__(self, history: History, config: SizedConfig, forward: Forward, folder: Path | None) -> None:
        self.losses: list[float] = []
        self.weights: dict[str, Tensor] | None = None
        self.forward, self.season = forward, history.season
        self.path = None if folder is None else folder / "best.ckpt"
        # The first window's context is the end of the training rows; nothing that is forecast was trained on.
        rows_TC = np.concatenate([history.train_TC[-config.context :], history.validate_TC])
        enough = num_windows(len(rows_TC), config.context, config.horizon) > 0 and len(history.validate_TC) > 0
        self.windows = cut_windows(rows_TC, config.context, config.horizon) if enough else None

    def look(self, model: nn.Module) -> Mapping[str, float]:
        if self.windows is None:
            return {}
        context_NLC, target_NHC = self.windows
        squared, count = 0.0, 0
        for first in range(0, len(context_NLC), _PREDICT_BATCH):  # all at once would take gigabytes of a long horizon
            piece = slice(first, first + _PREDICT_BATCH)
            errors_NHC = forecast_windows(self.forward, filled(context_NLC[piece], self.season)) - target_NHC[piece]
            squared += float(np.nansum(errors_NHC**2))
            count += int((~np.isnan(errors_NHC)).sum())
        loss = squared / max(count, 1)
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


def _claimed(folder: Path, history: History, config: SizedConfig, how: EpochsConfig) -> Path:
    """Where the run stands on disk; a folder belongs to one run."""
    rows = (np.ascontiguousarray(part).tobytes() for part in (history.train_TC, history.validate_TC))
    mark = hash_bytes([repr((config, how, len(history.train_TC))).encode(), *rows])
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "run.sha256"
    if owner.exists() and owner.read_text(encoding="utf-8") != mark:
        raise InputError(f"{folder} holds a run with other data or settings; give another folder or remove that one")
    owner.write_text(mark, encoding="utf-8")
    return folder / "last.ckpt"


def _batches(history: History, config: SizedConfig, how: EpochsConfig) -> ShuffledBatches[Tensor]:
    """Windows of shape (B, W, C)."""
    train_TC = history.train_TC
    count = num_windows(len(train_TC), config.context, config.horizon)
    if count < 1:
        raise InputError(f"{len(train_TC)} rows to train on; a window needs {config.context} + {config.horizon}")
    if np.isinf(history.past_TC).any():
        raise InputError("the past holds an infinite value; mark missing values as NaN")
    seen_TC = filled(train_TC[None], history.season)[0]
    rows_TC, seen_rows_TC = (torch.from_numpy(rows.astype(np.float32)) for rows in (train_TC, seen_TC))
    steps_W = torch.arange(config.context + config.horizon)

    def collate(indices: Int64Array) -> Tensor:
        chosen_BW = torch.from_numpy(indices)[:, None] + steps_W
        batch_BWC = rows_TC[chosen_BW]
        batch_BWC[:, : config.context] = seen_rows_TC[chosen_BW[:, : config.context]]
        return batch_BWC

    return ShuffledBatches(collate=collate, num_items=count, batch_size=min(how.batch_size, count), seed=how.seed)


def _loss(forward: Forward, context: int, name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    measure = functional.mse_loss if name == "mse" else functional.l1_loss

    def loss(_model: nn.Module, batch_BWC: Tensor) -> Tensor:
        made, target = forward(batch_BWC[:, :context]), batch_BWC[:, context:]
        present = ~target.isnan()
        # Where nothing is missing the mean is the plain one; an empty batch has no gradient to give.
        return measure(made, target) if present.all() else measure(made[present], target[present]).nan_to_num(0.0)

    return loss

"""Pre-training by filling in or continuing patches, and one score that is the same quantity for both kinds of model.

Each window is put in units of its visible part: its mean is taken off, its deviation divided out. So every loss here is
free of the unit of the data.

Axes: B windows, P patches, W steps of a patch, S draws.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast import metrics
from fullduplex.forecast.foundation.config import PatchConfig
from fullduplex.forecast.foundation.model import PatchTransformer
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["PretrainConfig", "in_own_units", "masked_loss", "pretrain", "score_next_patch"]

_SHARE = (0.15, 0.5)  # of the patches that are to be predicted, at the end of a window
_INPUT_LIMIT = 50.0  # deviations; what a model reads is held inside, what it is scored on is not
_NUM_DRAWS = 64
_SCORE_BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """How a patch Transformer is trained.

    Args:
        num_steps: optimiser steps.
        batch_size: windows of a step.
        peak_lr: learning rate after the warm-up, which takes a tenth of the steps; then a cosine to 0.
        seed: of weights, order and masks.
        evaluate_every_steps: 0: never.

    Raises:
        ConfigError: a number is below 1.
    """

    num_steps: int
    batch_size: int = 32
    peak_lr: float = 1e-3
    seed: int = 0
    evaluate_every_steps: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.batch_size < 1:
            raise ConfigError(f"num_steps {self.num_steps}, batch_size {self.batch_size}; expected 1 or more each")


def in_own_units(x_BPW: Tensor, visible_BP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows in units of their visible part, in float64 until they are small, and that mean and deviation.

    Args:
        x_BPW: float64, missing values NaN.
        visible_BP: bool, the patches that may be looked at.

    Returns:
        The windows (B, P, W) in float32, missing values still NaN; mean and deviation, shape (B, 1, 1), float64. Where the
        visible part is constant, the unit is its level, or 1.
    """
    shown = visible_BP.unsqueeze(-1) & ~x_BPW.isnan()
    count_B11 = shown.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    mean_B11 = torch.where(shown, x_BPW, 0.0).sum(dim=(1, 2), keepdim=True) / count_B11
    squares = torch.where(shown, x_BPW - mean_B11, 0.0).square()
    std_B11 = (squares.sum(dim=(1, 2), keepdim=True) / count_B11).sqrt()
    flat = std_B11 <= 1e-9 * mean_B11.abs()
    std_B11 = torch.where(flat, torch.where(mean_B11 == 0, torch.ones_like(mean_B11), mean_B11.abs()), std_B11)
    return ((x_BPW - mean_B11) / std_B11).float(), mean_B11, std_B11


def masked_loss(model: PatchTransformer, x_BPW: Tensor, first_B: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats a step and in units of the visible part, of the patches from `first_B` on.

    The encoder fills them in together; the decoder reads each one before it says the next (teacher forcing).

    Args:
        model: of either kind.
        x_BPW: float64 windows, missing values NaN.
        first_B: first patch to predict, at least 1.
    """
    hidden_BP = torch.arange(x_BPW.shape[1]) >= first_B[:, None]
    z_BPW, _, _ = in_own_units(x_BPW, ~hidden_BP)
    input_BPW = z_BPW.nan_to_num(0.0).clamp(-_INPUT_LIMIT, _INPUT_LIMIT)
    if model.config.kind == "encoder":
        said, target_BPW = model(input_BPW, hidden_BP), z_BPW
        wanted = hidden_BP
    else:
        said, target_BPW, wanted = model(input_BPW[:, :-1]), z_BPW[:, 1:], hidden_BP[:, 1:]
    counted = wanted.unsqueeze(-1) & ~target_BPW.isnan()
    log_prob = said.log_prob(torch.where(counted, target_BPW, 0.0))
    return -torch.where(counted, log_prob, 0.0).sum() / counted.sum().clamp(min=1)


def _training_loss(model: nn.Module, x_BPW: Tensor) -> Tensor:
    """With a random length of the end to predict; the draws are torch's, so a resumed run makes the same."""
    num_patches = x_BPW.shape[1]
    fewest, most = max(1, math.ceil(_SHARE[0] * num_patches)), max(1, math.floor(_SHARE[1] * num_patches))
    last_B = torch.randint(fewest, most + 1, (x_BPW.shape[0],))
    return masked_loss(cast("PatchTransformer", model), x_BPW, num_patches - last_B)


def pretrain(
    config: PatchConfig,
    windows_NL: Float64Array,
    how: PretrainConfig,
    *,
    checkpoint: Path | None = None,
    report: Callable[[StepReport], None] | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
) -> PatchTransformer:
    """Train a model on windows of a whole number of patches, two or more.

    Args:
        config: the model.
        windows_NL: float64, shape (N, L), read-only views welcome; missing values NaN.
        how: the training.
        checkpoint: file the run keeps itself in and goes on from.
        report: called after every step.
        evaluate: called every `how.evaluate_every_steps`.

    Raises:
        InputError: the windows are not of that shape, or fewer than a batch.
        DivergedError: a loss is no longer finite; lower `peak_lr`.
    """
    if windows_NL.ndim != 2 or windows_NL.shape[1] % config.patch or windows_NL.shape[1] < 2 * config.patch:
        raise InputError(f"windows of shape {windows_NL.shape}; expected (N, a multiple of {config.patch}, 2 or more)")

    def collate(indices: Int64Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(windows_NL[indices])).unflatten(1, (-1, config.patch))

    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        model = PatchTransformer(config)
    settings = TrainConfig(
        num_steps=how.num_steps,
        peak_lr=how.peak_lr,
        seed=how.seed,
        schedule=ScheduleConfig(warmup_steps=max(1, how.num_steps // 10)),
        weight_decay=0.1,
        betas=(0.9, 0.98),
        evaluate_every_steps=how.evaluate_every_steps,
        checkpoint_every_steps=how.evaluate_every_steps,
    )
    batches = ShuffledBatches(
        collate=collate, num_items=len(windows_NL), batch_size=min(how.batch_size, len(windows_NL)), seed=how.seed
    )
    state = load_checkpoint(checkpoint) if checkpoint is not None and checkpoint.exists() else None
    train(
        model,
        batches,
        _training_loss,
        settings,
        state=state,
        report=report,
        evaluate=evaluate,
        checkpoint=checkpoint,
    )
    return model.eval()


def score_next_patch(model: PatchTransformer, windows_NL: Float64Array, seed: int = 0) -> dict[str, float]:
    """How well the last patch of each window is foretold from those before it.

    The same marginal distribution of every step given the same past for both kinds: the encoder has this one patch
    masked, the decoder says it at the patch before. Nothing it said is fed back.

    Args:
        model: of either kind.
        windows_NL: shape (N, L); windows whose last patch or past is missing are no help and refused.
        seed: of the draws that stand for the distribution.

    Returns:
        `nll`: nats a step in units of the past's deviation; `crps`: in the same units; `mase`: absolute error of the
        median over the mean absolute step of the past. All free of the unit of the data.

    Raises:
        InputError: a window holds a missing value or a constant past.
    """
    patch = model.config.patch
    if windows_NL.ndim != 2 or windows_NL.shape[1] % patch or not np.isfinite(windows_NL).all() or not len(windows_NL):
        raise InputError(
            f"windows of shape {windows_NL.shape}; expected (N, a multiple of {patch}) without missing values"
        )
    steps_N = np.abs(np.diff(windows_NL[:, :-patch], axis=1)).mean(axis=1)
    if not steps_N.all():
        raise InputError("a window has a constant past, where the errors have no unit; leave it out")
    rng = np.random.default_rng(seed)
    nll, draws, targets, units = [], [], [], []
    model.eval()
    for first in range(0, len(windows_NL), _SCORE_BATCH):
        block = np.ascontiguousarray(windows_NL[first : first + _SCORE_BATCH])
        x_BPW = torch.from_numpy(block).unflatten(1, (-1, patch))
        hidden_BP = torch.zeros(x_BPW.shape[:2], dtype=torch.bool)
        hidden_BP[:, -1] = True
        z_BPW, _, std_B11 = in_own_units(x_BPW, ~hidden_BP)
        input_BPW = z_BPW.clamp(-_INPUT_LIMIT, _INPUT_LIMIT)
        with torch.no_grad():
            said = model(input_BPW, hidden_BP) if model.config.kind == "encoder" else model(input_BPW[:, :-1])
            last = type(said)(*(part[:, -1] for part in (said.logits, said.df, said.loc, said.scale)))
            nll.append(-last.log_prob(z_BPW[:, -1]).double().numpy())
        draws.append(last.sample(_NUM_DRAWS, rng))
        targets.append(z_BPW[:, -1].double().numpy())
        units.append(std_B11[:, 0].numpy())
    draws_NWS, target_NW, unit_N1 = np.concatenate(draws), np.concatenate(targets), np.concatenate(units)
    errors_NW = np.abs(np.median(draws_NWS, axis=-1) - target_NW) * unit_N1
    return {
        "nll": float(np.concatenate(nll).mean()),
        "crps": metrics.crps_ensemble(target_NW, draws_NWS),
        "mase": float((errors_NW.mean(axis=1) / steps_N).mean()),
    }

"""Training, as one function to be read from top to bottom."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from fullduplex.base.errors import ConfigError, FullduplexError, InputError
from fullduplex.train.checkpoint import TrainState, restore, save_checkpoint, snapshot
from fullduplex.train.data import Batches, Position
from fullduplex.train.optim import make_adamw
from fullduplex.train.schedule import ScheduleConfig, schedule_fraction

__all__ = ["DivergedError", "StepReport", "TrainConfig", "train"]

BatchT = TypeVar("BatchT")


class DivergedError(FullduplexError):
    """The loss, a gradient or a weight is no longer finite; the last checkpoint on disk is still good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train.

    Args:
        num_steps: optimiser steps in all, those before a resume included.
        peak_lr: learning rate where the schedule is at 1.
        seed: of torch's generators, for a run that starts afresh.
        schedule: the shape of the learning rate over time.
        weight_decay: of matrices; vectors never decay.
        betas: AdamW's averages of the gradient and of its square.
        clip_norm: longest gradient step taken; longer ones are shortened to it.
        precision: `"bfloat16"` runs the forward pass under autocast; weights stay as they are.
        evaluate_every_steps: 0: never.
        checkpoint_every_steps: 0: only at the end.

    Raises:
        ConfigError: a number is out of range.
    """

    num_steps: int
    peak_lr: float
    seed: int
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every_steps: int = 0
    checkpoint_every_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("num_steps", "evaluate_every_steps", "checkpoint_every_steps", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("peak_lr", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a finite number above 0")
        if self.precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision is {self.precision!r}; expected 'float32' or 'bfloat16'")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step, after it was taken. `grad_norm` is before clipping; `figures` is what `evaluate` returned, if due."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    figures: Mapping[str, float]


def train(
    model: nn.Module,
    batches: Batches[BatchT],
    loss: Callable[[nn.Module, BatchT], Tensor],
    config: TrainConfig,
    *,
    state: TrainState | None = None,
    report: Callable[[StepReport], None] | None = None,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    checkpoint: Path | None = None,
) -> TrainState:
    """Train `model` in place, from the start or from `state`, and return where it got to.

    A run that is stopped and resumed from its checkpoint ends bit-equal to one never stopped (same machine, same
    number of threads, deterministic kernels: so on a CPU). The caller's random generators are left as they were, and
    `evaluate` cannot disturb those of the run.

    Args:
        model: trained where it lies; its parameters decide the device.
        batches: where batches come from.
        loss: the mean loss of a batch, a scalar tensor.
        config: how.
        state: from `load_checkpoint`, to go on from; None starts afresh.
        report: called after every step.
        evaluate: called every `evaluate_every_steps` in evaluation mode without gradients.
        checkpoint: file to keep the state in, every `checkpoint_every_steps` and at the end.

    Raises:
        DivergedError: something is no longer finite. Nothing was written after it went wrong.
        InputError: the model has nothing to train.
        FormatError: `state` is of another model.
    """
    optimiser = make_adamw(model, weight_decay=config.weight_decay, betas=config.betas)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    if not parameters:
        raise InputError(f"{type(model).__name__} has no trainable parameter; is everything frozen?")
    device = parameters[0].device
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if state is None:
            torch.manual_seed(config.seed)
            step, position = 0, Position()
        else:
            restore(state, model, optimiser)
            step, position = state.step, state.position
        model.train()
        while step < config.num_steps:
            batch, position = batches.read(position)
            lr = config.peak_lr * schedule_fraction(step, config.num_steps, config.schedule)
            for group in optimiser.param_groups:
                group["lr"] = min(lr, group.get("peak_lr", math.inf) / config.peak_lr * lr)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                value = loss(model, batch)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            grad_norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            _refuse_divergence({"loss": value.detach(), "gradient norm": grad_norm}, step + 1, checkpoint)
            optimiser.step()
            step += 1
            figures = {}
            if evaluate is not None and _due(step, config.evaluate_every_steps):
                figures = _evaluate(model, evaluate)
            if checkpoint is not None and (_due(step, config.checkpoint_every_steps) or step == config.num_steps):
                _refuse_divergence(dict(model.named_parameters()), step, checkpoint)
                save_checkpoint(checkpoint, snapshot(step, position, model, optimiser))
            if report is not None:
                report(StepReport(step=step, loss=value.item(), lr=lr, grad_norm=grad_norm.item(), figures=figures))
        return snapshot(step, position, model, optimiser)


def _due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and step % every_steps == 0


def _evaluate(model: nn.Module, evaluate: Callable[[nn.Module], Mapping[str, float]]) -> Mapping[str, float]:
    """How often one looks must not change what one sees: the generators come back as they were."""
    model.eval()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        figures = evaluate(model)
    model.train()
    return figures


def _refuse_divergence(values: Mapping[str, Tensor], step: int, checkpoint: Path | None) -> None:
    bad = [name for name, value in values.items() if not bool(torch.isfinite(value).all())]
    if bad:
        kept = f"the last good state is in {checkpoint.name}" if checkpoint and checkpoint.exists() else "none was kept"
        raise DivergedError(f"step {step}: not finite: {', '.join(bad)}; {kept}; lower peak_lr or look at the batch")

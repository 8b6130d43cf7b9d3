"""A model fitted to a task: training, the choice of nothing, one look at the test set.

The settings are the papers': AdamW, a linear warm-up and a cosine, state-space parameters at a rate of at most 1e-3
without weight decay (`fullduplex.train.optim`). The validation set is looked at on the way and decides nothing; the test
set is looked at once, at the end.

Axes: B batch, T time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Int64Array
from fullduplex.base.errors import InputError
from fullduplex.ssm.classifier import Classifier, ClassifierConfig
from fullduplex.ssm.layers import LayerConfig
from fullduplex.ssm.tasks.task import Examples, Goal, Task
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["FitConfig", "Fitted", "Point", "fit", "score"]

_SCORE_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """What is trained, and how.

    Args:
        layer: the blocks.
        depth: how many of them.
        num_steps: optimiser steps, those before a resume included.
        batch_size: examples of a step.
        peak_lr: of everything but the state-space parameters.
        weight_decay: of matrices.
        warmup_share: of the steps.
        seed: of weights, batches and dropout.
        evaluate_every_steps: looks at the validation set; 0: never.
        checkpoint_every_steps: 0: only at the end.
    """

    layer: LayerConfig
    depth: int = 2
    num_steps: int = 500
    batch_size: int = 32
    peak_lr: float = 4e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    seed: int = 0
    evaluate_every_steps: int = 0
    checkpoint_every_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of the curve; `val` is the score on the validation set, where it was looked at."""

    step: int
    loss: float
    val: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model and what it reached; scores are accuracies, or errors over signal for numbers."""

    model: Classifier
    val: float
    test: float
    num_parameters: int
    curve: tuple[Point, ...]


Batch = tuple[Tensor, Tensor, Tensor]


def fit(
    task: Task,
    config: FitConfig,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    report: Callable[[Point], None] | None = None,
) -> Fitted:
    """Train from the start, or from a checkpoint.

    Args:
        task: what to learn.
        config: what is trained, and how.
        checkpoint: file to keep the state of training in.
        resume: go on from `checkpoint` where it exists.
        report: called after every step.

    Raises:
        InputError: sizes that do not fit.
        DivergedError: the loss is no longer finite.
        FormatError: the checkpoint is of another model.
    """
    model = Classifier(
        ClassifierConfig(
            layer=config.layer, depth=config.depth, inputs=task.inputs, vocabulary=task.vocabulary,
            outputs=task.outputs, pool=task.pool,
        ),
        generator=torch.Generator().manual_seed(config.seed),
    )  # fmt: skip
    if not 0 <= config.warmup_share <= 1:
        raise InputError(f"warmup_share is {config.warmup_share}; expected 0 to 1")
    settings = TrainConfig(
        num_steps=config.num_steps,
        peak_lr=config.peak_lr,
        seed=config.seed,
        schedule=ScheduleConfig(warmup_steps=round(config.warmup_share * config.num_steps)),
        weight_decay=config.weight_decay,
        betas=(0.9, 0.999),
        evaluate_every_steps=config.evaluate_every_steps,
        checkpoint_every_steps=config.checkpoint_every_steps,
    )
    curve: list[Point] = []

    def note(step: StepReport) -> None:
        point = Point(step=step.step, loss=step.loss, val=step.figures.get("val"))
        curve.append(point)
        if report is not None:
            report(point)

    state = load_checkpoint(checkpoint) if resume and checkpoint is not None and checkpoint.exists() else None
    train(
        model,
        ShuffledBatches(
            collate=lambda rows: _batch(task.train, rows),
            num_items=task.train.x.shape[0],
            batch_size=min(config.batch_size, task.train.x.shape[0]),
            seed=config.seed,
        ),
        lambda net, batch: _loss(net, batch, task.goal),
        settings,
        state=state,
        report=note,
        evaluate=lambda net: {"val": score(net, task.val, task.goal)},
        checkpoint=checkpoint,
    )
    model.eval()
    return Fitted(
        model=model,
        val=score(model, task.val, task.goal),
        test=score(model, task.test, task.goal),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        curve=tuple(curve),
    )


def score(model: nn.Module, examples: Examples, goal: Goal) -> float:
    """Share of right answers where one is asked for; for numbers, the error over the signal, root mean square."""
    right, asked, missed, power = 0, 0, 0.0, 0.0
    with torch.no_grad():
        for start in range(0, examples.x.shape[0], _SCORE_ROWS):
            rows = np.arange(start, min(start + _SCORE_ROWS, examples.x.shape[0]), dtype=np.int64)
            x, y, lengths = _batch(examples, rows)
            answer = model(x, lengths)
            if goal == "number":
                told = ~y.isnan()
                missed += float((answer - y)[told].square().sum())
                power += float(y[told].square().sum())
            else:
                told = y >= 0
                right += int((answer.argmax(-1) == y)[told].sum())
                asked += int(told.sum())
    return (missed / power) ** 0.5 if goal == "number" else right / asked


def _batch(examples: Examples, rows: Int64Array) -> Batch:
    lengths_B = torch.from_numpy(examples.lengths_N[rows])
    longest = int(lengths_B.max())
    x = torch.from_numpy(examples.x[rows][:, :longest])
    y = torch.from_numpy(examples.y[rows])
    return x, y[:, :longest] if y.ndim > 1 else y, lengths_B


def _loss(model: nn.Module, batch: Batch, goal: Goal) -> Tensor:
    x, y, lengths_B = batch
    answer = model(x, lengths_B)
    if goal == "number":
        told = ~y.isnan()
        return (answer - y)[told].square().mean()
    if goal == "tags":
        return functional.cross_entropy(answer.flatten(0, 1), y.flatten(), ignore_index=-1)
    return functional.cross_entropy(answer, y)

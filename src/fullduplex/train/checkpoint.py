"""Where a training run stands, as a value, and that value on disk."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullduplex.base.errors import FormatError
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.train.data import Position

__all__ = ["TrainState", "load_checkpoint", "restore", "save_checkpoint", "snapshot"]

_KEYS = {"step", "epoch", "batch", "model", "optimiser", "rng"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """All that decides how the run goes on; the schedule is a function of `step`.

    Args:
        step: optimiser steps taken.
        position: the next batch.
        model: `state_dict` of the model, copies on the CPU.
        optimiser: `state_dict` of the optimiser, a copy.
        rng: states of torch's generators: the CPU, then each CUDA device.
    """

    step: int
    position: Position
    model: dict[str, Tensor]
    optimiser: dict[str, Any]
    rng: tuple[Tensor, ...]


def snapshot(step: int, position: Position, model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainState:
    """Copy what training will overwrite."""
    return TrainState(
        step=step,
        position=position,
        model={name: value.detach().cpu().clone() for name, value in model.state_dict().items()},
        optimiser=copy.deepcopy(optimiser.state_dict()),
        rng=(torch.get_rng_state(), *torch.cuda.get_rng_state_all()),
    )


def restore(state: TrainState, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put `state` into `model`, `optimiser` and torch's generators.

    Raises:
        FormatError: the state is of another model.
    """
    try:
        model.load_state_dict(state.model)
        # `load_state_dict` of the optimiser keeps the tensors it is given; the copy keeps the state a value.
        optimiser.load_state_dict(copy.deepcopy(state.optimiser))
    except (RuntimeError, ValueError, KeyError) as error:
        raise FormatError(f"the training state does not fit this model: {error}") from error
    torch.set_rng_state(state.rng[0])
    for device, rng in zip(range(torch.cuda.device_count()), state.rng[1:], strict=False):
        torch.cuda.set_rng_state(rng, device)


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write `state` to `path`, atomically: until the new file is whole, the old one stays."""
    write_archive(
        path,
        {
            "step": state.step,
            "epoch": state.position.epoch,
            "batch": state.position.batch,
            "model": state.model,
            "optimiser": state.optimiser,
            "rng": list(state.rng),
        },
    )


def load_checkpoint(path: Path) -> TrainState:
    """Read what `save_checkpoint` wrote.

    Raises:
        FormatError: the file is truncated, damaged or of another kind.
    """
    saved: dict[str, Any] = read_archive(path)
    if saved.keys() != _KEYS:
        raise FormatError(f"{path.name} holds {sorted(saved)}; a training checkpoint holds {sorted(_KEYS)}")
    return TrainState(
        step=saved["step"],
        position=Position(epoch=saved["epoch"], batch=saved["batch"]),
        model=saved["model"],
        optimiser=saved["optimiser"],
        rng=tuple(saved["rng"]),
    )

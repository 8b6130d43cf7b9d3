"""The streaming contract: a stream is `init / step / scan` over an explicit state value.

Axes: B batch, T time steps of this call, D features. What a stream must honour (tests/contracts holds it to all of it):

    stepping equals scanning        any chunking, 0 and 1 included, gives the same result
    the future cannot change the past                       batch rows never meet
    the state's size is constant, or its growth is declared linear
    no call writes into its input or into a state it was given
    a state saved, loaded and continued is bit-equal to one never saved
"""

from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.nn.state import leaves

__all__ = ["Growth", "Stream", "check_piece", "find_mutated", "scan_by_steps"]

Growth = Literal["constant", "linear"]

StateT = TypeVar("StateT")


class Stream(Protocol[StateT]):
    """A causal model that can be cut anywhere."""

    @property
    def growth(self) -> Growth:
        """How the size of a state depends on the number of steps behind it."""
        ...

    def init(self, batch: int) -> StateT:
        """The state before the first step, on the device of the parameters."""
        ...

    def step(self, x_BD: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """One step: the output for this input, and the state after it."""
        ...

    def scan(self, x_BTD: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """T steps at once, T >= 0: the outputs, and the state after the last."""
        ...


def scan_by_steps(stream: Stream[StateT], x_BTD: Tensor, state: StateT) -> tuple[Tensor, StateT]:
    """The slow twin of every `scan`: one `step` after the other.

    With T = 0 there is no step to ask for the width of the output, so `scan` is asked.
    """
    if x_BTD.shape[1] == 0:
        return stream.scan(x_BTD, state)
    outputs: list[Tensor] = []
    for x_BD in x_BTD.unbind(1):
        y_BD, state = stream.step(x_BD, state)
        outputs.append(y_BD)
    return torch.stack(outputs, dim=1), state


def find_mutated(stream: Stream[Any], x_BTD: Tensor, state: object) -> tuple[str, ...]:
    """Paths of everything `step` and `scan` wrote into although it was only lent to them; `()` is a clean bill.

    Args:
        stream: the stream to watch.
        x_BTD: a piece of input, T >= 1.
        state: a state of `stream`.
    """
    watched = [("x", x_BTD), *((f"state.{path}", leaf) for path, leaf in leaves(state))]
    before = [(leaf._version, leaf.detach().clone()) for _, leaf in watched]
    stream.scan(x_BTD, state)
    stream.step(x_BTD[:, 0], state)
    # The version counts every in-place write, one that happens to write the old value too; the copy catches writes
    # that go past the counter, through `.data` or a NumPy view.
    return tuple(
        path
        for (path, leaf), (version, copy) in zip(watched, before, strict=True)
        if leaf._version != version or not torch.equal(leaf.detach(), copy)
    )


def check_piece(layer: str, x: Tensor, ndim: int, width: int, rows: int | Tensor | None = None) -> None:
    """Refuse an input a layer cannot take.

    Args:
        layer: name for the message.
        x: the input.
        ndim: 2 for a step `(B, D)`, 3 for a piece `(B, T, D)`.
        width: expected features D.
        rows: batch of the state it came with, or a leaf of that state; None for a layer without one.

    Raises:
        InputError: the rank, the width, the batch or the dtype is wrong, or the state is on another device.
    """
    if x.ndim != ndim or x.shape[-1] != width or not x.is_floating_point():
        axes = "(B, D)" if ndim == 2 else "(B, T, D)"
        raise InputError(f"{layer} got {x.dtype} {tuple(x.shape)}; expected floats of shape {axes} with D = {width}")
    if isinstance(rows, Tensor):
        if x.device != rows.device:
            raise InputError(f"{layer} got an input on {x.device} and a state on {rows.device}; expected one device")
        rows = rows.shape[0]
    if rows is not None and x.shape[0] != rows:
        raise InputError(f"{layer} got {x.shape[0]} rows and a state of {rows}; expected the same, see init(batch)")

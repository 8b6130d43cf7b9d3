"""State as a value: what may be done with any layer's state without knowing the layer.

A state is a frozen dataclass. Its fields are tensors (leaves), further states, or tuples of states. Two rules make
every function here possible: axis 0 of every leaf is the batch, and nobody writes into a leaf. A leaf that grows with
time is empty along its growing axis in the state `init` returns.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from fullduplex.base.errors import InputError

__all__ = ["Stateless", "detach", "fork", "leaves", "map_leaves", "state_select_rows", "state_size_bytes"]

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True)
class Stateless:
    """The state of a layer that remembers nothing."""


def leaves(state: object) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of `state` with its dotted path, in a fixed order.

    Raises:
        InputError: something in `state` is neither a tensor, nor a frozen dataclass, nor a tuple of them.
    """
    for name, part in _parts(state):
        if isinstance(part, Tensor):
            yield name, part
        else:
            yield from ((f"{name}.{path}", leaf) for path, leaf in leaves(part))


def map_leaves(function: Callable[[str, Tensor], Tensor], state: StateT) -> StateT:
    """A state of the same form, each leaf replaced by `function(path, leaf)`."""

    def mapped(name: str, part: object) -> object:
        if isinstance(part, Tensor):
            return function(name, part)
        return map_leaves(lambda path, leaf: function(f"{name}.{path}", leaf), part)

    new = {name: mapped(name, part) for name, part in _parts(state)}
    if isinstance(state, tuple):
        return cast("StateT", tuple(new.values()))
    return dataclasses.replace(cast("Any", state), **new)


def fork(state: StateT) -> StateT:
    """Two futures from one past: keep the old value, and go on with it as often as you like.

    Nothing is copied because nothing is ever written: `step` and `scan` return new leaves and leave the old ones
    alone. The contract tests hold every layer to that with `fullduplex.nn.stream.find_mutated`. The function exists
    so that code can say what it means.
    """
    return state


def detach(state: StateT) -> StateT:
    """The same numbers without their history: ends back-propagation through time here."""
    return map_leaves(lambda _, leaf: leaf.detach(), state)


def state_size_bytes(state: object) -> int:
    """Bytes of all leaves: what one snapshot costs to keep."""
    return sum(leaf.numel() * leaf.element_size() for _, leaf in leaves(state))


def state_select_rows(state: StateT, rows_B: Tensor) -> StateT:
    """Keep some conversations of a batch, in the order asked for; a row may be asked for twice.

    Args:
        state: any state.
        rows_B: bool mask over the batch, or int64 row indices >= 0.

    Raises:
        InputError: `rows_B` is not of one of these kinds or does not fit the batch.
    """
    if rows_B.ndim != 1 or rows_B.dtype not in (torch.bool, torch.int64):
        raise InputError(f"rows are {rows_B.dtype} {tuple(rows_B.shape)}; expected a bool mask or int64 indices, 1-D")

    def select(path: str, leaf: Tensor) -> Tensor:
        batch = leaf.shape[0]
        if rows_B.dtype == torch.bool:
            fits = rows_B.shape[0] == batch
        else:
            fits = bool(((rows_B >= 0) & (rows_B < batch)).all())
        if not fits:
            raise InputError(f"rows {rows_B.tolist()} do not fit state leaf {path!r} of {batch} rows")
        return leaf[rows_B]

    return map_leaves(select, state)


def _parts(state: object) -> list[tuple[str, object]]:
    if isinstance(state, tuple):
        return [(str(index), part) for index, part in enumerate(cast("tuple[object, ...]", state))]
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        if cast("Any", type(state)).__dataclass_params__.frozen:
            return [(item.name, getattr(state, item.name)) for item in dataclasses.fields(state)]
        raise InputError(f"state {type(state).__name__} is not frozen; declare it with @dataclass(frozen=True)")
    raise InputError(
        f"a state holds a {type(state).__name__}; expected tensors, frozen dataclasses and tuples of them only"
    )

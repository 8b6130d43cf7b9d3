"""Batches in an order that a seed decides and a position resumes.

Where a training run stands in its data is a value of two integers; reading is a function from a position to a batch
and the next position. A run that stops and starts again asks for the same batches in the same order.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from fullduplex.base.arrays import Int64Array
from fullduplex.base.errors import InputError

__all__ = ["Batches", "Position", "ShuffledBatches", "epoch_order"]

BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The next batch to read: its number within its epoch."""

    epoch: int = 0
    batch: int = 0


class Batches(Protocol[BatchT_co]):
    """What `train` reads from."""

    def read(self, position: Position) -> tuple[BatchT_co, Position]:
        """The batch at `position`, and the position after it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledBatches(Generic[BatchT]):
    """Every item once an epoch, each epoch in an order of its own; the rest that fills no batch is left out.

    Args:
        collate: makes a batch from int64 item indices of shape (B,).
        num_items: items there are.
        batch_size: items of a batch, at most `num_items`.
        seed: decides every order.

    Raises:
        InputError: there are no items, or fewer than fill one batch.
    """

    collate: Callable[[Int64Array], BatchT]
    num_items: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.num_items:
            raise InputError(f"batch_size is {self.batch_size} of {self.num_items} items; expected 1 to all of them")

    def read(self, position: Position) -> tuple[BatchT, Position]:
        """The batch at `position`, and the position after it.

        Raises:
            InputError: the position is not one this stream can be at.
        """
        num_batches = self.num_items // self.batch_size
        if position.epoch < 0 or not 0 <= position.batch < num_batches:
            raise InputError(f"{position} is outside an epoch of {num_batches} batches; was the data changed?")
        first = position.batch * self.batch_size
        order_N = epoch_order(self.num_items, self.seed, position.epoch)
        # A copy, because the kept order is read-only and torch warns of indices it could not write to.
        batch = self.collate(order_N[first : first + self.batch_size].copy())
        if position.batch + 1 == num_batches:
            return batch, Position(epoch=position.epoch + 1)
        return batch, Position(epoch=position.epoch, batch=position.batch + 1)


@functools.lru_cache(maxsize=2)
def epoch_order(num_items: int, seed: int, epoch: int) -> Int64Array:
    """The permutation of `num_items` for one epoch, int64 of shape (N,), read-only.

    Pure, so the last ones are kept: drawing a million items takes 50 ms, too long for every batch.
    """
    order_N = np.random.default_rng([seed, epoch]).permutation(num_items)
    order_N.setflags(write=False)
    return order_N

"""Which cells of a key-value cache hold which position of which sequence: bookkeeping only.

A cell holds one token's keys and values. Sequences that began alike share cells; a shared cell is never written again.
"""

import numpy as np

from fullduplex.base.arrays import Int32Array
from fullduplex.base.errors import ConfigError, InputError

__all__ = ["Cells"]


class Cells:
    """`count` cells for `sequences` sequences, each of which may use them all."""

    def __init__(self, count: int, sequences: int) -> None:
        if count < 1 or sequences < 1:
            raise ConfigError(f"cells and sequences must be at least 1, not {count} and {sequences}")
        self._table = np.zeros((sequences, count), np.int32)
        self._lengths = [0] * sequences
        self._users = np.zeros(count, np.int32)
        self._free = list(range(count - 1, -1, -1))

    def length(self, sequence: int) -> int:
        """Positions a sequence holds."""
        return self._lengths[sequence]

    def of(self, sequence: int) -> Int32Array:
        """Cells of a sequence by position, int32 (count,), valid up to its length: a view."""
        return self._table[sequence]

    def extend(self, sequence: int, tokens: int) -> bool:
        """Cells for `tokens` more positions; False, and nothing is taken, when so many are not free."""
        if tokens > len(self._free):
            return False
        length = self._lengths[sequence]
        taken = [self._free.pop() for _ in range(tokens)]
        self._table[sequence, length : length + tokens] = taken
        self._users[taken] = 1
        self._lengths[sequence] = length + tokens
        return True

    def truncate(self, sequence: int, length: int) -> None:
        """Give back the positions from `length`."""
        dropped = self._table[sequence, length : self._lengths[sequence]]
        if dropped.size:
            self._users[dropped] -= 1
            self._free.extend(int(cell) for cell in dropped[::-1] if not self._users[cell])
            self._lengths[sequence] = length

    def share(self, source: int, target: int, length: int) -> None:
        """Let `target` hold the first `length` positions of `source`, and nothing else.

        Raises:
            InputError: `source` holds fewer, or is `target` itself.
        """
        if source == target or length > self._lengths[source]:
            raise InputError(f"sequence {source} holds {self._lengths[source]} tokens: {target} cannot share {length}")
        self.truncate(target, 0)
        shared = self._table[source, :length]
        self._table[target, :length] = shared
        self._users[shared] += 1
        self._lengths[target] = length

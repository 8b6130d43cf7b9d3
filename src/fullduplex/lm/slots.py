"""Which conversation's tokens are in which cache sequence: bookkeeping only, no model.

A slot mirrors one sequence of the key-value cache. The least recently used slot makes way for a new conversation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fullduplex.base.errors import ConfigError

__all__ = ["Slot", "SlotTable", "common_prefix"]


@dataclass(slots=True)
class Slot:
    """One cache sequence and the tokens that are in it, position by position."""

    sequence: int
    tokens: list[int] = field(default_factory=list)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    length = min(len(first), len(second))
    for index in range(length):
        if first[index] != second[index]:
            return index
    return length


class SlotTable:
    """Conversation keys to slots, least recently used first."""

    def __init__(self, slots: int) -> None:
        if slots < 1:
            raise ConfigError(f"slots must be at least 1, not {slots}")
        self._slots: dict[str, Slot] = {}
        self._free = list(range(slots - 1, -1, -1))

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    def keys(self) -> tuple[str, ...]:
        """Keys that hold a slot, least recently used first."""
        return tuple(self._slots)

    def touch(self, key: str) -> Slot | None:
        """The slot of `key`, now the most recently used; None when it has none."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._slots[key] = slot
        return slot

    def claim(self, key: str) -> Slot:
        """A free slot for `key`, which has none. Call `release` first when `full`."""
        slot = Slot(self._free.pop())
        self._slots[key] = slot
        return slot

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return not self._free

    def release(self, key: str) -> Slot | None:
        """Take the slot from `key`; the caller clears the sequence in the cache."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._free.append(slot.sequence)
        return slot

    def oldest(self, *, besides: str = "") -> str | None:
        """The least recently used key other than `besides`."""
        return next((key for key in self._slots if key != besides), None)

    def donor(self, tokens: Sequence[int]) -> tuple[Slot | None, int]:
        """The slot that shares the most leading tokens with `tokens`, and how many."""
        best: Slot | None = None
        shared = 0
        for slot in self._slots.values():
            length = common_prefix(slot.tokens, tokens)
            if length > shared:
                best, shared = slot, length
        return best, shared

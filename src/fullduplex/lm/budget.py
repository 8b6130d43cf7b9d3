"""What to leave out when a conversation outgrows the model's context: an explicit policy, never a silent cut."""

from collections.abc import Callable
from dataclasses import dataclass

from fullduplex.base.chat import Message
from fullduplex.base.errors import InputError

__all__ = ["Fit", "fit"]

_BLOCK_MESSAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A prompt that fits, and how many messages were left out of it."""

    messages: tuple[Message, ...]
    dropped_messages: int


def fit(messages: tuple[Message, ...], budget_tokens: int, count_tokens: Callable[[tuple[Message, ...]], int]) -> Fit:
    """Drop the oldest messages after the leading system ones until `count_tokens` is within `budget_tokens`.

    Kept always: the leading system messages and the last message. Messages go in blocks of four (two exchanges), so
    that a conversation at the limit keeps the same beginning, and its cached tokens, for several turns. Raises
    `InputError` when what must stay is too long by itself.
    """
    system = 0
    while system < len(messages) - 1 and messages[system].role == "system":
        system += 1
    droppable = len(messages) - system - 1
    dropped = 0
    while True:
        kept = messages[:system] + messages[system + dropped :]
        size = count_tokens(kept)
        if size <= budget_tokens:
            return Fit(messages=kept, dropped_messages=dropped)
        if dropped >= droppable:
            raise InputError(
                f"the instructions and the last message alone take {size} tokens, {budget_tokens} are available; "
                "shorten them or load the model with a longer context"
            )
        dropped = min(dropped + _BLOCK_MESSAGES, droppable)

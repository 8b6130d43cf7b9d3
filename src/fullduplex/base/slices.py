"""Time slices as text: the one format that the data builder writes, a tuner reads and the time-division policy speaks.

2406.15718 section 2: in every slice of time the user's words (or <idle>) are read and words of the machine (or <idle>)
are written. A slice without words is "" here; the literal `<idle>` exists only in what a model reads and writes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from fullduplex.base.chat import Message

__all__ = ["IDLE", "MOST_PAIRS", "escape_controls", "newest", "slice_messages"]

Pair = TypeVar("Pair")

IDLE = "<idle>"
MOST_PAIRS = 96  # slices with words that a model is shown: about 2000 tokens

_CONTROL = re.compile(r"<(?=<*[^\s<>]{1,40}>)|\[(?=/?(?:INST|SYS|AVAILABLE_TOOLS)\])", re.IGNORECASE)


def escape_controls(text: str) -> str:
    """`text` with anything that looks like a control string made harmless: `<idle>` becomes `‹idle>`."""
    if "<" not in text and "[" not in text:
        return text
    return _CONTROL.sub(lambda match: "‹" if match.group() == "<" else "(", text)


def slice_messages(pairs: Iterable[tuple[str, str]], *, system: str = "") -> tuple[Message, ...]:
    """(user, machine) slices as messages: one of each side a slice, `<idle>` where there are no words.

    The machine's slices are pieces of one text: joined without anything between them they are the answer.
    """
    messages = [Message("system", system)] if system else []
    for user, machine in pairs:
        messages.append(Message("user", escape_controls(user) or IDLE))
        messages.append(Message("assistant", machine or IDLE))
    return tuple(messages)


def newest(pairs: Sequence[Pair], most: int = MOST_PAIRS) -> tuple[Pair, ...]:
    """All of `pairs` when they are at most `most`, else the newest third of `most`.

    Dropping one old slice for each new one would change the beginning of every prompt, and a model would have to read all of
    it in every slice. Two thirds go at once: prompts between two cuts share their beginning, and the cache holds.
    """
    return tuple(pairs) if len(pairs) <= most else tuple(pairs[-max(most // 3, 1) :])

"""Time slices as text: the one format that the data builder writes, a tuner reads and the time-division policy speaks.

2406.15718 section 2: in every slice of time the user's words (or <idle>) are read and words of the machine (or <idle>)
are written. A slice without words is "" here; the literal `<idle>` exists only in what a model reads and writes.
"""

import re
from collections.abc import Iterable

from fullduplex.base.chat import Message

__all__ = ["IDLE", "escape_controls", "slice_messages"]

IDLE = "<idle>"

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

"""Time slices as data: what each side contributed in each slice, and how the exchange is laid out for a model.

2406.15718 section 3: every k seconds the user's words of that slice (or <idle>) are read and a slice of output (or
<idle>) is written. Compaction drops pairs in which nobody said anything, as the released server does.
"""

from dataclasses import dataclass

from fullduplex.base.chat import Message
from fullduplex.dialogue.history import escape_controls

__all__ = ["IDLE", "SlicePair", "compact", "merged_messages", "pair_messages"]

IDLE = "<idle>"


@dataclass(frozen=True, slots=True)
class SlicePair:
    """One slice: the user's words and the machine's, "" for idle."""

    user: str
    machine: str


def compact(pairs: tuple[SlicePair, ...]) -> tuple[SlicePair, ...]:
    """Without the pairs in which nobody said anything. Compacting as one goes equals compacting at the end."""
    return tuple(pair for pair in pairs if pair.user or pair.machine)


def pair_messages(system: str, pairs: tuple[SlicePair, ...], user_slice: str) -> tuple[Message, ...]:
    """The layout of a duplex model: one user and one assistant message a slice, `<idle>` where there are no words.

    User words are escaped: only this function writes the idle token.
    """
    messages = [Message("system", system)] if system else []
    for pair in compact(pairs):
        messages.append(Message("user", escape_controls(pair.user) or IDLE))
        messages.append(Message("assistant", pair.machine or IDLE))
    messages.append(Message("user", escape_controls(user_slice) or IDLE))
    return tuple(messages)


def merged_messages(system: str, pairs: tuple[SlicePair, ...], user_slice: str) -> tuple[Message, ...]:
    """The layout for a chat model that knows no slices: consecutive words of one side are one message.

    If the machine spoke last and the user is silent, the last message is the assistant's, to be continued.
    """
    messages = [Message("system", system)] if system else []

    def say(role: str, text: str) -> None:
        if not text:
            return
        if messages and messages[-1].role == role:
            messages[-1] = Message(messages[-1].role, f"{messages[-1].text} {text}")
        else:
            messages.append(Message("user" if role == "user" else "assistant", text))

    for pair in compact(pairs):
        say("user", escape_controls(pair.user))
        say("assistant", pair.machine)
    say("user", escape_controls(user_slice))
    return tuple(messages)

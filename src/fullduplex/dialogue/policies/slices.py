"""Time slices as data: what each side contributed in each slice, and how the exchange is laid out for a model.

2406.15718 section 3: every k seconds the user's words of that slice (or <idle>) are read and a slice of output (or
<idle>) is written. Compaction drops pairs in which nobody said anything, as the released server does.
"""

import re
from dataclasses import dataclass

from fullduplex.base.chat import Message
from fullduplex.base.slices import IDLE, escape_controls, slice_messages

__all__ = [
    "SlicePair",
    "as_heard",
    "compact",
    "ended",
    "extended",
    "merged_messages",
    "pair_messages",
    "unanswered",
]

_SENTENCE_ENDS = (".", "?", "!", "\u2026", '"', "\u201d")


@dataclass(frozen=True, slots=True)
class SlicePair:
    """One slice: the user's words and the machine's, "" for idle.

    The machine's slices are kept as they were written: joined without anything between them they are the answer, also
    where a slice ended inside a word.
    """

    user: str
    machine: str


def compact(pairs: tuple[SlicePair, ...]) -> tuple[SlicePair, ...]:
    """Without the pairs in which nobody said anything. Compacting as one goes equals compacting at the end."""
    return tuple(pair for pair in pairs if pair.user or pair.machine)


def unanswered(pairs: tuple[SlicePair, ...]) -> bool:
    """Did the user speak last?"""
    return bool(pairs) and bool(pairs[-1].user) and not pairs[-1].machine


def ended(pairs: tuple[SlicePair, ...]) -> tuple[SlicePair, ...]:
    """With a full stop behind the user's last words, unless a sentence ends there.

    A recogniser guesses a mark at every pause. A duplex model waits behind a comma for ever; who has been silent for long
    meant none.
    """
    words = pairs[-1].user.rstrip(" ,;:-\u2013\u2014")
    if not words or words.endswith(_SENTENCE_ENDS):
        return pairs
    return (*pairs[:-1], SlicePair(f"{words}.", pairs[-1].machine))


def extended(pairs: tuple[SlicePair, ...], text: str, *, fresh: bool) -> tuple[SlicePair, ...]:
    """With the machine's next slice: it joins the user's slice of the same time, or stands alone.

    `fresh`: it begins an answer, and is no continuation of the words before it.
    """
    if unanswered(pairs):
        return (*pairs[:-1], SlicePair(pairs[-1].user, text))
    return (*pairs, SlicePair("", f" {text}" if fresh and pairs else text))


def as_heard(pairs: tuple[SlicePair, ...], heard: str, *, slices: int) -> tuple[SlicePair, ...]:
    """Cut the machine's last answer, which has `slices` slices, down to the words that were heard.

    User slices that nothing has answered yet may follow it.
    """
    end = len(pairs)
    while end and not pairs[end - 1].machine:
        end -= 1
    start = max(end - slices, 0)
    answer = pairs[start:end]
    words = list(re.finditer(r"\S+", "".join(pair.machine for pair in answer)))[: len(heard.split())]
    left = words[-1].end() if words else 0
    kept: list[SlicePair] = []
    for pair in answer:
        kept.append(SlicePair(pair.user, pair.machine[:left]))
        left = max(left - len(pair.machine), 0)
    return compact((*pairs[:start], *kept, *pairs[end:]))


def pair_messages(system: str, pairs: tuple[SlicePair, ...], user_slice: str) -> tuple[Message, ...]:
    """The layout of a duplex model: one user and one assistant message a slice, `<idle>` where there are no words.

    User words are escaped: only this function writes the idle token.
    """
    shown = [(pair.user, pair.machine) for pair in compact(pairs)]
    return (*slice_messages(shown, system=system), Message("user", escape_controls(user_slice) or IDLE))


def merged_messages(system: str, pairs: tuple[SlicePair, ...], user_slice: str) -> tuple[Message, ...]:
    """The layout for a chat model that knows no slices: consecutive words of one side are one message.

    If the machine spoke last and the user is silent, the last message is the assistant's, to be continued.
    """
    messages = [Message("system", system)] if system else []

    def say(role: str, text: str) -> None:
        if not text:
            return
        if messages and messages[-1].role == role:
            between = " " if role == "user" else ""
            messages[-1] = Message(messages[-1].role, f"{messages[-1].text}{between}{text}")
        else:
            messages.append(Message("user" if role == "user" else "assistant", text.lstrip()))

    for pair in compact(pairs):
        say("user", escape_controls(pair.user))
        say("assistant", pair.machine)
    say("user", escape_controls(user_slice))
    return tuple(messages)

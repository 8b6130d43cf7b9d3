"""The conversation as both sides know it: what the user said, and what the user really heard.

The machine's side holds only words whose sound was played. Consecutive messages of one side are one message, so a user
who was cut short and goes on has said one thing.
"""

from dataclasses import dataclass, replace

from fullduplex.base.chat import Message
from fullduplex.base.slices import escape_controls

__all__ = ["History", "Item", "begin_alike", "messages_of", "recent", "record_heard", "record_user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One contribution. `utterance` is 0 for the user; `complete` is False for a reply that was cut."""

    role: str
    text: str
    utterance: int = 0
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`system` and the items in order. `memory_words`: how much of it the brain is shown (see `recent`)."""

    system: str
    items: tuple[Item, ...] = ()
    max_items: int = 400
    memory_words: int = 320


def record_user(history: History, text: str) -> History:
    """Add what the user said."""
    item = Item(role="user", text=escape_controls(text.strip()))
    return replace(history, items=(*history.items, item)[-history.max_items :]) if item.text else history


def record_heard(history: History, utterance: int, heard: str, *, complete: bool, replaced: bool = False) -> History:
    """Set what was heard of a reply; nothing heard leaves no trace.

    `replaced`: the user's message that ended the reply is in the history already, so the reply goes before it.
    """
    item = Item(role="assistant", text=heard, utterance=utterance, complete=complete)
    others = [old for old in history.items if old.utterance != utterance or old.role != "assistant"]
    at = next((i for i, old in enumerate(history.items) if old.role == "assistant" and old.utterance == utterance), -1)
    if not heard:
        return replace(history, items=tuple(others))
    if at < 0:
        tail = history.items[-1:] if replaced and history.items and history.items[-1].role == "user" else ()
        body = history.items[: len(history.items) - len(tail)]
        return replace(history, items=(*body, item, *tail)[-history.max_items :])
    return replace(history, items=(*history.items[:at], item, *history.items[at + 1 :]))


def recent(items: tuple[Item, ...], memory_words: int) -> tuple[Item, ...]:
    """The end of the conversation that fits into `memory_words` words.

    A brain's time per word grows with what it has before it, so what it is shown is bounded. When the bound is passed,
    the oldest two thirds go at once: between such cuts every prompt begins like the one before, and a brain's cache holds.
    """
    start = total = 0
    sizes = [len(item.text.split()) for item in items]
    for i, size in enumerate(sizes):
        total += size
        if total > memory_words:
            while start < i and total > memory_words // 3:
                total -= sizes[start]
                start += 1
            while start < i and items[start].role == "assistant":  # begin with the user
                total -= sizes[start]
                start += 1
    return items[start:]


def begin_alike(one: History, other: History) -> bool:
    """Whether the brain is shown both from the same item on: then what it has read of one is read of the other."""
    first, second = (recent(history.items, history.memory_words)[:1] for history in (one, other))
    return first == second


def messages_of(history: History, user_text: str = "") -> tuple[Message, ...]:
    """The prompt: system message, merged items, and `user_text` as the last user message if there is any.

    White space at the end of `user_text` is kept as one blank: it says that the last word is whole.
    """
    merged: list[Message] = [Message("system", history.system)] if history.system else []
    items = [*recent(history.items, history.memory_words)]
    if user_text.strip():
        blank = " " if user_text[-1].isspace() else ""
        items.append(Item(role="user", text=escape_controls(user_text.strip()) + blank))
    for item in items:
        role = "assistant" if item.role == "assistant" else "user"
        if merged and merged[-1].role == role:
            merged[-1] = Message(role, f"{merged[-1].text} {item.text}")
        else:
            merged.append(Message(role, item.text))
    return tuple(merged)

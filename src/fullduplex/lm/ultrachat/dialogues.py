"""Chats from JSONL, one a line, in the three shapes that chat data comes in; broken lines are named by number.

{"messages": [{"role": "user", "content": "…"}, …]}; {"conversations": [{"from": "human", "value": "…"}, …]};
{"data": ["user's", "assistant's", "user's", …]} (UltraChat). A system message at the beginning is left out.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fullduplex.base.errors import FormatError
from fullduplex.base.slices import escape_controls

__all__ = ["Dialogue", "Exchange", "dialogue_from", "read_dialogues"]

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "bot": "assistant"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said and what the machine answered; neither is empty, control strings are harmless."""

    user: str
    machine: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Exchanges in order, and which line of the source they came from."""

    id: str
    exchanges: tuple[Exchange, ...]


def dialogue_from(plain: object, name: str) -> Dialogue:
    """A dialogue from one line's JSON value.

    A last message of the user that nobody answered is left out.

    Raises:
        FormatError: no known shape, empty messages, roles that do not alternate, or no exchange at all.
    """
    turns = _turns(plain)
    if turns and turns[0][0] == "system":
        turns = turns[1:]
    for number, (role, text) in enumerate(turns):
        if role != ("user", "assistant")[number % 2]:
            raise FormatError(f"message {number} is by {role!r}; expected user and assistant to take turns, user first")
        if not text.strip():
            raise FormatError(f"message {number} is empty; expected words")
    exchanges = tuple(
        Exchange(_clean(user[1]), _clean(machine[1])) for user, machine in zip(turns[::2], turns[1::2], strict=False)
    )
    if not exchanges:
        raise FormatError("the dialogue has no exchange; expected at least one question with its answer")
    return Dialogue(name, exchanges)


def _clean(text: str) -> str:
    return escape_controls(text.replace("\0", " ").strip())


def _turns(plain: object) -> list[tuple[str, str]]:
    if not isinstance(plain, dict):
        raise FormatError(f"a line holds a {type(plain).__name__}; expected an object with messages")
    fields = cast("dict[str, Any]", plain)
    rows: Any = fields.get("messages", fields.get("conversations"))
    try:
        if rows is not None:
            return [_turn(row) for row in rows]
        data = fields["data"]
        if isinstance(data, list) and all(isinstance(text, str) for text in data):
            return [(("user", "assistant")[number % 2], text) for number, text in enumerate(data)]
    except (KeyError, TypeError) as error:
        raise FormatError(f"no chat of a known shape ({error!r}); expected messages, conversations or data") from error
    raise FormatError("data is not a list of texts; expected the user's and the assistant's in turn")


def _turn(row: dict[str, Any]) -> tuple[str, str]:
    role = str(row["role"] if "role" in row else row["from"])
    text = row["content"] if "content" in row else row["value"]
    if not isinstance(text, str):
        raise FormatError(f"a message holds a {type(text).__name__}; expected text")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise FormatError("a message holds half of a character (a lone surrogate); expected Unicode text")
    return _ROLES.get(role, role), text


def read_dialogues(
    file: Path, *, skip_bad: bool = False, note: Callable[[int, str], None] | None = None
) -> Iterator[Dialogue]:
    """The dialogues of a JSONL file, one after the other; the file is never held in memory. Empty lines are none.

    Args:
        file: one chat a line.
        skip_bad: go on after a broken line instead of refusing it.
        note: told of every line that was skipped: its number and what is wrong.

    Raises:
        FormatError: a broken line (its number is in the message), unless `skip_bad`; or no such file.
    """
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield dialogue_from(json.loads(line), str(number))
                except (FormatError, ValueError, RecursionError) as error:
                    if not skip_bad:
                        raise FormatError(f"{file} line {number}: {error}; repair it, or skip broken lines") from error
                    if note is not None:
                        note(number, str(error))
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error

"""What is taken at the door: JSON that everything behind it can keep, show, compare and send on.

Python's JSON reader takes more than JSON has: NaN, infinite numbers, and text that is not Unicode (half of a surrogate
pair), which cannot be sent. All of that is refused here, with the place where it was found, and so is deep nesting.
"""

import json
import math
from typing import Any, cast

from fullduplex.base.errors import FormatError

__all__ = ["MAX_ID_CHARACTERS", "WireError", "encodable", "parsed", "shown"]

MAX_ID_CHARACTERS = 512
_MOST_LEVELS = 64
_MOST_SHOWN = 80

_Place = tuple["_Place | None", object]  # of what it is a part, and its name or number there


class WireError(FormatError):
    """A message that cannot be obeyed. `code` and `param` are the protocol's; `event_id` is the client's."""

    def __init__(self, message: str, *, code: str, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id


def shown(value: object) -> str:
    """A value of a client as it may stand in a message: on one line, not long, valid Unicode."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 20]}… ({len(text)} characters)"


def encodable(text: str) -> str:
    """The text, with U+FFFD in place of what is not Unicode."""
    return text if _is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parsed(text: str | bytes) -> dict[str, Any]:
    """The object that a message is.

    Raises:
        WireError: it is not JSON, not an object, nested too deeply, or holds a number or text that JSON cannot carry.
    """
    if isinstance(text, bytes):
        message = f"this server takes JSON in text frames; a binary frame of {len(text)} bytes came"
        raise WireError(message, code="invalid_event_type")
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the message is not JSON: {str(error)[:200]}", code="invalid_json") from error
    if not isinstance(loaded, dict):
        raise WireError(f"the message is a {type(loaded).__name__}; expected an object", code="invalid_json")
    message = cast("dict[str, Any]", loaded)
    try:
        _check(message)
    except WireError as error:
        error.event_id = _event_id(message)
        raise
    return message


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _event_id(message: dict[str, Any]) -> str | None:
    """What the client calls a message that is refused, if that can be sent back."""
    value = message.get("event_id")
    return value if isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS and _is_unicode(value) else None


def _check(message: dict[str, Any]) -> None:
    waiting: list[tuple[object, _Place | None, int]] = [(message, None, 0)]
    while waiting:
        value, place, level = waiting.pop()
        if isinstance(value, (str, float)):
            _check_plain(value, place)
            continue
        if isinstance(value, dict):
            members = list(cast("dict[str, object]", value).items())
            for name, _ in members:
                _check_name(name, place)
        elif isinstance(value, list):
            members = list(enumerate(cast("list[object]", value)))
        else:
            continue
        if members and level == _MOST_LEVELS:
            raise WireError(
                f"{_path(place)} is nested more than {_MOST_LEVELS} deep; send it flatter",
                code="invalid_value",
                param=_path(place),
            )
        waiting += [(each, (place, name), level + 1) for name, each in reversed(members)]


def _check_plain(value: str | float, place: _Place | None) -> None:
    if isinstance(value, str):
        if not _is_unicode(value):
            problem = "is not valid Unicode: it holds half of a surrogate pair; send whole characters"
            raise WireError(f"{_path(place)} {problem}", code="invalid_value", param=_path(place))
    elif not math.isfinite(value):
        message = f"{_path(place)} is {value}; expected a number that JSON can carry"
        raise WireError(message, code="invalid_value", param=_path(place))


def _check_name(name: str, place: _Place | None) -> None:
    if not _is_unicode(name):
        raise WireError(
            f"{_path(place)} has a name that is not valid Unicode: it holds half of a surrogate pair",
            code="invalid_value",
            param=_path(place) if place else None,
        )


def _path(place: _Place | None) -> str:
    """Such as "item.content[0].text"."""
    path = ""
    while place is not None:
        place, name = place
        here = f"[{name}]" if isinstance(name, int) else f".{str(name)[:_MOST_SHOWN]}"
        path = (here + path)[:1000]
    return path.removeprefix(".") or "the message"

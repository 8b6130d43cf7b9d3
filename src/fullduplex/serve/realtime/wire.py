"""The client's side of the OpenAI Realtime event protocol as values, and every way in which a message can be wrong.

GA names (https://platform.openai.com/docs/api-reference/realtime). One addition of our own, under names that others
ignore: `fullduplex.playback` and the `fullduplex` field of `input_audio_buffer.append` say how far the client's
loudspeaker has come. A message that is wrong raises `WireError`, which becomes an `error` event; the session goes on.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from fullduplex.serve.realtime.door import MAX_ID_CHARACTERS, WireError, parsed, shown

__all__ = [
    "Append",
    "CancelResponse",
    "ClearInputBuffer",
    "ClearOutputBuffer",
    "ClientEvent",
    "Commit",
    "CreateItem",
    "CreateResponse",
    "DeleteItem",
    "Mark",
    "RetrieveItem",
    "Truncate",
    "UpdateSession",
    "WireError",
    "decode",
]

_MAX_TEXT_CHARACTERS = 20_000
_MOST = 2**53 - 1  # the largest number that every reader of JSON keeps exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far the loudspeaker had come: `samples` of an utterance (VOICE_RATE_HZ), obeying flushes up to `epoch`.

    In an `Append` it is the position when the last sample of that sound was captured.
    """

    item_id: str
    epoch: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Sound: pcm16, little-endian, one channel, 24 kHz."""

    audio: bytes
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The user's turn ends here."""


@dataclass(frozen=True, slots=True)
class ClearInputBuffer:
    """Forget the open turn."""


@dataclass(frozen=True, slots=True)
class ClearOutputBuffer:
    """Be silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateItem:
    """A typed contribution: `role` is user or system. `previous` None: after whatever is last."""

    item_id: str | None
    role: str
    text: str
    previous: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """The user heard `audio_end_ms` of this item."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteItem:
    """Take an item out of the conversation."""

    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveItem:
    """Show an item."""

    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResponse:
    """Answer now."""

    params: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelResponse:
    """Stop answering."""

    response_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSession:
    """Change settings."""

    session: dict[str, Any]


Body = (
    Append
    | Commit
    | ClearInputBuffer
    | ClearOutputBuffer
    | CreateItem
    | Truncate
    | DeleteItem
    | RetrieveItem
    | CreateResponse
    | CancelResponse
    | UpdateSession
    | Mark
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvent:
    """One message of a client."""

    event_id: str | None
    body: Body


def _get(message: Mapping[str, Any], name: str, kind: type, *, where: str = "") -> Any:
    param = where + name
    if name not in message:
        raise WireError(f"{param} is missing", code="missing_required_parameter", param=param)
    value = message[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WireError(
            f"{param} is {type(value).__name__}; expected {kind.__name__}", code="invalid_type", param=param
        )
    return value


def _natural(message: Mapping[str, Any], name: str, *, where: str = "") -> int:
    value: int = _get(message, name, int, where=where)
    if not 0 <= value <= _MOST:
        raise WireError(
            f"{where}{name} is {shown(value)}; expected a whole number from 0 to {_MOST}",
            code="invalid_value",
            param=where + name,
        )
    return value


def _only(message: Mapping[str, Any], known: tuple[str, ...], *, where: str = "") -> None:
    for name in message:
        if name not in known:
            raise WireError(
                f"unknown parameter {shown(where + name)}; known here: {', '.join(known) or 'none'}",
                code="unknown_parameter",
                param=(where + name)[:MAX_ID_CHARACTERS],
            )


def _mark(message: Mapping[str, Any], *, where: str = "") -> Mark:
    return Mark(
        item_id=_get(message, "item_id", str, where=where),
        epoch=_natural(message, "epoch", where=where),
        samples=_natural(message, "played_samples", where=where),
    )


def _append(message: Mapping[str, Any]) -> Append:
    _only(message, ("audio", "fullduplex"))
    text: str = _get(message, "audio", str)
    try:
        audio = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"audio is not base64: {error}", code="invalid_value", param="audio") from error
    if len(audio) % 2:
        raise WireError(f"audio has {len(audio)} bytes; pcm16 has two a sample", code="invalid_value", param="audio")
    mark = None
    if message.get("fullduplex") is not None:
        extension: dict[str, Any] = _get(message, "fullduplex", dict)
        _only(extension, ("item_id", "epoch", "played_samples"), where="fullduplex.")
        mark = _mark(extension, where="fullduplex.")
    return Append(audio=audio, mark=mark)


def _played(message: Mapping[str, Any]) -> Mark:
    _only(message, ("item_id", "epoch", "played_samples"))
    return _mark(message)


def _item_text(content: list[Any]) -> str:
    texts: list[str] = []
    for i, raw in enumerate(content):
        where = f"item.content[{i}]."
        if not isinstance(raw, dict):
            raise WireError(f"{where[:-1]} is not an object", code="invalid_type", param=where[:-1])
        part = cast("dict[str, Any]", raw)
        kind: str = _get(part, "type", str, where=where)
        if kind != "input_text":
            raise WireError(
                f"{where}type is {shown(kind)}; this server takes input_text here and sound through "
                "input_audio_buffer.append",
                code="unsupported_content",
                param=where + "type",
            )
        texts.append(_get(part, "text", str, where=where))
    return " ".join(text.strip() for text in texts if text.strip())


def _create_item(message: Mapping[str, Any]) -> CreateItem:
    _only(message, ("item", "previous_item_id"))
    item: dict[str, Any] = _get(message, "item", dict)
    kind: str = _get(item, "type", str, where="item.")
    if kind != "message":
        raise WireError(
            f"item.type is {shown(kind)}; this server has no tools, it takes messages",
            code="unsupported_item",
            param="item.type",
        )
    _only(item, ("type", "id", "object", "status", "role", "content"), where="item.")
    role: str = _get(item, "role", str, where="item.")
    if role not in ("user", "system"):
        raise WireError(
            f"item.role is {shown(role)}; expected user or system: what the machine said is known here",
            code="unsupported_item",
            param="item.role",
        )
    text = _item_text(_get(item, "content", list, where="item."))
    if len(text) > _MAX_TEXT_CHARACTERS:
        raise WireError(
            f"item.content has {len(text)} characters; the most is {_MAX_TEXT_CHARACTERS}",
            code="string_above_max_length",
            param="item.content",
        )
    if not text:
        raise WireError("item.content holds no text", code="invalid_value", param="item.content")
    item_id = item.get("id")
    if item_id is not None and (not isinstance(item_id, str) or not 0 < len(item_id) <= 64):
        raise WireError("item.id must be 1 to 64 characters", code="invalid_value", param="item.id")
    previous: str | None = None
    if message.get("previous_item_id") not in (None, "root"):
        previous = _get(message, "previous_item_id", str)
    return CreateItem(item_id=item_id, role=role, text=text, previous=previous)


def _truncate(message: Mapping[str, Any]) -> Truncate:
    _only(message, ("item_id", "content_index", "audio_end_ms"))
    return Truncate(
        item_id=_get(message, "item_id", str),
        content_index=_natural(message, "content_index"),
        audio_end_ms=_natural(message, "audio_end_ms"),
    )


def _delete(message: Mapping[str, Any]) -> DeleteItem:
    _only(message, ("item_id",))
    return DeleteItem(item_id=_get(message, "item_id", str))


def _retrieve(message: Mapping[str, Any]) -> RetrieveItem:
    _only(message, ("item_id",))
    return RetrieveItem(item_id=_get(message, "item_id", str))


def _respond(message: Mapping[str, Any]) -> CreateResponse:
    _only(message, ("response",))
    params: dict[str, Any] = {} if message.get("response") is None else _get(message, "response", dict)
    return CreateResponse(params=params)


def _cancel(message: Mapping[str, Any]) -> CancelResponse:
    _only(message, ("response_id",))
    response_id = None if message.get("response_id") is None else _get(message, "response_id", str)
    return CancelResponse(response_id=response_id)


def _update(message: Mapping[str, Any]) -> UpdateSession:
    _only(message, ("session",))
    return UpdateSession(session=_get(message, "session", dict))


def _bare(body: Body) -> Callable[[Mapping[str, Any]], Body]:
    def read(message: Mapping[str, Any]) -> Body:
        _only(message, ())
        return body

    return read


_READERS: dict[str, Callable[[Mapping[str, Any]], Body]] = {
    "conversation.item.create": _create_item,
    "conversation.item.delete": _delete,
    "conversation.item.retrieve": _retrieve,
    "conversation.item.truncate": _truncate,
    "fullduplex.playback": _played,
    "input_audio_buffer.append": _append,
    "input_audio_buffer.clear": _bare(ClearInputBuffer()),
    "input_audio_buffer.commit": _bare(Commit()),
    "output_audio_buffer.clear": _bare(ClearOutputBuffer()),
    "response.cancel": _cancel,
    "response.create": _respond,
    "session.update": _update,
}


def decode(text: str | bytes) -> ClientEvent:
    """One message.

    Raises:
        WireError: not text, not JSON, not an object, an unknown type or field, a field of the wrong type or value.
    """
    message = parsed(text)
    event_id = message.pop("event_id", None)
    if event_id is not None and (not isinstance(event_id, str) or len(event_id) > MAX_ID_CHARACTERS):
        raise WireError(
            f"event_id must be a string of at most {MAX_ID_CHARACTERS} characters",
            code="invalid_value",
            param="event_id",
        )
    kind = message.pop("type", None)
    if not isinstance(kind, str):
        raise WireError("type is missing", code="missing_required_parameter", param="type", event_id=event_id)
    reader = _READERS.get(kind)
    if reader is None:
        raise WireError(
            f"no client event is called {shown(kind)}; known: {', '.join(_READERS)}",
            code="invalid_event_type",
            param="type",
            event_id=event_id,
        )
    try:
        return ClientEvent(event_id=event_id, body=reader(message))
    except WireError as error:
        error.event_id = event_id
        raise

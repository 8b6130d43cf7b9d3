"""The server's side of the protocol: what the core did, told as the events of OpenAI Realtime.

Pure: core events in, messages (dicts) out. The conversation knows its items, the open turn and the open response; it
decides nothing. Clients that announced the extension also get the `fullduplex.*` events.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fullduplex.base.units import FRAME_S, VOICE_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.history import History
from fullduplex.numerics.signal import pcm16_from_float
from fullduplex.serve.realtime.door import WireError, shown
from fullduplex.serve.realtime.settings import Refusal, Settings, described

__all__ = ["Conversation", "Message", "beta_name"]

Message = dict[str, Any]

_MS = 1e3
_MAX_ITEMS = 1000  # older ones can no longer be retrieved or truncated
_BY_CLIENT = ("told to stop", "a typed message", "closed")
_BETA_NAMES = {
    "conversation.item.added": "conversation.item.created",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}


def beta_name(message: Message) -> Message | None:
    """The message as clients of the beta protocol expect it; None if they know no such event."""
    if message["type"] == "conversation.item.done":
        return None
    return {**message, "type": _BETA_NAMES.get(message["type"], message["type"])}


@dataclass(slots=True)
class _Item:
    item_id: str
    role: str
    text: str
    status: str
    kind: str  # type of its one content part
    utterance: int = 0
    sent_samples: int = 0

    def message(self) -> Message:
        name = "transcript" if self.kind in ("input_audio", "output_audio") else "text"
        content = [] if self.status == "in_progress" else [{"type": self.kind, name: self.text}]
        return {
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": self.status,
            "role": self.role,
            "content": content,
        }


@dataclass(slots=True)
class _Response:
    response_id: str
    item: _Item
    modality: str
    metadata: dict[str, Any] | None
    said: list[str] = field(default_factory=list[str])


class Conversation:
    """One client's view of one conversation."""

    def __init__(self, key: str, settings: Settings) -> None:
        self.key = key
        self.settings = settings
        self.metadata: dict[str, Any] | None = None
        self.open: _Response | None = None
        self._items: dict[str, _Item] = {}
        self._turn_item = ""
        self._transcribed = ""
        self._turn_began = 0
        self._turn_ended = -1
        self._user_speaks = False
        self._counter = 0
        self._frame = 0
        self._out: list[Message] = []
        self._takers: dict[type[Any], Callable[[Any], None]] = {
            ev.UserSpeech: self._user_speech,
            ev.UserText: self._user_text,
            ev.ReplyStarted: self._reply_started,
            ev.ReplyText: self._reply_text,
            ev.AudioOut: self._audio,
            ev.Flush: self._flush,
            ev.ReplyDone: self._reply_done,
            ev.Resumed: self._resumed,
            ev.TurnChanged: self._turn_changed,
            ev.Dropped: self._dropped,
            ev.DeadlineMissed: self._deadline,
            ev.Failure: self._failure,
        }

    # --- what is known ------------------------------------------------------------------------------------------------

    def utterance_of(self, item_id: str) -> int:
        """The core's number of a reply.

        Raises:
            WireError: no such item, or it is not a reply.
        """
        item = self._item(item_id)
        if not item.utterance:
            raise WireError(f"item {item_id!r} is not the machine's", code="invalid_value", param="item_id")
        return item.utterance

    def sent_samples(self, item_id: str) -> int:
        """How much sound of this item the client has been sent."""
        return self._item(item_id).sent_samples

    def _item(self, item_id: str, param: str = "item_id") -> _Item:
        item = self._items.get(item_id)
        if item is None:
            raise WireError(f"{param}: there is no item {shown(item_id)}", code="item_not_found", param=param)
        return item

    def _spoken_item(self, utterance: int) -> str | None:
        return next((i.item_id for i in reversed(self._items.values()) if i.utterance == utterance), None)

    def _new_id(self, kind: str) -> str:
        self._counter += 1
        return f"{kind}_{self.key}_{self._counter}"

    # --- messages -----------------------------------------------------------------------------------------------------

    def emit(self, kind: str, **fields: Any) -> None:
        """Queue a message."""
        self._out.append({"type": kind, "event_id": self._new_id("event"), **fields})

    def drain(self) -> list[Message]:
        """The queued messages."""
        out, self._out = self._out, []
        return out

    def extension(self, kind: str, **fields: Any) -> None:
        """Queue a message of our own, for clients that asked for them."""
        if self.settings.playback_acks:
            self.emit(f"fullduplex.{kind}", **fields)

    def hello(self) -> None:
        """The first message."""
        self.emit("session.created", session=described(self.settings, f"sess_{self.key}"))

    def session_updated(self, settings: Settings) -> None:
        """Settings took effect."""
        self.settings = settings
        self.emit("session.updated", session=described(settings, f"sess_{self.key}"))

    def error(
        self, message: str, *, kind: str, code: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        """Something could not be done. `kind`: invalid_request_error or server_error."""
        record = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
        self.emit("error", error=record)

    def refuse(self, error: WireError | Refusal, event_id: str | None = None) -> None:
        """A client's message, or a field of it, was wrong."""
        message = error.message if isinstance(error, Refusal) else str(error)
        self.error(message, kind="invalid_request_error", code=error.code, param=error.param, event_id=event_id)

    # --- what the client did ------------------------------------------------------------------------------------------

    def add_item(self, role: str, text: str, item_id: str | None, previous: str | None = None) -> None:
        """A typed item, at the end of the conversation; `previous`, if given, must be the last one there.

        Raises:
            WireError: the id is taken, or the item would not come last.
        """
        if previous is not None and self._item(previous, "previous_item_id").item_id != next(reversed(self._items)):
            raise WireError(
                f"previous_item_id is {previous!r}, which is not the last item; items can only be appended here: "
                f"leave it out, or name {next(reversed(self._items))!r}",
                code="unsupported_value",
                param="previous_item_id",
            )
        if item_id is not None and item_id in self._items:
            raise WireError(f"there is an item {item_id!r} already", code="item_exists", param="item.id")
        self._add(_Item(item_id or self._new_id("item"), role, text, "completed", "input_text"))

    def _add(self, item: _Item) -> None:
        previous = next(reversed(self._items), None)
        self._items[item.item_id] = item
        if len(self._items) > _MAX_ITEMS:
            del self._items[next(iter(self._items))]
        self.emit("conversation.item.added", previous_item_id=previous, item=item.message())
        if item.status != "in_progress":
            self.emit("conversation.item.done", previous_item_id=previous, item=item.message())

    def truncated(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """The client said where the user stopped hearing an item."""
        self.emit(
            "conversation.item.truncated", item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    def retrieved(self, item_id: str) -> None:
        """Show an item."""
        self.emit("conversation.item.retrieved", item=self._item(item_id).message())

    # --- what the core did --------------------------------------------------------------------------------------------

    def take(self, event: ev.Event, frame: int) -> None:
        """One event of the core, which happened at the end of `frame`."""
        self._frame = frame
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def progress(self, history: History) -> None:
        """How much of the open reply has been heard by now, for clients that show it."""
        if self.open is None or not self.settings.playback_acks:
            return
        item = self.open.item
        heard = next((each.text for each in reversed(history.items) if each.utterance == item.utterance), "")
        if heard != item.text:
            item.text = heard
            self.extension("heard", item_id=item.item_id, text=heard, complete=False, done=False, cause="")

    def _user_speech(self, event: ev.UserSpeech) -> None:
        ms = max(round(event.frame * FRAME_S * _MS), 0)
        self._user_speaks = event.active
        if event.active:
            self._turn_item = self._new_id("item")
            self._transcribed = ""
            self._turn_began = event.frame
            self.emit("input_audio_buffer.speech_started", audio_start_ms=ms, item_id=self._turn_item)
        else:
            self._turn_ended = event.frame
            self.emit("input_audio_buffer.speech_stopped", audio_end_ms=ms, item_id=self._turn_item)

    def _user_text(self, event: ev.UserText) -> None:
        if not self._turn_item:  # a policy that reads ahead of its own onset
            self._turn_item = self._new_id("item")
        item_id = self._turn_item
        if event.final:
            self._commit_turn(item_id, event.text)
            return
        stable = event.text[: event.stable]
        if self.settings.transcribe and len(stable) > len(self._transcribed) and stable.startswith(self._transcribed):
            delta, self._transcribed = stable[len(self._transcribed) :], stable
            self.emit(
                "conversation.item.input_audio_transcription.delta", item_id=item_id, content_index=0, delta=delta
            )
        self.extension("transcript", item_id=item_id, text=event.text, stable=event.stable)

    def _commit_turn(self, item_id: str, text: str) -> None:
        self.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=next(reversed(self._items), None))
        self._add(_Item(item_id, "user", text, "completed", "input_audio"))
        if self.settings.transcribe:
            seconds = max(self._frame - self._turn_began, 0) * FRAME_S
            self.emit(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript=text,
                usage={"type": "duration", "seconds": round(seconds, 3)},
            )
        self._turn_item = ""

    def _where(self, response: _Response) -> dict[str, Any]:
        return {
            "response_id": response.response_id,
            "item_id": response.item.item_id,
            "output_index": 0,
            "content_index": 0,
        }

    def _response_object(self, response: _Response, status: str, details: Message | None) -> Message:
        audio = {
            "output": {"format": {"type": "audio/pcm", "rate": VOICE_RATE_HZ}, "voice": self.settings.voice},
        }
        return {
            "object": "realtime.response",
            "id": response.response_id,
            "status": status,
            "status_details": details,
            "output": [] if status == "in_progress" else [response.item.message()],
            "conversation_id": f"conv_{self.key}",
            "output_modalities": [response.modality],
            "max_output_tokens": self.settings.max_output_tokens or "inf",
            "audio": audio,
            "usage": None,
            "metadata": response.metadata,
        }

    def _reply_started(self, event: ev.ReplyStarted) -> None:
        modality = self.settings.modality
        kind = "output_audio" if modality == "audio" else "output_text"
        item = _Item(self._new_id("item"), "assistant", "", "in_progress", kind, utterance=event.utterance)
        response = self.open = _Response(self._new_id("resp"), item, modality, self.metadata)
        self.metadata = None
        self.emit("response.created", response=self._response_object(response, "in_progress", None))
        self.emit("response.output_item.added", response_id=response.response_id, output_index=0, item=item.message())
        self._add(item)
        self.emit("response.content_part.added", **self._where(response), part=self._part(response))

    def _part(self, response: _Response) -> Message:
        name = "transcript" if response.modality == "audio" else "text"
        return {"type": response.modality, name: response.item.text}

    def _reply_text(self, event: ev.ReplyText) -> None:
        response = self.open
        if response is None or response.item.utterance != event.utterance:
            return
        delta = f" {event.text}" if response.said else event.text
        response.said.append(delta)
        name = "output_audio_transcript" if response.modality == "audio" else "output_text"
        self.emit(f"response.{name}.delta", **self._where(response), delta=delta)

    def _audio(self, event: ev.AudioOut) -> None:
        response = self.open
        if response is None or response.item.utterance != event.utterance:
            return
        item = response.item
        if item.sent_samples == 0 and self._turn_ended >= 0:
            gap_ms = round((self._frame - self._turn_ended) * FRAME_S * _MS)
            self.extension("latency", item_id=item.item_id, reply_gap_ms=gap_ms)
            self._turn_ended = -1
        item.sent_samples = max(item.sent_samples, event.start + event.pcm.size)
        if response.modality == "text":
            return
        extra: Message = {}
        if self.settings.playback_acks:
            extra = {"fullduplex": {"epoch": event.epoch, "start": event.start}}
        delta = base64.b64encode(pcm16_from_float(event.pcm)).decode()
        self.emit("response.output_audio.delta", **self._where(response), delta=delta, **extra)

    def _flush(self, event: ev.Flush) -> None:
        item_id = self._spoken_item(event.utterance)
        self.extension("flush", epoch=event.epoch, item_id=item_id)
        if self._user_speaks:
            stop_ms = round((self._frame + 1 - self._turn_began) * FRAME_S * _MS)
            self.extension("latency", item_id=item_id, stop_ms=stop_ms)

    def _reply_done(self, event: ev.ReplyDone) -> None:
        response = self.open
        if response is None or response.item.utterance != event.utterance:
            return
        self.open = None
        item = response.item
        item.text = event.text if event.complete else event.heard
        item.status = "completed" if event.complete else "incomplete"
        where = self._where(response)
        if response.modality == "audio":
            self.emit("response.output_audio.done", **where)
            self.emit("response.output_audio_transcript.done", **where, transcript=item.text)
        else:
            self.emit("response.output_text.done", **where, text=item.text)
        self.emit("response.content_part.done", **where, part=self._part(response))
        self.emit("response.output_item.done", response_id=response.response_id, output_index=0, item=item.message())
        self.emit("conversation.item.done", previous_item_id=None, item=item.message())
        self.extension(
            "heard", item_id=item.item_id, text=event.heard, complete=event.complete, done=True, cause=event.cause
        )
        status, details = "completed", None
        if not event.complete:
            reason = "client_cancelled" if event.cause in _BY_CLIENT else "turn_detected"
            status, details = "cancelled", {"type": "cancelled", "reason": reason}
        self.emit("response.done", response=self._response_object(response, status, details))

    def _resumed(self, event: ev.Resumed) -> None:
        item_id = self._spoken_item(event.utterance)
        self.extension("resumed", item_id=item_id, start=event.start, cause=event.cause)

    def _turn_changed(self, event: ev.TurnChanged) -> None:
        ms = round(event.frame * FRAME_S * _MS)
        self.extension("turn", before=event.before.value, after=event.after.value, cause=event.cause, at_ms=ms)

    def _dropped(self, event: ev.Dropped) -> None:
        self.extension("dropped", frames=event.frames)

    def _deadline(self, event: ev.DeadlineMissed) -> None:
        self.extension("late", what=event.what, late_ms=round(event.late_s * _MS))

    def _failure(self, event: ev.Failure) -> None:
        self.error(f"{event.port}: {event.message}", kind="server_error", code="part_failed", param=event.port)

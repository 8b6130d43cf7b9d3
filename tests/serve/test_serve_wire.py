"""Client messages: what the `openai` package can build is understood, everything else is refused by name."""

import base64
import json

import pytest
from openai.types.realtime import (
    ConversationItemCreateEvent,
    ConversationItemDeleteEvent,
    ConversationItemRetrieveEvent,
    ConversationItemTruncateEvent,
    InputAudioBufferAppendEvent,
    InputAudioBufferClearEvent,
    InputAudioBufferCommitEvent,
    OutputAudioBufferClearEvent,
    ResponseCancelEvent,
    ResponseCreateEvent,
    SessionUpdateEvent,
)

from fullduplex.serve.realtime import wire
from fullduplex.serve.realtime.wire import WireError, decode

ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


@pytest.mark.parametrize(
    ("event", "body"),
    [
        (
            InputAudioBufferAppendEvent(type="input_audio_buffer.append", audio="AAAA" * 2),
            wire.Append(audio=bytes(6)),
        ),
        (InputAudioBufferCommitEvent(type="input_audio_buffer.commit"), wire.Commit()),
        (InputAudioBufferClearEvent(type="input_audio_buffer.clear"), wire.ClearInputBuffer()),
        (OutputAudioBufferClearEvent(type="output_audio_buffer.clear"), wire.ClearOutputBuffer()),
        (
            ConversationItemCreateEvent.model_validate(
                {"type": "conversation.item.create", "item": ITEM, "previous_item_id": "root"}
            ),
            wire.CreateItem(item_id=None, role="user", text="hi"),
        ),
        (
            ConversationItemTruncateEvent(
                type="conversation.item.truncate", item_id="i", content_index=0, audio_end_ms=120
            ),
            wire.Truncate(item_id="i", content_index=0, audio_end_ms=120),
        ),
        (ConversationItemDeleteEvent(type="conversation.item.delete", item_id="i"), wire.DeleteItem(item_id="i")),
        (
            ConversationItemRetrieveEvent(type="conversation.item.retrieve", item_id="i"),
            wire.RetrieveItem(item_id="i"),
        ),
        (ResponseCancelEvent(type="response.cancel"), wire.CancelResponse(response_id=None)),
        (ResponseCreateEvent(type="response.create"), wire.CreateResponse()),
        (
            SessionUpdateEvent.model_validate(
                {"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}
            ),
            wire.UpdateSession(session={"type": "realtime", "instructions": "x"}),
        ),
    ],
)
def test_every_client_event_of_the_package(event, body) -> None:
    event.event_id = "e1"
    decoded = decode(event.to_json(use_api_names=True, exclude_unset=True))
    assert decoded == wire.ClientEvent(event_id="e1", body=body)


def test_our_own_events() -> None:
    mark = {"item_id": "i", "epoch": 2, "played_samples": 480}
    assert decode(json.dumps({"type": "fullduplex.playback", **mark})).body == wire.Mark(
        item_id="i", epoch=2, samples=480
    )
    audio = base64.b64encode(bytes(4)).decode()
    body = decode(json.dumps({"type": "input_audio_buffer.append", "audio": audio, "fullduplex": mark})).body
    assert body == wire.Append(audio=bytes(4), mark=wire.Mark(item_id="i", epoch=2, samples=480))


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ({}, "missing_required_parameter", "type"),
        ({"type": 3}, "missing_required_parameter", "type"),
        ({"type": "input_audio_buffer.commit", "event_id": 7}, "invalid_value", "event_id"),
        ({"type": "input_audio_buffer.commit", "event_id": "x" * 600}, "invalid_value", "event_id"),
        ({"type": "input_audio_buffer.commit", "more": 1}, "unknown_parameter", "more"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": 5}, "invalid_type", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "é"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
        (
            {"type": "input_audio_buffer.append", "audio": "", "fullduplex": {"item_id": "i", "epoch": -1}},
            "invalid_value",
            "fullduplex.epoch",
        ),
        ({"type": "fullduplex.playback", "item_id": "i", "epoch": True}, "invalid_type", "epoch"),
        (
            {"type": "fullduplex.playback", "item_id": "i", "epoch": 1, "played_samples": 10**400},
            "invalid_value",
            "played_samples",
        ),
        ({"type": "session.update", "session": []}, "invalid_type", "session"),
        ({"type": "conversation.item.create", "item": {"type": "function_call"}}, "unsupported_item", "item.type"),
        (
            {"type": "conversation.item.create", "item": {**ITEM, "role": "assistant"}},
            "unsupported_item",
            "item.role",
        ),
        (
            {"type": "conversation.item.create", "item": {**ITEM, "content": [{"type": "input_image"}]}},
            "unsupported_content",
            "item.content[0].type",
        ),
        ({"type": "conversation.item.create", "item": {**ITEM, "content": []}}, "invalid_value", "item.content"),
        (
            {
                "type": "conversation.item.create",
                "item": {**ITEM, "content": [{"type": "input_text", "text": "x" * 20_001}]},
            },
            "string_above_max_length",
            "item.content",
        ),
        ({"type": "conversation.item.create", "item": {**ITEM, "id": "x" * 65}}, "invalid_value", "item.id"),
        ({"type": "conversation.item.truncate", "item_id": "i"}, "missing_required_parameter", "content_index"),
        ({"type": "response.cancel", "response_id": 4}, "invalid_type", "response_id"),
    ],
)
def test_what_is_wrong_is_named(message: dict, code: str, param: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(json.dumps(message))
    assert (caught.value.code, caught.value.param) == (code, param)

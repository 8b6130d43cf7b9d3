"""Whatever a client sends, the connection lives, and what was wrong is named."""

import json

import pytest

from fakes import FakePorts
from fullduplex.serve.gate import ServeConfig
from fullduplex.serve.realtime.door import WireError, encodable, parsed, shown

HALF = "\ud800"
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


def message(content: dict) -> dict:
    return {"type": "conversation.item.create", "item": {**ITEM, **content}}


NOT_UNICODE = [
    ({"type": "nope", "event_id": HALF}, "event_id"),
    ({"type": HALF}, "type"),
    (message({"content": [{"type": "input_text", "text": f"hi {HALF}"}]}), "item.content[0].text"),
    (message({"id": HALF}), "item.id"),
    ({"type": "session.update", "session": {"instructions": HALF}}, "session.instructions"),
    ({"type": "session.update", "session": {HALF: 1}}, "session"),
    ({"type": "response.create", "response": {"metadata": {"a": HALF}}}, "response.metadata.a"),
    ({"type": "conversation.item.retrieve", "item_id": HALF}, "item_id"),
]


@pytest.mark.parametrize("recorded", [False, True])
async def test_text_that_is_not_unicode_is_refused_by_name(serve_with, tmp_path, recorded: bool) -> None:
    async with serve_with(ServeConfig(port=0, record_dir=tmp_path if recorded else None), FakePorts) as server:
        client = await server.connect()
        for content, _ in NOT_UNICODE:
            await client.send(**{"event_id": "mine", "kind": content["type"], **without(content, "type")})
        await client.socket.send_str("[" * 100_000)
        await client.socket.send_str('{"type":"x","a":' + "[" * 900 + "]" * 900 + "}")
        await client.send("session.update", session={})
        await client.wait("session.updated")
        errors = [event["error"] for event in client.of("error")]
        assert [error["param"] for error in errors] == [*(param for _, param in NOT_UNICODE), None, errors[-1]["param"]]
        assert [error["event_id"] for error in errors[1:-2]] == ["mine"] * (len(NOT_UNICODE) - 1)
        assert "nested" in errors[-1]["message"]
        await client.close()
    for path in tmp_path.glob("*.jsonl"):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert sum(record["from"] == "client" for record in records) == len(NOT_UNICODE) + 3


def without(content: dict, name: str) -> dict:
    return {key: value for key, value in content.items() if key != name}


async def test_what_a_part_says_can_always_be_sent(serve_with) -> None:
    async with serve_with(ServeConfig(port=0), lambda: FakePorts({"odd": f"one {HALF} two"})) as server:
        client = await server.connect()
        await client.send("session.update", session={"output_modalities": ["text"]})
        content = [{"type": "input_text", "text": "odd"}]
        await client.send(kind="conversation.item.create", item={**ITEM, "content": content})
        await client.send("response.create")
        done = await client.wait("response.done")
        assert "\ufffd" in done["response"]["output"][0]["content"][0]["text"]
        await client.close()


async def test_a_connection_that_cannot_send_is_ended(server, monkeypatch, caplog) -> None:
    client = await server.connect()
    monkeypatch.setattr("aiohttp.web.WebSocketResponse.send_str", lambda self, text: 1 / 0)
    await client.send("session.update", session={})
    assert await client.closed() == 1011
    assert "ZeroDivisionError" in caplog.text


def test_what_is_shown_is_short_and_can_be_sent() -> None:
    assert shown("x") == "'x'"
    assert len(shown("x" * 10_000)) < 100
    assert shown(HALF) == r"'\ud800'"
    assert encodable(f"é{HALF}é") == "é\ufffdé"
    assert encodable("\ud83d\ude00 and 😀") == "😀 and 😀"


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('{"a": {"b": NaN}}', "a.b"),
        ('{"a": [1, [2, 1e400]]}', "a[1][1]"),
        ('{"a": -Infinity}', "a"),
        ('{"\\ud800": 1}', None),
    ],
)
def test_what_json_cannot_carry_is_refused(text: str, param: str | None) -> None:
    with pytest.raises(WireError) as caught:
        parsed(text)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


async def test_a_binary_frame_is_named(server) -> None:
    client = await server.connect()
    await client.socket.send_bytes(bytes(12))
    error = await client.wait("error")
    assert error["error"]["message"] == "this server takes JSON in text frames; a binary frame of 12 bytes came"
    await client.close()


VALUES = (
    "[[]]",
    "-1",
    "1e400",
    "NaN",
    "1" + "0" * 30,
    "true",
    f'"{"x" * 10_000}"',
    '"\\ud800"',
    "[]",
    '""',
    "{}",
    "null",
)
VAD = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500, "prefix_padding_ms": 300}
SEMANTIC = {"type": "semantic_vad", "eagerness": "low", "create_response": True, "interrupt_response": True}
SESSION = {
    **dict.fromkeys(("instructions", "model", "output_modalities", "max_output_tokens", "temperature")),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "include", "prompt", "reasoning", "tracing")),
    **dict.fromkeys(("truncation", "id", "object", "expires_at", "no_such_field")),
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "turn_detection": SEMANTIC,
            "transcription": {"model": "m", "language": "en"},
            "noise_reduction": None,
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": {"id": "x"}, "speed": 1},
    },
    "fullduplex": {
        "playback_acks": True,
        "echo_cancellation": False,
        "vad_threshold": 0.5,
        "temperature": 0,
        "more": 0,
    },
}
PLAYED = {"item_id": "REPLY", "epoch": 0, "played_samples": 0}
MESSAGES = {
    "session": {"type": "session.update", "session": SESSION},
    "type": {"type": "session.update", "session": {"type": "realtime"}},
    "silence": {"type": "session.update", "session": {"audio": {"input": {"turn_detection": VAD}}}},
    "item": {**message({"id": None, "object": None, "status": None}), "previous_item_id": None},
    "truncate": {
        "type": "conversation.item.truncate",
        "item_id": "REPLY",
        "content_index": 0,
        "audio_end_ms": 0,
    },
    "playback": {"type": "fullduplex.playback", **PLAYED},
    "append": {"type": "input_audio_buffer.append", "audio": "AAAA" * 80, "fullduplex": PLAYED},
    "respond": {"type": "response.create", "response": {"metadata": None, "audio": None, "input": None, "tools": None}},
    "cancel": {"type": "response.cancel", "response_id": None},
    "retrieve": {"type": "conversation.item.retrieve", "item_id": "REPLY"},
}
# What the server said may be sent back as it came; names that change nothing.
IGNORED = {
    "session.id",
    "session.object",
    "session.expires_at",
    "session.fullduplex.temperature",
    "item.object",
    "item.status",
}
IGNORED |= {"session.audio.input.transcription.model"}


def spoilt(value: object, path: str = "") -> list[tuple[str, object]]:
    """The value with "HERE" in the place of every field in turn, and where that was."""
    out: list[tuple[str, object]] = [(path, "HERE")] if path else []
    if isinstance(value, dict):
        others = value if {"type", "item_id"} & set(value) else {}  # fields that mean nothing without each other
        for key, each in value.items():
            out += [(p, {**others, key: v}) for p, v in spoilt(each, f"{path}.{key}".removeprefix("."))]
    elif isinstance(value, list):
        for i, each in enumerate(value):
            out += [(p, [*value[:i], v, *value[i + 1 :]]) for p, v in spoilt(each, f"{path}[{i}]")]
    return out


@pytest.mark.parametrize("kind", MESSAGES)
async def test_no_value_of_any_field_ends_the_connection(server, caplog, kind: str) -> None:
    client = await server.connect()
    await client.send("session.update", session={"output_modalities": ["text"]})
    await client.send(kind="conversation.item.create", item={**ITEM, "id": "mine"})
    await client.send("response.create")
    reply = (await client.wait("response.done"))["response"]["output"][0]["id"]
    await client.send("session.update", session={"fullduplex": {"playback_acks": True}})
    mine = client.of("conversation.item.added")[0]["item"]
    places = spoilt(MESSAGES[kind])
    for number, (_, spoilt_message) in enumerate(places):
        for value in VALUES:
            named = json.dumps({"event_id": str(number), **spoilt_message}).replace("REPLY", reply)
            await client.socket.send_str(named.replace('"HERE"', value))
        await client.send("response.cancel")
        await client.send("conversation.item.retrieve", item_id="mine")
        await client.wait("conversation.item.retrieved", item=mine, count=number + 1)
    refused: set[str] = set()
    for event in client.of("error"):
        error = event["error"]
        assert len(error["message"]) < 600
        if error["param"] is not None and error["event_id"] is not None:
            field = places[int(error["event_id"])][0]
            refused |= set() if "JSON can carry" in error["message"] or "Unicode" in error["message"] else {field}
            assert error["param"].startswith(field) or field.startswith(error["param"]), error
    assert {field for field, _ in places} - refused - IGNORED == set(), "taken, or refused without its name"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    await client.close()


async def test_a_wrong_kind_of_value_is_refused_by_the_name_of_its_part(server) -> None:
    client = await server.connect()
    detection = {"type": "semantic_vad", "eagerness": []}
    await client.send("session.update", session={"audio": {"input": {"turn_detection": detection}}}, event_id="mine")
    error = (await client.wait("error"))["error"]
    assert error["param"] == "session.audio.input.turn_detection.eagerness"
    assert error["message"] == f"{error['param']} is []; expected one of low, medium, auto, high"
    await client.close()


@pytest.mark.parametrize(
    ("previous", "code"),
    [
        ({}, None),
        ({"previous_item_id": None}, None),
        ({"previous_item_id": "root"}, None),
        ({"previous_item_id": "last"}, None),
        ({"previous_item_id": "nosuch"}, "item_not_found"),
        ({"previous_item_id": ""}, "item_not_found"),
        ({"previous_item_id": "first"}, "unsupported_value"),
    ],
)
async def test_items_can_only_be_appended(server, previous: dict, code: str | None) -> None:
    client = await server.connect()
    for name in ("first", "last"):
        await client.send("conversation.item.create", item={**ITEM, "id": name})
    await client.send("conversation.item.create", item={**ITEM, "id": "new"}, event_id="mine", **previous)
    await client.send("session.update", session={})
    await client.wait("session.updated")
    errors = [event["error"] for event in client.of("error")]
    wrong = {"code": code, "param": "previous_item_id", "event_id": "mine"}
    assert [{key: error[key] for key in wrong} for error in errors] == ([wrong] if code else [])
    assert all(("only be appended" in error["message"]) == (code == "unsupported_value") for error in errors)
    added = [event["item"]["id"] for event in client.of("conversation.item.added")]
    assert added == ["first", "last", *([] if code else ["new"])]
    await client.close()


@pytest.mark.parametrize("value", [10**30, -1])
async def test_a_position_that_cannot_be_is_told_with_what_can_be(server, value: int) -> None:
    client = await server.connect()
    await client.send("conversation.item.truncate", item_id="x", content_index=0, audio_end_ms=value)
    error = (await client.wait("error"))["error"]
    assert error["message"] == f"audio_end_ms is {value}; expected a whole number from 0 to {2**53 - 1}"
    await client.close()

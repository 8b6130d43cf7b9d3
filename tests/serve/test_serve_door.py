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

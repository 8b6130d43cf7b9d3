"""Everything that can go wrong at the door and on the wire, over a real socket."""

import asyncio
import json
import signal
import socket
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from fakes import FakePorts
from fullduplex.base.errors import ConfigError
from fullduplex.serve.gate import ServeConfig
from fullduplex.serve.record import Recorder


async def status_of(server, **options) -> tuple[int, str]:
    """The HTTP answer to an attempt to connect."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **options.pop("headers", {})}
    async with server.http.get(f"{server.url}/v1/realtime", headers=headers) as reply:
        return reply.status, (await reply.json())["error"]["code"]


async def test_shutdown_tells_the_clients_and_is_quick(serve_with) -> None:
    async with serve_with(ServeConfig(port=0), FakePorts) as server:
        client = await server.connect()
        began = time.monotonic()
        ending = asyncio.create_task(server.runner.cleanup())
        error = await client.wait("error")
        assert error["error"]["code"] == "shutdown"
        assert await client.closed() == 1001
        await ending
        assert time.monotonic() - began < 5.0


async def test_a_new_client_is_refused_while_the_server_shuts_down(serve_with) -> None:
    async with serve_with(ServeConfig(port=0), FakePorts) as server:
        await server.app.shutdown()
        assert await status_of(server) == (503, "shutting_down")
        async with server.http.get(f"{server.url}/healthz") as reply:
            assert reply.status == 503
            assert (await reply.json())["status"] == "draining"


async def test_keys(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, api_key="sesame"), FakePorts) as server:
        assert await status_of(server) == (401, "invalid_api_key")
        assert await status_of(server, headers={"Authorization": "Bearer wrong"}) == (401, "invalid_api_key")
        client = await server.connect(headers={"Authorization": "Bearer sesame"})
        await client.close()
        client = await server.connect(protocols=("realtime", "openai-insecure-api-key.sesame"))
        assert client.socket.protocol == "realtime"
        await client.close()


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("same", True),
        ("http://localhost:3000", True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("https://localhost.evil.example", False),
        ("null", False),
    ],
)
async def test_origins(serve_with, origin: str | None, allowed: bool) -> None:
    config = ServeConfig(port=0, allowed_origins=("https://friend.example",))
    async with serve_with(config, FakePorts) as server:
        headers = {} if origin is None else {"Origin": server.url if origin == "same" else origin}
        if allowed:
            client = await server.connect(headers=headers)
            await client.close()
        else:
            assert await status_of(server, headers=headers) == (403, "origin_not_allowed")


async def test_a_foreign_name_for_a_loopback_server_is_refused(server) -> None:
    headers = {"Origin": "http://rebound.example", "Host": "rebound.example"}
    assert await status_of(server, headers=headers) == (403, "origin_not_allowed")


async def test_too_many_sessions(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, max_sessions=2), FakePorts) as server:
        clients = [await server.connect(), await server.connect()]
        assert await status_of(server) == (503, "too_many_sessions")
        async with server.http.get(f"{server.url}/healthz") as reply:
            health = await reply.json()
        assert (health["sessions"], health["full"]) == (2, True)
        await clients[0].close()
        await asyncio.sleep(0.1)
        await (await server.connect()).close()


async def test_garbage_gets_an_error_and_the_session_goes_on(server) -> None:
    client = await server.connect()
    await client.socket.send_str("{")
    await client.socket.send_str("[1, 2]")
    await client.socket.send_bytes(b"\x00\x01")
    await client.send("no.such.event", event_id="mine")
    await client.send("input_audio_buffer.append", audio="AAAA")
    await client.send("input_audio_buffer.append", audio="A")
    await client.socket.send_str('{"type":' * 2000)
    await client.wait("error", count=7)
    codes = [event["error"]["code"] for event in client.of("error")]
    assert codes == [
        "invalid_json",
        "invalid_json",
        "invalid_event_type",
        "invalid_event_type",
        "invalid_value",
        "invalid_value",
        "invalid_json",
    ]
    assert client.of("error")[3]["error"]["event_id"] == "mine"
    await client.say("hello there")
    await client.silence(0.6)
    await client.wait("response.done")
    await client.close()


async def test_an_oversized_message_closes_with_1009(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, max_message_bytes=10_000), FakePorts) as server:
        client = await server.connect()
        await client.send("input_audio_buffer.append", audio="A" * 20_000)
        assert await client.closed() == 1009


async def test_idle_and_endless_sessions_end(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, idle_s=0.3), FakePorts) as server:
        client = await server.connect()
        assert await client.closed() == 4408
        assert client.of("error")[-1]["error"]["code"] == "idle"
    async with serve_with(ServeConfig(port=0, max_session_s=0.4), FakePorts) as server:
        client = await server.connect()
        await client.silence(0.2)
        assert await client.closed() == 4410
        assert client.of("error")[-1]["error"]["code"] == "too_long"


async def test_a_client_that_does_not_read_is_disconnected_and_others_go_on(serve_with) -> None:
    config = ServeConfig(port=0, max_outbox_bytes=60_000, send_timeout_s=0.5)
    long = FakePorts({"count": " ".join(f"w{i}" for i in range(400))})
    async with serve_with(config, lambda: long) as server:
        good = await server.connect()
        connector = aiohttp.TCPConnector()
        async with aiohttp.ClientSession(connector=connector) as http:
            slow = await http.ws_connect(f"{server.url}/v1/realtime", max_msg_size=0)
            slow._conn.protocol.pause_reading()
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 5000}]}
            for i in range(3000):
                await slow.send_json({"type": "conversation.item.create", "item": {**item, "id": f"i{i}"}})
                await slow.send_json({"type": "conversation.item.retrieve", "item_id": f"i{i}"})
                if slow._conn is None or slow._conn.transport.is_closing() or i > 600:
                    break
            async with asyncio.timeout(10):
                while True:
                    async with server.http.get(f"{server.url}/metrics") as reply:
                        if 'fullduplex_closed_total{cause="slow_reader"} 1.0' in await reply.text():
                            break
                    await asyncio.sleep(0.05)
            slow._conn.transport.abort()
        await good.say("hello there")
        await good.silence(0.6)
        await good.wait("response.created")
        await good.close()


async def test_a_client_that_vanishes_frees_its_place(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, max_sessions=1), FakePorts) as server:
        client = await server.connect()
        client.socket._conn.transport.abort()
        async with asyncio.timeout(5):
            full = True
            while full:
                async with server.http.get(f"{server.url}/healthz") as reply:
                    full = (await reply.json())["full"]


async def test_a_broken_core_ends_the_session_with_1011(server, monkeypatch, caplog) -> None:
    client = await server.connect()
    monkeypatch.setattr("fullduplex.serve.worker.Worker.turn", lambda self, now_s: 1 / 0)
    await client.send("input_audio_buffer.clear")
    assert await client.closed() == 1011
    assert client.of("error")[-1]["error"]["code"] == "internal_error"
    assert "ZeroDivisionError" in caplog.text


async def test_the_page_its_parts_and_its_headers(server) -> None:
    async with server.http.get(f"{server.url}/") as reply:
        page = await reply.text()
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    names = [part.split('"')[0] for part in page.split('="/web/')[1:]]
    assert {"main.js", "style.css", "icon.svg"} <= set(names)
    for name in (*names, "worklet.js", "audio.js", "connection.js", "timeline.js", "transcript.js"):
        async with server.http.get(f"{server.url}/web/{name}") as reply:
            text = await reply.text()
            assert reply.status == 200, name
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text
    for path in ("/nothing", "/web/../app.py", "/web/%2e%2e/app.py"):
        async with server.http.get(server.url + path) as reply:
            assert reply.status == 404
            assert "error" in json.loads(await reply.text())
    async with server.http.get(f"{server.url}/v1/realtime") as reply:
        assert reply.status == 426


async def test_metrics_tell_what_happened(server) -> None:
    client = await server.connect()
    await client.say("hello there")
    await client.silence(0.5)
    await client.wait("response.done")
    async with server.http.get(f"{server.url}/metrics") as reply:
        text = await reply.text()
    assert "fullduplex_sessions 1.0" in text
    assert 'fullduplex_lane_waiting{lane="brain"} 0.0' in text
    assert "fullduplex_reply_gap_seconds_count 1.0" in text
    assert float(next(x for x in text.splitlines() if x.startswith("fullduplex_step_seconds_count")).split()[1]) > 20
    await client.close()


_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fakes import FakeEar, FakePorts
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.recipes.threads import ThreadPool
from fullduplex.serve.app import Line, make_app, run
from fullduplex.serve.gate import ServeConfig

def line(key):
    return Line(session=Session(ear=FakeEar(), policy=TurnsPolicy()), run=FakePorts().run)

app = make_app(ServeConfig(port={port}), line, ThreadPool())
run(app, on_ready=lambda: print("ready", flush=True))
print("ended", flush=True)
"""


async def test_sigterm_ends_a_server_process_in_order() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = _PROGRAM.format(tests=str(Path(__file__).parents[1]), port=port)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        async with aiohttp.ClientSession() as http:
            client = await http.ws_connect(f"http://127.0.0.1:{port}/v1/realtime")
            assert (await client.receive_json())["type"] == "session.created"
            process.send_signal(signal.SIGTERM)
            assert (await client.receive_json())["error"]["code"] == "shutdown"
            assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"ended\n"
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_recordings_are_written_when_asked_for(serve_with, tmp_path) -> None:
    async with serve_with(ServeConfig(port=0, record_dir=tmp_path), FakePorts) as server:
        client = await server.connect()
        await client.silence(0.2)
        await client.close()
        async with asyncio.timeout(5):
            while True:
                lines = [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
                if lines:
                    break
                await asyncio.sleep(0.02)
    assert json.loads(lines[0])["type"] == "session.created"
    assert len(list(tmp_path.glob("*.flac"))) == 1


async def test_a_folder_that_takes_no_recording_keeps_nobody_from_talking(serve_with, tmp_path, caplog) -> None:
    (tmp_path / "file").touch()
    async with serve_with(ServeConfig(port=0, record_dir=tmp_path / "file"), FakePorts) as server:
        client = await server.connect()
        await client.say("hello there")
        await client.silence(0.6)
        await client.wait("response.done")
        await client.close()
    assert "a conversation is not recorded" in caplog.text


def test_a_recording_that_breaks_off_is_said_once(tmp_path, caplog, monkeypatch) -> None:
    recorder = Recorder(tmp_path, "call")
    recorder.message("server", {"type": "session.created"})
    frame = np.zeros(512, np.float32)
    recorder.sound(frame, frame)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("soundfile.SoundFile.write", full)
    for _ in range(3):
        recorder.sound(frame, frame)
        recorder.message("server", {"type": "more"})
    recorder.close()
    assert len([record for record in caplog.records if "No space left" in record.getMessage()]) == 1
    assert "more" not in (tmp_path / "call.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["max_sessions", "idle_s", "max_session_s", "max_message_bytes", "send_timeout_s"])
def test_impossible_limits_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}; expected a finite number above 0"):
        ServeConfig(**{field: value})


def test_an_impossible_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="port"):
        ServeConfig(port=70_000)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Authorization: Bearer \xff\xfe", b"401"),
        (b"Sec-WebSocket-Protocol: openai-insecure-api-key.\xff", b"401"),
        (b"Origin: http://[", b"403"),
        (b"Origin: http://\xff", b"403"),
        (b"Origin: http://a\r\nHost: [", b"403"),
        (b"Host: [", b"401"),
    ],
)
async def test_headers_that_are_no_text_or_no_address_are_refused(serve_with, header: bytes, status: bytes) -> None:
    async with serve_with(ServeConfig(port=0, api_key="sesame"), FakePorts) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.runner.addresses[0][1])
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        named = b"" if b"Host" in header else b"Host: x\r\n"
        writer.write(b"GET /v1/realtime HTTP/1.1\r\n" + named + header + b"\r\n" + upgrade + b"\r\n\r\n")
        assert (await reader.readline()).split()[1] == status
        writer.close()
        await writer.wait_closed()

"""A server on a free port, and clients that speak in the fakes' tones."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from fakes import FakeEar, FakePorts, read, say
from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.numerics.signal import pcm16_from_float, pcm_from_pcm16
from fullduplex.recipes.threads import ThreadPool
from fullduplex.serve.app import Line, make_app
from fullduplex.serve.gate import ServeConfig

PACE = 0.02


class Client:
    """A client without the extension: keeps every event, speaks in real time."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[dict] = []
        self.sound = np.zeros(0, np.float32)
        self._reader = asyncio.create_task(self._read())
        self._new = asyncio.Event()

    async def _read(self) -> None:
        async for message in self.socket:
            event = json.loads(message.data)
            self.events.append(event)
            if event["type"] == "response.output_audio.delta":
                self.sound = np.concatenate([self.sound, pcm_from_pcm16(base64.b64decode(event["delta"]))])
            self._new.set()
        self._new.set()

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def speak(self, pcm: np.ndarray, *, paced: bool = True) -> None:
        """24 kHz sound, in pieces of 20 ms, in real time."""
        size = round(PACE * VOICE_RATE_HZ)
        for i in range(0, pcm.size, size):
            audio = base64.b64encode(pcm16_from_float(pcm[i : i + size])).decode()
            await self.send("input_audio_buffer.append", audio=audio)
            if paced:
                await asyncio.sleep(PACE)

    async def say(self, text: str, *, paced: bool = True) -> None:
        await self.speak(say(text, rate_hz=VOICE_RATE_HZ), paced=paced)

    async def silence(self, seconds: float) -> None:
        await self.speak(np.zeros(round(seconds * VOICE_RATE_HZ), np.float32))

    async def wait(self, kind: str, *, count: int = 1, timeout_s: float = 10.0, **fields: object) -> dict:
        """The `count`-th event of this type whose fields are these."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = [e for e in self.of(kind) if all(e.get(k) == v for k, v in fields.items())]
                if len(found) >= count:
                    return found[count - 1]
                assert not self._reader.done(), f"closed with {self.socket.close_code}; had {self.kinds()}"
                self._new.clear()
                await self._new.wait()

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def heard(self) -> str:
        return read(self.sound[self.sound > 0.01], rate_hz=VOICE_RATE_HZ)

    async def closed(self, timeout_s: float = 5.0) -> int | None:
        await asyncio.wait_for(asyncio.shield(self._reader), timeout_s)
        return self.socket.close_code

    async def close(self) -> None:
        await self.socket.close()
        await asyncio.wait_for(self._reader, 5.0)


class Server:
    """A running server; every conversation has its own fake ports, found by order of arrival."""

    def __init__(self, runner: web.AppRunner, url: str, ports: list[FakePorts], app: web.Application) -> None:
        self.runner = runner
        self.url = url
        self.ports = ports
        self.app = app
        self.http = aiohttp.ClientSession()

    async def connect(self, **options: object) -> Client:
        client = Client(await self.http.ws_connect(f"{self.url}/v1/realtime", max_msg_size=0, **options))
        await client.wait("session.created")
        return client


def line_of(ports: FakePorts) -> Line:
    return Line(session=Session(ear=FakeEar(), policy=TurnsPolicy()), run=ports.run)


@asynccontextmanager
async def serving(
    config: ServeConfig, make_ports: Callable[[], FakePorts], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    ports: list[FakePorts] = []

    def make_line(key: str) -> Line:
        ports.append(make_ports())
        return line_of(ports[-1])

    pool = ThreadPool()
    app = make_app(config, make_line, pool)
    runner = web.AppRunner(app, shutdown_timeout=2.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    server = Server(runner, f"{'https' if tls else 'http'}://127.0.0.1:{port}", ports, app)
    try:
        yield server
    finally:
        await server.http.close()
        await runner.cleanup()
        pool.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(ServeConfig(port=0), FakePorts) as running:
        yield running


@pytest.fixture
def serve_with() -> Callable:
    return serving

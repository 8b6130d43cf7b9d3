"""One WebSocket: messages from it to the worker, the worker's messages to it, and every way in which it may end."""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from fullduplex.serve.worker import Worker

__all__ = ["Link", "LinkConfig"]

_LOG = logging.getLogger(__name__)

# Close codes: RFC 6455 where it has one, the application's range otherwise.
_GOING_AWAY = 1001
_INTERNAL = 1011
_IDLE = 4408
_TOO_LONG = 4410
_SLOW = 4429


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Limits of one connection."""

    max_session_s: float
    idle_s: float
    max_outbox_bytes: int
    send_timeout_s: float


class Link:
    """One client's connection."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        worker: Worker,
        wake: asyncio.Event,
        steps: ThreadPoolExecutor,
        config: LinkConfig,
    ) -> None:
        self.socket = socket
        self.worker = worker
        self._transport = transport
        self._steps = steps
        self._config = config
        self._wake = wake  # set by whatever gives the worker something to do
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._outbox_bytes = 0
        self._heard_s = time.monotonic()
        self._ending: asyncio.Future[tuple[str, int, str]] = asyncio.get_running_loop().create_future()

    async def talk(self) -> str:
        """Until one side ends it; returns the cause."""
        receive, drive, send = (asyncio.create_task(work()) for work in (self._receive, self._drive, self._send))
        try:
            async with asyncio.timeout(self._config.max_session_s):
                cause, code, message = await self._ending
        except TimeoutError:
            cause, code = "too_long", _TOO_LONG
            message = f"a session may last {self._config.max_session_s:g} s; connect again"
        self._wake.set()
        receive.cancel()
        await asyncio.gather(receive, drive, return_exceptions=True)  # the turn that is under way ends first
        if code:
            await self._say_why(cause, message)
        send.cancel()
        await asyncio.gather(send, return_exceptions=True)
        await self._hang_up(code, message)
        self._over.set()
        return cause

    async def dismiss(self) -> None:
        """The server goes away."""
        self._end("shutdown", _GOING_AWAY, "the server is shutting down; connect again later")
        await self._over.wait()

    def _end(self, cause: str, code: int, message: str) -> None:
        if not self._ending.done():
            self._ending.set_result((cause, code, message))

    async def _say_why(self, cause: str, message: str) -> None:
        """Whatever still waits, and an error event, unless the client is too slow for it."""
        if cause == "slow_reader":
            return
        for text in self.worker.farewell(message, cause):
            self._post(text)
        try:
            async with asyncio.timeout(1.0):
                await self._outbox.join()
        except TimeoutError:
            pass

    async def _hang_up(self, code: int, message: str) -> None:
        if self.socket.closed:
            return
        try:
            async with asyncio.timeout(1.0):
                await self.socket.close(code=code or 1000, message=message.encode()[:120])
        except (TimeoutError, ConnectionError):
            if self._transport is not None:
                self._transport.abort()

    async def _receive(self) -> None:
        async for message in self.socket:
            self._heard_s = time.monotonic()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.worker.offer(message.data, self._heard_s)
            else:
                break
            self._wake.set()
            while self.worker.full:  # not read, so the client's own queue fills and it slows down
                self._room.clear()
                await self._room.wait()
        self._end("client", 0, "")

    async def _drive(self) -> None:
        """Turns of the worker, one after the other, on a thread."""
        loop = asyncio.get_running_loop()
        while not self._ending.done():
            try:
                out = await loop.run_in_executor(self._steps, self.worker.turn, time.monotonic())
            except Exception:  # noqa: BLE001 - whatever broke, the client is told and the others go on
                _LOG.exception("a conversation failed")
                self._end("internal_error", _INTERNAL, "the conversation failed on the server")
                return
            self._room.set()
            for text in out:
                self._post(text)
            if time.monotonic() - self._heard_s > self._config.idle_s:
                self._end("idle", _IDLE, f"nothing came for {self._config.idle_s:g} s; connect again")
            if not self.worker.busy:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self.worker.wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _post(self, text: str) -> None:
        self._outbox_bytes += len(text)
        if self._outbox_bytes > self._config.max_outbox_bytes:
            self._end("slow_reader", _SLOW, "the client reads too slowly")
        else:
            self._outbox.put_nowait(text)

    async def _send(self) -> None:
        while True:
            text = await self._outbox.get()
            try:
                async with asyncio.timeout(self._config.send_timeout_s):
                    await self.socket.send_str(text)
            except TimeoutError:
                self._end("slow_reader", _SLOW, "the client reads too slowly")
                return
            except (ConnectionError, RuntimeError):
                self._end("client", 0, "")
                return
            except Exception:  # noqa: BLE001 - a connection that can say nothing more is ended, not kept mute
                _LOG.exception("a message could not be sent")
                self._end("internal_error", _INTERNAL, "the conversation failed on the server")
                return
            self._outbox_bytes -= len(text)
            self._outbox.task_done()

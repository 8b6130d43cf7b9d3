"""The server: the page at /, OpenAI Realtime at /v1/realtime, /healthz and /metrics.

    app = make_app(ServeConfig(), make_session, ThreadPool())
    run(app)

The event loop moves messages; everything that takes time happens on threads (`Worker.turn`, the lanes).
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from fullduplex.base.errors import FullduplexError
from fullduplex.dialogue.ports import Request, Result
from fullduplex.dialogue.session import Session
from fullduplex.recipes.runner import Echo, Runner
from fullduplex.recipes.threads import ThreadLanes, ThreadPool
from fullduplex.serve.address import listen
from fullduplex.serve.gate import Refused, ServeConfig, check_key, check_origin
from fullduplex.serve.link import Link, LinkConfig
from fullduplex.serve.metrics import Metrics
from fullduplex.serve.realtime.settings import Offer
from fullduplex.serve.record import Recorder
from fullduplex.serve.worker import Worker, WorkerConfig

__all__ = ["Line", "make_app", "run"]

_LOG = logging.getLogger(__name__)
_WEB = Path(__file__).parent / "web"
_SHUTDOWN_S = 5.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one conversation needs: its kind, what answers its requests, and what removes its echo."""

    session: Session
    run: Callable[[Request, Callable[[], bool]], Iterator[Result]]
    echo: Echo | None = None


@dataclass(slots=True, kw_only=True)
class _House:
    config: ServeConfig
    make_line: Callable[[str], Line]
    pool: ThreadPool
    offer: Offer
    metrics: Metrics
    steps: ThreadPoolExecutor
    links: set[Link] = field(default_factory=set[Link])
    opening: int = 0
    draining: bool = False


_HOUSE = web.AppKey("house", _House)


def make_app(
    config: ServeConfig, make_line: Callable[[str], Line], pool: ThreadPool, *, offer: Offer | None = None
) -> web.Application:
    """The application. `make_line(key)` is called on a thread for every new conversation; `pool` runs its requests."""
    house = _House(
        config=config,
        make_line=make_line,
        pool=pool,
        offer=offer or Offer(),
        metrics=Metrics(pool),
        steps=ThreadPoolExecutor(2, thread_name_prefix="step"),
    )
    app = web.Application(middlewares=[_polite])
    app[_HOUSE] = house
    app.router.add_get("/", _index)
    app.router.add_get("/healthz", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/v1/realtime", _realtime)
    app.router.add_static("/web/", _WEB)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_shut_down)
    app.on_cleanup.append(_clean_up)
    return app


def run(
    app: web.Application,
    *,
    sockets: list[socket.socket] | None = None,
    tls: ssl.SSLContext | None = None,
    on_ready: Callable[[], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then tell the clients and end within seconds.

    `sockets`: where, in place of the configuration's host and port. `tls`: over https and wss.
    """
    config = app[_HOUSE].config

    async def ready(_: web.Application) -> None:
        if on_ready is not None:
            asyncio.get_running_loop().call_later(0.2, on_ready)

    app.on_startup.append(ready)
    web.run_app(
        app,
        sock=sockets or listen(config.host, config.port),
        ssl_context=tls,
        print=None,
        shutdown_timeout=_SHUTDOWN_S,
        access_log=None,
    )


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    record = {"error": {"type": kind, "code": code, "message": message, "param": None}}
    return web.json_response(record, status=status)


@web.middleware
async def _polite(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        request.app[_HOUSE].metrics.refused.labels(error.code).inc()
        return _error(error.status, error.code, str(error))
    except web.HTTPNotFound:
        return _error(404, "not_found", f"nothing is at {request.path[:200]}; the page is at /")
    except web.HTTPMethodNotAllowed:
        return _error(405, "method_not_allowed", f"{request.path[:200]} takes GET")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


async def _index(request: web.Request) -> web.FileResponse:
    return web.FileResponse(_WEB / "index.html")


async def _health(request: web.Request) -> web.Response:
    house = request.app[_HOUSE]
    count = len(house.links) + house.opening
    record = {
        "status": "draining" if house.draining else "ok",
        "sessions": count,
        "max_sessions": house.config.max_sessions,
        "full": count >= house.config.max_sessions,
        "needs_key": bool(house.config.api_key),
        "model": house.offer.model,
        "voice": house.offer.voice,
        "recogniser": house.offer.recogniser,
    }
    return web.json_response(record, status=503 if house.draining else 200)


async def _metrics(request: web.Request) -> web.Response:
    body = request.app[_HOUSE].metrics.page()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _realtime(request: web.Request) -> web.StreamResponse:
    house = request.app[_HOUSE]
    check_origin(request.headers, house.config)
    check_key(request.headers, house.config.api_key)
    if "Upgrade" not in request.headers:
        raise Refused(426, "upgrade_required", "this is a WebSocket endpoint: connect with ws:// or wss://")
    if house.draining:
        raise Refused(503, "shutting_down", "the server is shutting down; connect again later")
    if len(house.links) + house.opening >= house.config.max_sessions:
        raise Refused(503, "too_many_sessions", f"all {house.config.max_sessions} sessions are taken; try again later")
    house.opening += 1
    try:
        link = await _open(house, request)
        house.links.add(link)
    finally:
        house.opening -= 1
    house.metrics.started.inc()
    house.metrics.sessions.set(len(house.links))
    try:
        cause = await link.talk()
        house.metrics.closed.labels(cause).inc()
    finally:
        house.links.discard(link)
        house.metrics.sessions.set(len(house.links))
        await asyncio.get_running_loop().run_in_executor(house.steps, link.worker.close)
    return link.socket


async def _open(house: _House, request: web.Request) -> Link:
    config = house.config
    key = secrets.token_hex(6)
    beta = "realtime=v1" in request.headers.get("OpenAI-Beta", "")
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()

    def notify() -> None:  # on a lane's thread
        with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(wake.set)

    def build() -> Worker:
        line = house.make_line(key)
        return Worker(
            Runner(line.session, ThreadLanes(line.run, house.pool, notify=notify)),
            key=key,
            offer=house.offer,
            metrics=house.metrics,
            now_s=time.monotonic(),
            config=WorkerConfig(beta=beta),
            echo=line.echo,
            recorder=_recorder(config.record_dir, key),
        )

    try:
        worker = await loop.run_in_executor(house.steps, build)
    except FullduplexError as error:
        _LOG.exception("a conversation could not be opened")
        raise Refused(503, "cannot_open", f"the conversation could not be opened: {error}") from error
    wire = web.WebSocketResponse(
        protocols=("realtime",), max_msg_size=config.max_message_bytes, heartbeat=30.0, compress=False
    )
    await wire.prepare(request)
    limits = LinkConfig(
        max_session_s=config.max_session_s,
        idle_s=config.idle_s,
        max_outbox_bytes=config.max_outbox_bytes,
        send_timeout_s=config.send_timeout_s,
    )
    return Link(wire, request.transport, worker, wake, house.steps, limits)


def _recorder(folder: Path | None, key: str) -> Recorder | None:
    """None where none is wanted, or none can be had: that keeps nobody from talking."""
    if folder is None:
        return None
    try:
        return Recorder(folder, time.strftime("%Y%m%d-%H%M%S-") + key)
    except FullduplexError as error:
        _LOG.error("a conversation is not recorded: %s", error)
        return None


async def _shut_down(app: web.Application) -> None:
    house = app[_HOUSE]
    house.draining = True
    async with asyncio.timeout(_SHUTDOWN_S):
        await asyncio.gather(*(link.dismiss() for link in list(house.links)), return_exceptions=True)


async def _clean_up(app: web.Application) -> None:
    app[_HOUSE].steps.shutdown(wait=False, cancel_futures=True)

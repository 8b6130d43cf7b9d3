"""A local OpenAI-compatible endpoint that behaves, and misbehaves, as its script says."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["GOOD", "Script", "endpoint"]

CHUNK = 'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n'
GOOD = [
    'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n',
    ": a comment\n\n",
    CHUNK % "Héllo",
    CHUNK % " you",
    'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
    'data: {"choices": [], "usage": {}}\n\n',
    "data: [DONE]\n\n",
]


@dataclass
class Script:
    """`parts` answer a chat completion; `models` answers /models (a status with an empty body where it is a number).

    `wait`: for that, after the parts; `late`: before the head of the answer.
    """

    status: int = 200
    parts: list[str] = field(default_factory=lambda: list(GOOD))
    models: str | int = '{"data": [{"id": "small"}]}'
    wait: threading.Event | None = None
    requests: list[tuple[str, str | None, Any]] = field(default_factory=list)
    address: str = ""
    kind: str = ""
    late: bool = False


def _handler(script: Script) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.requests.append((self.path, self.headers.get("Authorization"), None))
            known = script.models
            if isinstance(known, str) and script.wait is not None:
                script.wait.wait(20)
            self.send_response(200 if isinstance(known, str) else known)
            self.end_headers()
            self.wfile.write(known.encode() if isinstance(known, str) else b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((self.path, self.headers.get("Authorization"), json.loads(body)))
            if script.late and script.wait is not None:
                script.wait.wait(20)
            self.send_response(script.status)
            if script.kind:
                self.send_header("Content-Type", script.kind)
            self.end_headers()
            try:
                for part in script.parts:
                    self.wfile.write(part.encode())
                    self.wfile.flush()
                if script.wait is not None:
                    script.wait.wait(20)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@contextmanager
def endpoint(tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """Serve a script on a free port, over https with `tls`."""
    state = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        if state.wait is not None:
            state.wait.set()
        server.shutdown()
        thread.join()
        server.server_close()

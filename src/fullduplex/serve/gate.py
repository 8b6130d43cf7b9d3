"""Who may come in: keys, origins and numbers."""

import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fullduplex.base.errors import ConfigError
from fullduplex.serve.address import LOOPBACK

__all__ = ["Refused", "ServeConfig", "check_key", "check_origin"]

_KEY_PROTOCOL = "openai-insecure-api-key."
_LIMITS = ("max_sessions", "max_message_bytes", "max_session_s", "idle_s", "max_outbox_bytes", "send_timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """How to serve.

    `api_key` "": none is asked for. `allowed_origins`: web pages of other origins that may connect, such as
    "https://example.org"; the server's own page and pages on this machine always may. `record_dir` None: nothing is
    written. `idle_s`: a client that sends nothing for so long is disconnected.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    max_sessions: int = 8
    max_message_bytes: int = 1 << 20
    max_session_s: float = 3600.0
    idle_s: float = 300.0
    max_outbox_bytes: int = 1 << 20
    send_timeout_s: float = 5.0
    api_key: str = ""
    allowed_origins: tuple[str, ...] = ()
    record_dir: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}; expected 0 (any free port) to 65535")
        for name in _LIMITS:
            value: float = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}; expected a finite number above 0")


class Refused(Exception):
    """A client is turned away: HTTP status, the protocol's code and what to do about it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def check_key(headers: Mapping[str, str], api_key: str) -> None:
    """The key of an `Authorization: Bearer` header or of a subprotocol (browsers cannot set headers).

    Raises:
        Refused: 401, no key or a wrong one.
    """
    if not api_key:
        return
    given = headers.get("Authorization", "").removeprefix("Bearer ").strip()
    for protocol in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if protocol.strip().startswith(_KEY_PROTOCOL):
            given = protocol.strip().removeprefix(_KEY_PROTOCOL)
    if not hmac.compare_digest(_bytes(given), _bytes(api_key)):
        raise Refused(
            401,
            "invalid_api_key",
            "no or wrong API key; send 'Authorization: Bearer KEY', or from a browser the WebSocket subprotocol "
            f"'{_KEY_PROTOCOL}KEY'",
        )


def check_origin(headers: Mapping[str, str], config: ServeConfig) -> None:
    """Keep foreign web pages out: a browser tells where a page comes from, other programs tell nothing and may pass.

    A server on loopback also insists on being called by a loopback name, so that no page can reach it through a domain
    name of its own that points here.

    Raises:
        Refused: 403.
    """
    origin = headers.get("Origin")
    if origin is None or origin in config.allowed_origins:
        return
    host = headers.get("Host", "")
    address, name = _place(origin)
    _, called = _place(f"//{host}")
    same = bool(name) and address == host and (config.host not in LOOPBACK or called in LOOPBACK)
    if same or name in LOOPBACK:
        return
    raise Refused(403, "origin_not_allowed", f"pages of {origin[:200]!r} may not connect; see allowed_origins")


def _bytes(key: str) -> bytes:
    """As it was sent: what is not UTF-8 in a header or on the command line comes as half surrogate pairs."""
    return key.encode("utf-8", "surrogateescape")


def _place(address: str) -> tuple[str, str]:
    """Name and port, and the name alone, of an address; empty where it is none."""
    try:
        parts = urlsplit(address)
        return parts.netloc, parts.hostname or ""
    except ValueError:
        return "", ""

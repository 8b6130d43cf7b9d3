"""A brain behind an OpenAI-compatible `/chat/completions`, streamed as server-sent events. Standard library only."""

import http.client
import json
import math
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fullduplex.base.chat import Sampling
from fullduplex.base.errors import ConfigError, InputError, PortError
from fullduplex.lm.brain import Layout, Prefill, Prompt, never

__all__ = ["RemoteBrain"]

_MOST_ERROR_BYTES = 2_000
_MOST_REPLY_BYTES = 1 << 20
_MOST_LINE_BYTES = 1 << 20
_WATCH_S = 0.02
_ADVICE = {401: "check the API key", 403: "check the API key", 404: "check the address and the model's name"}


class RemoteBrain:
    """Speaks to any server with the OpenAI chat-completions protocol. It has no cache to fill and tells no P(end)."""

    layout: Layout = "merged"

    def __init__(self, base_url: str, model: str, api_key: str = "", *, timeout_s: float = 30.0) -> None:
        """Remember where to ask; nothing is sent yet.

        Args:
            base_url: address up to and with the version, such as http://127.0.0.1:8080/v1.
            model: name the server knows the model by; empty to ask `models` only.
            api_key: sent as a bearer token; empty for a server that wants none.
            timeout_s: longest wait for a connection, and for each next piece.

        Raises:
            ConfigError: the address is not http(s) or holds a password, or a value cannot be sent.
        """
        address = _address(base_url)
        if not api_key.isascii() or " " in api_key or not api_key.isprintable():
            raise ConfigError("api_key must be ASCII without white space and control characters")
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f"timeout_s must be above 0, not {timeout_s}")
        self._address = address
        self._base = address.path.rstrip("/")
        self._path = f"{self._base}/chat/completions"
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """Nothing: the protocol cannot read ahead."""
        return Prefill()

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> None:
        """None: the protocol cannot tell."""
        return

    def forget(self, key: str) -> None:
        """Nothing is kept here."""

    def models(self, *, timeout_s: float = 5.0) -> tuple[str, ...]:
        """Names of the models the server has, from `GET /models`; empty where it does not tell.

        Raises `PortError` when the server cannot be reached, is late, or refuses the key.
        """
        connection = self._connection(timeout_s)
        try:
            connection.request("GET", f"{self._base}/models", headers=self._authorization())
            response = connection.getresponse()
            if response.status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
                raise PortError(self._refusal(response))
            return _names(response.read(_MOST_REPLY_BYTES)) if response.status == http.HTTPStatus.OK else ()
        except (OSError, http.client.HTTPException) as error:
            raise PortError(self._unusable(error, timeout_s)) from None
        finally:
            connection.close()

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The reply as it arrives. `cancelled` is asked every 20 ms, and closing the generator closes the connection.

        Raises `PortError` when the server cannot be reached, refuses, is late, or breaks off.
        """
        if not messages:
            raise InputError("the prompt has no messages; pass at least one")
        if not self._model:
            raise ConfigError("model must be the name of a model of the server, it is empty")
        return self._exchange(self._body(messages, sampling), cancelled)

    def _body(self, messages: Prompt, sampling: Sampling) -> bytes:
        document: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.text} for message in messages],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
        }
        if sampling.stop:
            document["stop"] = list(sampling.stop)
        return json.dumps(document).encode()

    def _exchange(self, body: bytes, cancelled: Callable[[], bool]) -> Iterator[str]:
        connection = self._connection(self._timeout_s)
        try:
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **self._authorization()}
            connection.request("POST", self._path, body, headers)
            with _hung_up_when(cancelled, connection):
                yield from self._reply(connection.getresponse(), cancelled)
        except (OSError, http.client.HTTPException, PortError, ValueError) as error:
            if cancelled():  # which broke the connection; one that is encrypted may call that a ValueError
                return
            if isinstance(error, (PortError, ValueError)):
                raise
            raise PortError(self._unusable(error, self._timeout_s)) from None
        finally:
            connection.close()

    def _reply(self, response: http.client.HTTPResponse, cancelled: Callable[[], bool]) -> Iterator[str]:
        if response.status != http.HTTPStatus.OK:
            raise PortError(self._refusal(response))
        if response.headers.get_content_type() == "application/json":  # a server that does not stream
            yield _whole(response.read(_MOST_REPLY_BYTES + 1))
            return
        for event in _events(response):
            if event == "[DONE]" or cancelled():
                return
            if piece := _piece(event):
                yield piece
        raise PortError(f"{self._where()} broke off before the end of the reply; try again")

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    def _unusable(self, error: Exception, timeout_s: float) -> str:
        if isinstance(error, TimeoutError):
            return f"{self._where()} sent nothing for {timeout_s:g} s; is it overloaded?"
        return f"{self._where()} cannot be used: {error or type(error).__name__}; is it running?"

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout_s)

    def _where(self) -> str:
        return f"{self._address.scheme}://{self._address.netloc}{self._path}"

    def _refusal(self, response: http.client.HTTPResponse) -> str:
        text = response.read(_MOST_ERROR_BYTES).decode("utf-8", "replace").strip()
        try:
            text = json.loads(text)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            text = text or "no explanation"
        advice = _ADVICE.get(response.status, "see the server's log")
        return f"{self._where()} answered {response.status} {response.reason}: {text}; {advice}"


def _address(base_url: str) -> urllib.parse.SplitResult:
    """The parts of an address that a request can be sent to. Raises: ConfigError."""
    if "@" in base_url:  # never shown: addresses are, in the log, on the page and in results
        hidden = base_url.rpartition("@")[2]
        raise ConfigError(
            f"base_url must not hold a user or password (it ends in …@{hidden}): it is shown and logged; leave them out, "
            "and give the server's key as api_key (--brain-api-key, brain_api_key)"
        )
    try:
        if " " in base_url or not base_url.isprintable():
            raise ValueError("it holds white space or a control character")
        address = urllib.parse.urlsplit(base_url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise ValueError("it names no http or https server")
        if not address.path.isascii():
            raise ValueError("its path is not ASCII")
        address.hostname.encode("idna")
        _ = address.port  # refused here where it is no number, or too high
    except ValueError as error:
        raise ConfigError(f"base_url must be like http://host:port/v1, not {base_url!r}: {error}") from None
    return address


@contextmanager
def _hung_up_when(cancelled: Callable[[], bool], connection: http.client.HTTPConnection) -> Iterator[None]:
    """Break the connection when cancelled: a read that waits for a slow server would keep the next request waiting too."""
    done = threading.Event()
    line = connection.sock  # a response that closes the connection takes it away from there

    def watch() -> None:
        while not done.wait(_WATCH_S):
            if cancelled():
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
                return

    watcher = threading.Thread(target=watch, name="hang-up", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each server-sent event."""
    data: list[str] = []
    while line := response.readline(_MOST_LINE_BYTES + 1):
        if len(line) > _MOST_LINE_BYTES:
            raise PortError(f"the server sent a line of more than {_MOST_LINE_BYTES} bytes, which is no event stream")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        return tuple(str(entry["id"]) for entry in json.loads(body)["data"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _whole(body: bytes) -> str:
    """The reply in the one answer of a server that does not stream."""
    if len(body) > _MOST_REPLY_BYTES:
        raise PortError(f"the server sent a reply of more than {_MOST_REPLY_BYTES} bytes")
    try:
        document = json.loads(body)
        if "error" in document:
            raise PortError(f"the server reported: {document['error']}")
        return str(document["choices"][0]["message"]["content"] or "")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise PortError(f"the server sent no chat completion: {body[:200]!r}") from None


def _piece(event: str) -> str:
    try:
        document = json.loads(event)
        if "error" in document:
            raise PortError(f"the server reported: {document['error']}")
        choices = document["choices"]
        return (choices[0]["delta"].get("content") or "") if choices else ""
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise PortError(f"the server sent an event that is not a chat completion: {event[:200]!r}") from None

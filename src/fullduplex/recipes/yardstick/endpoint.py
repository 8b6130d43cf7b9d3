"""Any endpoint of the OpenAI Realtime protocol as a system: real time, over a WebSocket, with a player of its own.

One thread reads events into a queue; the caller's thread keeps a beat of 20 ms: send 20 ms of the user, play 20 ms of what
has come. When the server reports speech, the player falls silent at once and tells the server how much was heard, as the
protocol asks of clients. Both GA and beta event names are understood.
"""

import base64
import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fullduplex.base.errors import InputError, MissingExtraError, PortError
from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ
from fullduplex.dialogue.ports import Pcm
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import pcm16_from_float, pcm_from_pcm16
from fullduplex.recipes.yardstick.collect import System

__all__ = ["EndpointConfig", "endpoint_system"]

_BEAT_S = 0.02
_SAMPLES = round(_BEAT_S * VOICE_RATE_HZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Where and how. `session`: fields of a `session.update` sent first, none by default.

    `open_s`: how long to wait for `session.created`. `late_s`: a beat later than this counts as late.
    """

    url: str
    model: str = ""
    api_key: str = ""
    session: dict[str, Any] = field(default_factory=dict[str, Any])
    open_s: float = 10.0
    late_s: float = 0.02

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://")):
            raise InputError(f"url is {self.url!r}; expected ws:// or wss://, e.g. ws://127.0.0.1:8787/v1/realtime")


@dataclass(slots=True, kw_only=True)
class _Player:
    """The loudspeaker, and which item each of its utterances is."""

    speaker: ls.Loudspeaker = field(default_factory=ls.Loudspeaker)
    items: list[str] = field(default_factory=list[str])
    received: dict[str, int] = field(default_factory=dict[str, int])
    out: list[Pcm] = field(default_factory=list[Pcm])
    errors: list[str] = field(default_factory=list[str])

    def take(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Obey one server event; what is to be sent in return, if anything."""
        kind = str(event.get("type", ""))
        if kind in ("response.output_audio.delta", "response.audio.delta"):
            self._queue(str(event["item_id"]), pcm_from_pcm16(base64.b64decode(event["delta"])))
        elif kind == "input_audio_buffer.speech_started":
            return self._silence()
        elif kind == "error":
            self.errors.append(str(event.get("error", {}).get("message", event)))
        return None

    def _queue(self, item: str, pcm: Pcm) -> None:
        if item not in self.items:
            self.items.append(item)
        start = self.received.get(item, 0)
        self.received[item] = start + pcm.size
        self.speaker = ls.play(self.speaker, self.items.index(item), self.speaker.epoch, start, pcm)

    def _silence(self) -> dict[str, Any] | None:
        playing = self.speaker.queue
        if not playing:
            return None
        utterance, start, _ = playing[0]
        item = self.items[utterance]
        self.speaker, _ = ls.flush(self.speaker, utterance, self.speaker.epoch + 1)
        # If it was no interruption, the server goes on from here: what comes then follows what was heard.
        self.received[item] = start
        heard_ms = start * 1000 // VOICE_RATE_HZ
        return {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": heard_ms}

    def beat(self) -> None:
        """Play 20 ms."""
        pcm, self.speaker, _ = ls.pull(self.speaker, _SAMPLES)
        self.out.append(pcm)


def endpoint_system(
    config: EndpointConfig, *, note: Callable[[str], None] | None = None, clock: Callable[[], float] = time.perf_counter
) -> System:
    """A system that opens a conversation for every stimulus and plays it in real time.

    Args:
        config: the endpoint.
        note: told of late beats and of errors the server reports.
        clock: seconds that only grow.

    Raises (when called):
        MissingExtraError: websockets is not installed. PortError: no connection, or it broke.
    """

    def answer(user_N: Pcm) -> tuple[Pcm, Pcm]:
        try:
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        except ImportError as error:
            raise MissingExtraError("websockets", "evaluate") from error
        address = config.url + (f"?model={config.model}" if config.model else "")
        headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        try:
            with connect(address, additional_headers=headers, max_size=None, open_timeout=config.open_s) as socket:
                player = _converse(socket, user_N, config, clock, note)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise PortError(f"{config.url}: {type(error).__name__}: {error}; is the server running?") from error
        if note is not None:
            for message in player.errors:
                note(f"the server reports: {message}")
        machine = resample(np.concatenate(player.out), VOICE_RATE_HZ, EAR_RATE_HZ)[: user_N.size]
        return user_N, machine

    return answer


def _converse(
    socket: Any, user_N: Pcm, config: EndpointConfig, clock: Callable[[], float], note: Callable[[str], None] | None
) -> _Player:
    _await_session(socket, config)
    events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(socket, events), daemon=True).start()
    sound = resample(user_N, EAR_RATE_HZ, VOICE_RATE_HZ)
    player = _Player()
    began, late = clock(), 0
    for beat in range(-(-sound.size // _SAMPLES)):
        wait_s = began + beat * _BEAT_S - clock()
        if wait_s > 0:
            time.sleep(wait_s)
        late += -wait_s > config.late_s
        piece = sound[beat * _SAMPLES : (beat + 1) * _SAMPLES]
        data = base64.b64encode(pcm16_from_float(piece)).decode()
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": data}))
        while not events.empty():
            event = events.get()
            if event is None:
                raise PortError(f"{config.url}: the server closed the conversation after {beat * _BEAT_S:.1f} s")
            reply = player.take(event)
            if reply is not None:
                socket.send(json.dumps(reply))
        player.beat()
    if late and note is not None:
        note(f"{late} beats of 20 ms came late; the figures of this item are worse than the system")
    return player


def _await_session(socket: Any, config: EndpointConfig) -> None:
    first = json.loads(socket.recv(timeout=config.open_s))
    if first.get("type") != "session.created":
        raise PortError(f"{config.url}: the first event is {first.get('type')!r}; expected session.created")
    if config.session:
        socket.send(json.dumps({"type": "session.update", "session": config.session}))


def _read(socket: Any, events: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    """Until the socket closes; the end is an event of its own."""
    from websockets.exceptions import ConnectionClosed

    try:
        for message in socket:
            events.put(json.loads(message))
    except ConnectionClosed:
        pass  # the None below says so
    finally:
        events.put(None)

"""A caller with a headset, in real time, at the other end of a pipecat pipeline.

The device has its own thread and clock, as a sound card has. Every 10 ms it takes 10 ms of sound from the queue that the
output transport fills, as the track of pipecat's WebRTC transport does; every 20 ms it hands 20 ms of microphone to the
input transport. In between, the scripted caller hears what the loudspeaker plays and speaks.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES, VOICE_RATE_HZ, samples_from_s
from fullduplex.evaluate.caller import Act, Caller
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.numerics.resample import make

__all__ = ["Device"]

Pcm = NDArray[np.float32]

_TICK_S = 0.01
_PULL_SAMPLES = VOICE_RATE_HZ // 100
_MICROPHONE_SAMPLES = EAR_RATE_HZ // 50
_NETWORK_S = 0.03  # what our own simulation charges every machine for the way to the loudspeaker


@dataclass(slots=True, eq=False)
class _Chunk:
    pcm: NDArray[np.int16]
    reply: int
    taken: Callable[[], object] | None


@dataclass(slots=True)
class _Reply:
    first: int
    last: int


@dataclass(kw_only=True)
class Device:
    """Caller, room and loudspeaker. `run` is the body of the device's thread.

    `limit_s`: longest conversation. `late_s`: how late each tick of the clock was.
    """

    acts: tuple[Act, ...]
    room: RoomConfig
    limit_s: float = 600.0
    late_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.caller = Caller(acts=self.acts)
        self._room = Room.make(self.room)
        self._lock = threading.Lock()
        self._queue: deque[_Chunk] = deque()
        self._reply = 0
        self._spans: dict[int, _Reply] = {}
        self._complete: dict[int, bool] = {}
        self._down = make(VOICE_RATE_HZ, EAR_RATE_HZ)
        self._down_state = self._down.init()
        self._pulled = samples_from_s(_NETWORK_S, VOICE_RATE_HZ)
        self._ready = np.zeros(0, np.float32)
        self._microphone = np.zeros(0, np.float32)
        self._tracks: list[tuple[Pcm, Pcm]] = []
        self._resample(np.zeros(self._pulled, np.float32))

    def write(self, pcm: NDArray[np.int16]) -> asyncio.Future[bool]:
        """Queue sound at VOICE_RATE_HZ, on the event loop; the future is done once its last 10 ms have been taken."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def taken() -> None:
            if not future.done():
                future.set_result(True)

        pieces = [pcm[at : at + _PULL_SAMPLES] for at in range(0, pcm.size, _PULL_SAMPLES)]
        with self._lock:
            if not self._reply or self._reply in self._complete:
                self._reply += 1
            self._queue.extend(_Chunk(piece, self._reply, None) for piece in pieces[:-1])
            self._queue.append(_Chunk(pieces[-1], self._reply, lambda: loop.call_soon_threadsafe(taken)))
        return future

    def end_reply(self, *, complete: bool) -> None:
        """The pipeline has said all of its reply, or was interrupted in it."""
        with self._lock:
            if self._reply:
                self._complete.setdefault(self._reply, complete)

    def run(self, send: Callable[[bytes], None], stopped: threading.Event) -> None:
        """Talk until the script is over; `send` takes 20 ms of microphone (16 bit, EAR_RATE_HZ)."""
        began = time.perf_counter()
        tick = 0
        while not self.caller.finished and tick * _TICK_S < self.limit_s and not stopped.is_set():
            due = began + tick * _TICK_S
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
            self.late_s.append(max(time.perf_counter() - due, 0.0))
            self._pull()
            if tick and tick % 2 == 0:
                send(self._listen())
            tick += 1

    def result(self) -> tuple[Pcm, Pcm, list[tuple[int, int, bool]]]:
        """(caller's track, loudspeaker's track, replies as (first sample, last sample, complete))."""
        caller, machine = (np.concatenate(track) for track in zip(*self._tracks, strict=True))
        with self._lock:
            replies = [(span.first, span.last, self._complete.get(key, False)) for key, span in self._spans.items()]
        return caller, machine, replies

    def _pull(self) -> None:
        with self._lock:
            chunk = self._queue.popleft() if self._queue else None
        out = np.zeros(_PULL_SAMPLES, np.float32)
        if chunk is not None:
            out[: chunk.pcm.size] = chunk.pcm.astype(np.float32) / 32768.0
            if chunk.taken is not None:
                chunk.taken()
            first = self._pulled * EAR_RATE_HZ // VOICE_RATE_HZ
            span = self._spans.setdefault(chunk.reply, _Reply(first, first))
            span.last = first + _PULL_SAMPLES * EAR_RATE_HZ // VOICE_RATE_HZ
        self._pulled += _PULL_SAMPLES
        self._resample(out)

    def _resample(self, pcm: Pcm) -> None:
        low, self._down_state = self._down.step(pcm, self._down_state)
        self._ready = np.concatenate([self._ready, low])

    def _listen(self) -> bytes:
        """The next 20 ms of microphone; the caller is stepped as far as that needs."""
        while self._microphone.size < _MICROPHONE_SAMPLES:
            machine, self._ready = self._ready[:FRAME_SAMPLES], self._ready[FRAME_SAMPLES:]
            machine = np.pad(machine, (FRAME_SAMPLES - machine.size, 0))  # the resampler's delay, once at the beginning
            voice, self.caller = self.caller.step(machine)
            mixed, self._room = self._room.mix(voice, machine)
            self._microphone = np.concatenate([self._microphone, mixed])
            self._tracks.append((voice, machine))
        chunk, self._microphone = self._microphone[:_MICROPHONE_SAMPLES], self._microphone[_MICROPHONE_SAMPLES:]
        return (chunk * 32767.0).astype(np.int16).tobytes()

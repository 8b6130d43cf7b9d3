"""Drive a session: frames in, events out, requests to the lanes and back."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from fullduplex.base.units import FRAME_S
from fullduplex.dialogue.desk import SessionState
from fullduplex.dialogue.events import Ask, Cancel, Event, Frame, Input
from fullduplex.dialogue.ports import Generate, Generated, Pcm, Result
from fullduplex.dialogue.session import Session
from fullduplex.recipes.lanes import Lanes

__all__ = ["Echo", "Runner"]


_NO_SOUND = np.zeros(0, np.float32)


class Echo(Protocol):
    """Removes the loudspeaker's sound from the microphone's."""

    def process(self, near_pcm: Pcm, far_pcm: Pcm) -> Pcm:
        """`near_pcm` without `far_pcm`, which was played at the same time; equal lengths at EAR_RATE_HZ."""
        ...

    @property
    def echo_share(self) -> float:
        """How much of the power just returned may still be echo, 0 to 1."""
        ...


class Runner:
    """One live conversation. `state` is its whole truth; a runner made with a saved state goes on from there.

    `log` receives every frame before it is stepped: replaying them gives the same events. `step_s` is how long the last
    step of the session took, ear included.
    """

    def __init__(
        self,
        session: Session,
        lanes: Lanes,
        *,
        state: SessionState | None = None,
        log: Callable[[Frame], Any] | None = None,
    ) -> None:
        self.session = session
        self.state = session.init() if state is None else state
        self.step_s = 0.0
        self.lanes = lanes
        self._log = log
        self._known_chars = {r.ticket: r.received_chars for r in self.state.pending if isinstance(r, Generate)}
        for request in self.state.pending:  # a restored conversation asks again for what it was waiting for
            lanes.submit(request, self.now_s)

    @property
    def now_s(self) -> float:
        """End of the last frame, in seconds of heard sound."""
        return self.state.frame_index * FRAME_S

    def step(self, pcm: Pcm, inputs: tuple[Input, ...] = (), *, echo_share: float = 0.0) -> list[Event]:
        """One frame of sound; returns the events that concern the outside world."""
        now_s = self.now_s + FRAME_S
        arrived = self._collect(now_s)
        index = self.state.frame_index
        return self._take(Frame(index=index, pcm=pcm, echo_share=echo_share, inputs=(*arrived, *inputs)), now_s)

    def react(self, now_s: float | None = None) -> list[Event]:
        """Take results that have arrived in the middle of a frame, at `now_s`, instead of waiting for its end."""
        at_s = self.now_s if now_s is None else now_s
        arrived = self._collect(at_s)
        return self._take(Frame(index=self.state.frame_index, pcm=_NO_SOUND, inputs=arrived), at_s) if arrived else []

    def _collect(self, now_s: float) -> tuple[Result, ...]:
        """Results that have arrived, without what a restored conversation has heard of an answer already."""
        results: list[Result] = []
        for result in self.lanes.collect(now_s):
            known = self._known_chars.get(result.ticket, 0)
            if known and isinstance(result, Generated):
                self._known_chars[result.ticket] = max(known - len(result.text), 0)
                rest = result.text[known:]
                if rest or result.done:
                    results.append(replace(result, text=rest))
            else:
                results.append(result)
        return tuple(results)

    def _take(self, frame: Frame, now_s: float) -> list[Event]:
        if self._log is not None:
            self._log(frame)
        began = time.perf_counter()
        events, self.state = self.session.step(frame, self.state)
        self.step_s = time.perf_counter() - began
        outside: list[Event] = []
        for event in events:
            if isinstance(event, Ask):
                self.lanes.submit(event.request, now_s)
            elif isinstance(event, Cancel):
                self.lanes.cancel(event.ticket)
            else:
                outside.append(event)
        return outside

    def close(self) -> None:
        """Let go of the lanes."""
        self.lanes.close()

"""One conversation of the server, without the server: messages in, messages out, a clock as an argument.

`offer` is called where messages arrive (the event loop) and only queues. `turn` does everything else (decoding,
resampling, the steps of the core) and is called on a thread, one call at a time. Neither ever waits.
"""

import json
import logging
from collections import deque
from dataclasses import dataclass

import numpy as np

from fullduplex.base.units import FRAME_S, FRAME_SAMPLES
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.ports import Pcm
from fullduplex.dialogue.turns import Floor
from fullduplex.numerics.signal import pcm_from_pcm16
from fullduplex.recipes.runner import Echo, Runner
from fullduplex.serve.intake import Intake, IntakeConfig, Sound
from fullduplex.serve.metrics import Metrics, SessionMeter
from fullduplex.serve.playhead import Playhead
from fullduplex.serve.realtime import wire
from fullduplex.serve.realtime.commands import Commands
from fullduplex.serve.realtime.conversation import Conversation, beta_name
from fullduplex.serve.realtime.door import WireError, encodable, parsed
from fullduplex.serve.realtime.settings import Offer, initial
from fullduplex.serve.record import Recorder

__all__ = ["Worker", "WorkerConfig"]

_LOG = logging.getLogger(__name__)
_FRAMES_A_TURN = 128  # about a tenth of a second of work: then what has come of it goes out
_RESTING_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """`max_inbox_bytes`: messages waiting to be decoded. `beta`: event names of the beta protocol."""

    intake: IntakeConfig = IntakeConfig()
    max_inbox_bytes: int = 8 << 20
    beta: bool = False


class Worker:
    """See the module. `now_s` is always the same clock, in seconds."""

    def __init__(
        self,
        runner: Runner,
        *,
        key: str,
        offer: Offer,
        metrics: Metrics,
        now_s: float,
        config: WorkerConfig | None = None,
        echo: Echo | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._config = config or WorkerConfig()
        self._runner = runner
        self._echo = echo
        self._recorder = recorder
        self._metrics = metrics
        self._meter = SessionMeter(metrics)
        self._conversation = Conversation(key, initial(runner.session, offer))
        self._playhead = Playhead()
        self._commands = Commands(runner, self._conversation, self._playhead)
        self._intake = Intake(self._config.intake, now_s)
        self._inbox: deque[tuple[str | bytes, float]] = deque()
        self._inbox_bytes = 0
        self._lost = 0
        self._conversation.hello()

    # --- on the event loop --------------------------------------------------------------------------------------------

    def offer(self, text: str | bytes, now_s: float) -> None:
        """A message has come, in a text frame or a binary one."""
        self._inbox.append((text, now_s))
        self._inbox_bytes += len(text)

    @property
    def full(self) -> bool:
        """Should no more messages be read for now?"""
        return self._inbox_bytes > self._config.max_inbox_bytes

    @property
    def busy(self) -> bool:
        """Is there work that could not be finished in the last turn?"""
        return bool(self._inbox) or self._intake.waiting > 0

    @property
    def wait_s(self) -> float:
        """How long until the next turn, if no message comes."""
        return FRAME_S / 2 if self._time_passes() else _RESTING_S

    # --- on a thread --------------------------------------------------------------------------------------------------

    def turn(self, now_s: float) -> list[str]:
        """Take what has come, let time pass, and return what the client is to be told."""
        while self._inbox and self._intake.waiting < _FRAMES_A_TURN:
            text, came_s = self._inbox.popleft()
            self._inbox_bytes -= len(text)
            self._message(text, came_s, now_s)
        self._frames(now_s, _FRAMES_A_TURN)
        self._silence(now_s)
        if self._runner.state.pending:
            self._tell(self._runner.react(), self._runner.state.frame_index, now_s)
        return self._encoded()

    def failed(self, message: str) -> list[str]:
        """Something broke on our side: tell the client."""
        self._conversation.error(message, kind="server_error", code="internal_error")
        return self._encoded()

    def farewell(self, message: str, code: str) -> list[str]:
        """The server ends the conversation: tell the client why."""
        self._conversation.error(message, kind="server_error", code=code)
        return self._encoded()

    def close(self) -> None:
        """The client is gone."""
        try:
            if self._runner.state.floor is not Floor.CLOSED:
                self._step(self._silent_sound(0.0), 0.0, (ev.Close(),))
        finally:
            self._runner.close()
            if self._recorder is not None:
                self._recorder.close()

    # --- messages -----------------------------------------------------------------------------------------------------

    def _message(self, text: str | bytes, came_s: float, now_s: float) -> None:
        try:
            event = wire.decode(text)
        except WireError as error:
            self._note(text[:2000])
            self._conversation.refuse(error, error.event_id)
            return
        try:
            if isinstance(event.body, wire.Append):
                self._sound(event.body, came_s)
            else:
                self._note(text)
                self._obey(event, now_s)
        except WireError as error:
            if isinstance(event.body, wire.Append):
                self._note(text)
                error.param = "fullduplex" if error.param == "type" else f"fullduplex.{error.param}"
            self._conversation.refuse(error, error.event_id or event.event_id)

    def _obey(self, event: wire.ClientEvent, now_s: float) -> None:
        self._frames(now_s, self._intake.waiting)
        self._commands.obey(event.body, event.event_id)
        if isinstance(event.body, wire.ClearInputBuffer):
            self._intake.clear()
        if self._commands.waits:
            self._commands.waits = False
            self._intake.tempo.now(now_s)

    def _note(self, text: str | bytes) -> None:
        if self._recorder is None:
            return
        try:
            message = parsed(text)
        except WireError:
            message = {"raw": text if isinstance(text, str) else repr(text)}
        self._recorder.message("client", message)

    def _sound(self, body: wire.Append, came_s: float) -> None:
        near = pcm_from_pcm16(body.audio)
        mark = body.mark
        if mark is None:
            utterance, position = self._playhead.utterance, self._playhead.position(came_s)
        else:
            utterance, position = self._conversation.utterance_of(mark.item_id), mark.samples
            self._commands.obey(mark)
        self._intake.offer(near, self._playhead.far(near.size, utterance, position), came_s)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _frames(self, now_s: float, limit: int) -> None:
        for _ in range(limit):
            sound, shed = self._intake.take(now_s)
            if sound is None:
                return
            lost: tuple[ev.Input, ...] = (ev.Lost(frames=shed),) if shed else ()
            self._step(sound, now_s, lost)

    def _silence(self, now_s: float) -> None:
        if not self._time_passes():
            return
        state = self._runner.state
        speech = state.hearing.active and not getattr(state.mind, "closing_frames", 0) and not self._commands.inputs
        while self._intake.silence_due(now_s, speech=speech):
            self._intake.silence(now_s)
            self._metrics.silent_frames.inc()
            self._frames(now_s, 1)

    def _time_passes(self) -> bool:
        """Does the core wait for anything that only comes with time?"""
        state = self._runner.state
        if state.floor is Floor.CLOSED:
            return False
        if self._commands.inputs or state.pending or state.playback.flushing:
            return True
        if state.floor is Floor.LISTENING and self._conversation.settings.turn.kind == "none":
            return bool(getattr(state.mind, "closing_frames", 0)) or not state.hearing.settled
        return state.floor is not Floor.IDLE

    def _silent_sound(self, now_s: float) -> Sound:
        zeros = np.zeros(FRAME_SAMPLES, np.float32)
        return Sound(zeros, zeros, now_s)

    def _step(self, sound: Sound, now_s: float, inputs: tuple[ev.Input, ...]) -> None:
        heard = tuple(self._playhead.report(now_s))
        frame = self._runner.state.frame_index
        near, share = self._without_echo(sound)
        events = self._runner.step(near, (*heard, *self._commands.take_inputs(), *inputs), echo_share=share)
        self._metrics.step_s.observe(self._runner.step_s)
        if self._recorder is not None:
            self._recorder.sound(sound.near, sound.far)
        self._tell(events, frame, now_s)

    def _tell(self, events: list[ev.Event], frame: int, now_s: float) -> None:
        for event in events:
            self._follow(event, now_s)
            self._meter.take(event, frame)
            self._conversation.take(event, frame)
        self._conversation.progress(self._runner.state.history)

    def _without_echo(self, sound: Sound) -> tuple[Pcm, float]:
        """The microphone without echo, and how much of what is left may still be echo."""
        if self._echo is None or not self._conversation.settings.echo:
            return sound.near, 0.0
        near = self._echo.process(sound.near, sound.far)
        return near, self._echo.echo_share

    def _follow(self, event: ev.Event, now_s: float) -> None:
        """The playhead goes with the events."""
        if isinstance(event, ev.ReplyStarted):
            settings = self._conversation.settings
            told = "told" if settings.playback_acks else "estimated"
            self._playhead.mode = "silent" if settings.modality == "text" else told
        elif isinstance(event, ev.AudioOut):
            self._playhead.sent(event, now_s)
        elif isinstance(event, ev.Flush):
            self._playhead.flushed(event, now_s)

    def _encoded(self) -> list[str]:
        out: list[str] = []
        for message in self._conversation.drain():
            if self._recorder is not None:
                self._recorder.message("server", message)
            named = beta_name(message) if self._config.beta else message
            if named is not None:
                out.append(encodable(json.dumps(named, ensure_ascii=False, separators=(",", ":"))))
        return out

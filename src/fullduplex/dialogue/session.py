"""The conversation: one pure step.

    events, state = session.step(frame, state)

A session owns no model, no clock and no thread. The ear (voice activity) is called in the step; everything heavier is
an `Ask` event whose result rides on a later frame. The same frames give the same events, bit for bit.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from fullduplex.base.errors import InputError
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue.branch import commit, roll_back
from fullduplex.dialogue.delivery import deliver, stop, take_failure, take_heard, take_sound, take_text
from fullduplex.dialogue.desk import Desk, SessionConfig, SessionState
from fullduplex.dialogue.events import (
    ClearInput,
    Close,
    CommitInput,
    Dropped,
    Event,
    Failure,
    Frame,
    Heard,
    Input,
    Instruct,
    Lost,
    Respond,
    Say,
    StopSpeaking,
    UserText,
)
from fullduplex.dialogue.history import History, record_user
from fullduplex.dialogue.listening.frames import check_pcm
from fullduplex.dialogue.listening.hearing import (
    Hearing,
    end_turn,
    hear,
    recognised,
    turn_pcm,
    unreadable,
    wants_recognition,
)
from fullduplex.dialogue.ports import (
    LANES,
    Ear,
    Failed,
    Generated,
    Recognise,
    Recognised,
    Result,
    Synthesised,
)
from fullduplex.dialogue.speaking.playback import Playback
from fullduplex.dialogue.turns import Cue, Floor

__all__ = ["Policy", "Session"]

_DEGRADE_FRAMES = 60  # after lost frames, partial readings pause for two seconds so that the machine can catch up


class Policy(Protocol):
    """Who speaks when."""

    @property
    def name(self) -> str:
        """A short name."""
        ...

    def init(self) -> Any:
        """Its memory in a new conversation: a value."""
        ...

    def take(self, desk: Desk, result: Result) -> None:
        """A result of a request that the policy made."""
        ...

    def step(self, desk: Desk, *, onset: bool) -> None:
        """Decide, one frame later. `onset`: speech began with this frame."""
        ...

    def react(self, desk: Desk) -> None:
        """Decide on what has arrived in the middle of a frame; no time has passed."""
        ...

    def finish_turn(self, desk: Desk, *, answer: bool = False) -> None:
        """End the user's turn as soon as it has been read. `answer`: and reply, whatever the configuration says."""
        ...

    def forget_turn(self, desk: Desk) -> None:
        """The user's open turn has been dropped from outside."""
        ...

    def typed(self, desk: Desk, text: str, *, respond: bool) -> None:
        """The user typed a message; the session keeps it in the history and answers it if `respond`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A kind of conversation; the conversation itself is the state."""

    ear: Ear
    policy: Policy
    config: SessionConfig = SessionConfig()

    def init(self) -> SessionState:
        """A conversation in which nothing has happened."""
        return SessionState(
            frame_index=0,
            next_ticket=1,
            next_utterance=1,
            pending=(),
            floor=Floor.IDLE,
            hearing=Hearing(ear=self.ear.init()),
            reading=None,
            playback=Playback(),
            reply=None,
            guess=None,
            parting=None,
            history=History(system=self.config.system, memory_words=self.config.memory_words),
            mind=self.policy.init(),
            thinking_frames=0,
            degraded_frames=0,
        )

    def step(self, frame: Frame, state: SessionState) -> tuple[list[Event], SessionState]:
        """One frame of sound and whatever has arrived by its end.

        Args:
            frame: its index must be `state.frame_index`; `pcm` has FRAME_SAMPLES samples, or none to react to inputs
                at once instead of at the end of the frame.
            state: the conversation so far; it is not changed.

        Returns:
            What happens now, in order, and the conversation afterwards. A closed conversation gives no events.

        Raises:
            InputError: a frame out of order, of the wrong length, or with NaN; the state stays usable.
        """
        pcm = check_pcm(frame.pcm, what="frame")
        if pcm.size not in (0, FRAME_SAMPLES) or frame.index != state.frame_index:
            raise InputError(
                f"expected frame {state.frame_index} of {FRAME_SAMPLES} samples, got frame {frame.index} of "
                f"{pcm.size}; cut the stream with Framer and count frames from 0"
            )
        frames = pcm.size // FRAME_SAMPLES
        if state.floor is Floor.CLOSED:
            return [], replace(state, frame_index=state.frame_index + frames)
        desk = Desk(self.config, state)
        for item in frame.inputs:
            if desk.floor is not Floor.CLOSED:  # whatever came together with the end came after it
                self._take(desk, item)
        if desk.floor is not Floor.CLOSED:
            if frames:
                self._advance(desk, frame)
            else:
                self.policy.react(desk)
            deliver(desk, frames=frames)
        return desk.events, desk.clear(frames=frames)

    def _advance(self, desk: Desk, frame: Frame) -> None:
        speaks = desk.floor in (Floor.SPEAKING, Floor.OVERLAP)
        desk.hearing, onset = hear(desk.hearing, frame, self.ear, self.config.hearing, machine_speaks=speaks)
        desk.degraded_frames = max(desk.degraded_frames - 1, 0)
        self.policy.step(desk, onset=onset)
        if desk.reading is None and wants_recognition(
            desk.hearing, self.config.hearing, partials=desk.degraded_frames == 0, machine_speaks=speaks
        ):
            self._read(desk)

    def _read(self, desk: Desk) -> None:
        hearing = desk.hearing
        pcm = turn_pcm(hearing)
        final = hearing.silence_frames >= self.config.hearing.pause_frames
        desk.reading = desk.ask(lambda t: Recognise(ticket=t, pcm=pcm, draft=hearing.tokens, final=final))
        desk.hearing = replace(hearing, asked_frames=len(hearing.frames))

    def _take(self, desk: Desk, item: Input) -> None:
        if isinstance(item, Heard):
            take_heard(desk, item)
        elif isinstance(item, Lost):
            desk.degraded_frames = _DEGRADE_FRAMES
            desk.emit(Dropped(frames=item.frames))
        elif isinstance(item, (Say, Respond, CommitInput, ClearInput, StopSpeaking, Instruct, Close)):
            self._command(desk, item)
        else:
            self._result(desk, item)

    def _result(self, desk: Desk, result: Result) -> None:
        request = desk.pending(result.ticket)
        if request is None:  # withdrawn meanwhile, or never asked
            return
        if not isinstance(result, (Generated, Synthesised)) or result.done:
            desk.settle(result.ticket)
        elif isinstance(result, Generated):
            desk.received(result)
        if isinstance(result, Failed):
            self._failed(desk, result, LANES[type(request)])
        elif isinstance(result, Recognised):
            if result.ticket == desk.reading:
                desk.reading = None
                desk.hearing = recognised(desk.hearing, result.text, result.tokens, self.config.hearing)
                text = desk.hearing.transcript
                stable = desk.hearing.stable_length
                desk.emit(UserText(turn=desk.hearing.turn, text=text, stable=stable, final=False))
        elif isinstance(result, Generated):
            if not take_text(desk, result):
                self.policy.take(desk, result)
        elif isinstance(result, Synthesised):
            take_sound(desk, result)
        else:
            self.policy.take(desk, result)

    def _failed(self, desk: Desk, result: Failed, lane: str) -> None:
        if result.ticket == desk.reading:
            desk.reading = None
            desk.emit(Failure(port=lane, message=result.message))
            desk.hearing = unreadable(desk.hearing, self.config.hearing)
            return
        take_failure(desk, result, lane)
        self.policy.take(desk, result)

    def _command(self, desk: Desk, item: Input) -> None:
        if isinstance(item, Close):
            roll_back(desk)
            stop(desk, "closed")
            desk.cancel_all()
            desk.reading = None
            desk.cue(Cue.CLOSE)
        elif isinstance(item, Instruct):
            desk.history = replace(desk.history, system=item.text)
        elif isinstance(item, Say):
            self._typed(desk, item)
        elif isinstance(item, StopSpeaking):
            if desk.floor in (Floor.THINKING, Floor.SPEAKING, Floor.OVERLAP):
                stop(desk, "told to stop")
                desk.cue(Cue.STOPPED)
        elif isinstance(item, ClearInput):
            self._clear(desk)
        elif isinstance(item, CommitInput):
            self._take_over(desk)
            if desk.floor is Floor.LISTENING:
                self.policy.finish_turn(desk)
        elif isinstance(item, Respond):
            self._respond(desk)

    def _typed(self, desk: Desk, item: Say) -> None:
        self.policy.typed(desk, item.text, respond=item.respond)
        if not item.respond:
            desk.history = record_user(desk.history, item.text)
            return
        self._clear(desk)
        if desk.hearing.started:  # a sound over the reply that is given up now
            self._drop_turn(desk)
        stop(desk, "a typed message")
        commit(desk, item.text, desk.hearing.turn)
        desk.cue(Cue.ENDED)

    def _take_over(self, desk: Desk) -> None:
        """The user says that the sound over the reply was meant."""
        if desk.floor is Floor.OVERLAP:
            stop(desk, "interrupted: the turn was committed")
            desk.cue(Cue.INTERRUPTED)

    def _respond(self, desk: Desk) -> None:
        if desk.floor is Floor.LISTENING:
            self.policy.finish_turn(desk, answer=True)
        elif desk.floor is Floor.IDLE:
            commit(desk, "", desk.hearing.turn)
            desk.cue(Cue.ENDED)

    def _clear(self, desk: Desk) -> None:
        if desk.floor is Floor.LISTENING:
            self._drop_turn(desk)
            desk.cue(Cue.NOTHING)

    def _drop_turn(self, desk: Desk) -> None:
        roll_back(desk)
        desk.cancel(desk.reading)
        desk.reading = None
        desk.hearing = end_turn(desk.hearing, self.config.hearing, enrol=False)
        self.policy.forget_turn(desk)

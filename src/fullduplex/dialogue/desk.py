"""The workspace of one step.

`Session.step` is a pure function of values, but a step does many small things. A `Desk` is laid out from the state,
worked on, and cleared into the next state; it never outlives the step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.dialogue.events import Ask, Cancel, Event, TurnChanged
from fullduplex.dialogue.history import History, messages_of
from fullduplex.dialogue.listening.hearing import Hearing, HearingConfig
from fullduplex.dialogue.ports import Generate, Generated, Request
from fullduplex.dialogue.speaking.playback import Playback, PlaybackConfig
from fullduplex.dialogue.speaking.reply import ClauseConfig, Reply
from fullduplex.dialogue.turns import Cue, Floor, advance

__all__ = ["Desk", "SessionConfig", "SessionState"]

DEFAULT_SYSTEM = "You are a helpful assistant. You give short answers."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a session behaves, whatever the policy.

    `system`: the system message. `memory_words`: how much of the conversation the brain is shown.
    `speculate_clauses`: how much of a guess is turned into sound before the user has
    finished. `first_audio_s`: a reply later than this after the end of the turn is reported as a missed deadline.
    `apology`: what is said when the brain fails before it has said anything.
    """

    system: str = DEFAULT_SYSTEM
    memory_words: int = 320
    sampling: Sampling = Sampling()
    hearing: HearingConfig = HearingConfig()
    clauses: ClauseConfig = ClauseConfig()
    playback: PlaybackConfig = PlaybackConfig()
    speculate_clauses: int = 1
    first_audio_s: float = 1.5
    apology: str = "Sorry, I cannot answer right now."

    def __post_init__(self) -> None:
        if self.memory_words < 1:
            raise InputError(f"the memory is {self.memory_words} words; expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionState:
    """Everything a conversation is. A kept state is a fork; going back to it is a roll-back.

    `reading`: the open recognition. `reply`: committed. `guess`: speculative. `parting`: stopped, its last
    acknowledgement still on the way. `mind`: the policy's own memory. `thinking_frames` since the turn was committed.
    """

    frame_index: int
    next_ticket: int
    next_utterance: int
    pending: tuple[Request, ...]
    floor: Floor
    hearing: Hearing
    reading: int | None
    playback: Playback
    reply: Reply | None
    guess: Reply | None
    parting: Reply | None
    history: History
    mind: Any
    thinking_frames: int
    degraded_frames: int


class Desk:
    """A state, spread out for one step."""

    def __init__(self, config: SessionConfig, state: SessionState) -> None:
        self.config = config
        self.frame = state.frame_index
        self.floor = state.floor
        self.hearing = state.hearing
        self.reading = state.reading
        self.playback = state.playback
        self.reply = state.reply
        self.guess = state.guess
        self.parting = state.parting
        self.history = state.history
        self.mind = state.mind
        self.thinking_frames = state.thinking_frames
        self.degraded_frames = state.degraded_frames
        self.events: list[Event] = []
        self._pending = {request.ticket: request for request in state.pending}
        self._next_ticket = state.next_ticket
        self._next_utterance = state.next_utterance

    def clear(self, *, frames: int) -> SessionState:
        """The next state, `frames` frames later."""
        return SessionState(
            frame_index=self.frame + frames,
            next_ticket=self._next_ticket,
            next_utterance=self._next_utterance,
            pending=tuple(self._pending.values()),
            floor=self.floor,
            hearing=self.hearing,
            reading=self.reading,
            playback=self.playback,
            reply=self.reply,
            guess=self.guess,
            parting=self.parting,
            history=self.history,
            mind=self.mind,
            thinking_frames=self.thinking_frames,
            degraded_frames=self.degraded_frames,
        )

    def ask(self, make: Callable[[int], Request]) -> int:
        """Send a request; returns its ticket."""
        ticket = self._next_ticket
        self._next_ticket += 1
        request = make(ticket)
        self._pending[ticket] = request
        self.events.append(Ask(request))
        return ticket

    def cancel(self, ticket: int | None) -> None:
        """Withdraw a request whose result has not come (fully) yet."""
        if ticket is not None and self._pending.pop(ticket, None) is not None:
            self.events.append(Cancel(ticket))

    def cancel_all(self) -> None:
        """Withdraw every open request."""
        for ticket in tuple(self._pending):
            self.cancel(ticket)

    def pending(self, ticket: int | None) -> Request | None:
        """The open request of this ticket."""
        return None if ticket is None else self._pending.get(ticket)

    def settle(self, ticket: int) -> None:
        """The request has been answered."""
        self._pending.pop(ticket, None)

    def received(self, result: Generated) -> None:
        """A piece of an answer has come; the open request remembers how much of it is known."""
        request = self._pending.get(result.ticket)
        if isinstance(request, Generate):
            known = request.received_chars + len(result.text)
            self._pending[result.ticket] = replace(request, received_chars=known)

    def new_utterance(self) -> int:
        """A fresh number for a reply."""
        self._next_utterance += 1
        return self._next_utterance - 1

    def emit(self, event: Event) -> None:
        """Tell the outside."""
        self.events.append(event)

    def cue(self, cue: Cue, cause: str | None = None) -> None:
        """Move the floor."""
        before, self.floor = self.floor, advance(self.floor, cue)
        if before is not self.floor:
            self.emit(TurnChanged(frame=self.frame, before=before, after=self.floor, cause=cause or cue.value))
        if self.floor is Floor.THINKING and before is not Floor.THINKING:
            self.thinking_frames = 0

    def prompt(self, user_text: str = "") -> tuple[Message, ...]:
        """The chat so far and the user's open message."""
        return messages_of(self.history, user_text)

"""The time-division policy: every k seconds the brain reads a slice of the user and writes a slice of its own.

Source: "Beyond the Turn-Based Game" (2406.15718), section 3, and its released server. What differs, on purpose:
- the brain's cache is kept between slices (the released server reads the whole history again every slice);
- the history holds what was heard (the released one holds what was generated);
- a slice of new words stops the machine at the slice's end, on the server (there, in the browser);
- an answer that was written while the user spoke on is not begun (there, new words halt the writing itself);
- who has been silent for a second has ended the sentence, whatever mark the recogniser guessed.

A duplex model (`layout="pairs"`) decides itself, by writing <idle>. A chat model (`layout="merged"`) was never taught to:
for it, the end-of-message probability of the words so far decides between <idle> and an answer, and the answer is
suspended and continued slice by slice. That is a stand-in until a duplex model is in place, not the paper's model.
"""

from dataclasses import dataclass, replace

from fullduplex.base.chat import Message
from fullduplex.base.errors import InputError
from fullduplex.base.slices import IDLE, MOST_PAIRS, newest
from fullduplex.base.units import FRAME_S
from fullduplex.dialogue.delivery import stop
from fullduplex.dialogue.desk import Desk
from fullduplex.dialogue.events import ReplyStarted, ReplyText, UserSpeech, UserText
from fullduplex.dialogue.history import record_user
from fullduplex.dialogue.listening.hearing import Hearing, end_turn
from fullduplex.dialogue.policies.slices import (
    SlicePair,
    as_heard,
    ended,
    extended,
    merged_messages,
    pair_messages,
    unanswered,
)
from fullduplex.dialogue.ports import EndScored, Failed, Generate, Generated, Prefill, Result, ScoreEnd
from fullduplex.dialogue.speaking.playback import begin
from fullduplex.dialogue.speaking.reply import Reply, add_text
from fullduplex.dialogue.turns import Cue, Floor

__all__ = ["TdmConfig", "TdmMind", "TdmPolicy"]

_PAUSE_S = 1.0  # longest pause inside a sentence (Full-Duplex-Bench: 0.4 to 1 s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TdmConfig:
    """`slice_s`: the paper uses 2 s. `slice_tokens`: 10 in the paper's evaluation, 15 in its demo.

    `layout`: "pairs" for a duplex model, "merged" for a chat model. `finished`: end-of-message probability above which a
    chat model answers. `max_slices` bounds one answer, `max_pairs` the slices that are kept: when there are
    more, two thirds go at once (`base.slices.newest`), behind an answer already when there are more than two thirds, so
    that the brain reads what is left while nobody speaks. `read_wait_s`: how long a committed turn waits for its last words.
    """

    slice_s: float = 1.0
    slice_tokens: int = 15
    layout: str = "merged"
    finished: float = 0.3
    max_slices: int = 12
    max_pairs: int = MOST_PAIRS
    read_wait_s: float = 3.0

    def __post_init__(self) -> None:
        if not 0.32 <= self.slice_s <= 2.0:
            raise InputError(f"slice_s must be between 0.32 and 2 seconds, got {self.slice_s}")
        if self.layout not in ("pairs", "merged"):
            raise InputError(f"layout must be 'pairs' or 'merged', got {self.layout!r}")
        if min(self.slice_tokens, self.max_slices, self.max_pairs) < 1:
            raise InputError("slice_tokens, max_slices and max_pairs must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TdmMind:
    """What the policy remembers.

    `pairs` up to now (compacted); `used` words of the open turn that were put into slices; `machine_slice` in the making
    under `ticket`. `following`: the reply whose end the pairs have not been told; `own` if it is made of slices, of which
    there are `speaking_slices`. `urged`: the words are to be answered without asking whether they are finished.
    `closing_frames` counts since the turn was committed from outside (0: it was not), `answer` with a wish for a reply.
    `idled`: a duplex model has met the user's last words with <idle>.
    """

    pairs: tuple[SlicePair, ...] = ()
    used: int = 0
    machine_slice: str = ""
    ticket: int | None = None
    following: int = 0
    own: bool = False
    speaking_slices: int = 0
    urged: bool = False
    closing_frames: int = 0
    answer: bool = False
    idled: bool = False


@dataclass(frozen=True, slots=True)
class TdmPolicy:
    """See the module."""

    config: TdmConfig = TdmConfig()
    name: str = "tdm"

    def init(self) -> TdmMind:
        """Memory of a new conversation."""
        return TdmMind()

    def take(self, desk: Desk, result: Result) -> None:
        """A piece of the slice in the making, or the verdict on the user's words."""
        mind: TdmMind = desk.mind
        if result.ticket != mind.ticket:
            return
        if isinstance(result, Generated):
            desk.mind = replace(mind, machine_slice=mind.machine_slice + result.text)
            if result.done:
                self._end_slice(desk)
        elif isinstance(result, EndScored):
            finished = result.probability is None or result.probability >= self.config.finished
            desk.mind = replace(mind, ticket=None)
            if finished and _quiet(desk.hearing):  # else it is asked again when the user has paused
                self._write(desk)
        elif isinstance(result, Failed):
            self._end_slice(desk)

    def step(self, desk: Desk, *, onset: bool) -> None:
        """Decide, once a slice."""
        if onset and desk.floor in (Floor.IDLE, Floor.THINKING):
            self._silence(desk, "the user went on")
            self._take_floor(desk)
        if onset and self.config.layout == "pairs":
            desk.mind = replace(desk.mind, urged=False)
        self._follow(desk)
        if desk.mind.closing_frames:
            self._close_when_read(desk)
        if (desk.frame + 1) % round(self.config.slice_s / FRAME_S) == 0:
            self._slice(desk)

    def react(self, desk: Desk) -> None:
        """Nothing is decided between slices."""

    def finish_turn(self, desk: Desk, *, answer: bool = False) -> None:
        """The user's turn ends here: the rest of it is a slice of its own, and finished."""
        mind: TdmMind = desk.mind
        desk.mind = replace(mind, closing_frames=max(mind.closing_frames, 1), answer=mind.answer or answer)

    def forget_turn(self, desk: Desk) -> None:
        """The user's open turn has been dropped; words that were put into slices stay said."""
        desk.cancel(desk.mind.ticket)
        desk.mind = replace(
            desk.mind, ticket=None, machine_slice="", used=0, urged=False, closing_frames=0, answer=False
        )

    def typed(self, desk: Desk, text: str, *, respond: bool) -> None:
        """A typed message is a slice of its own; its answer is made by the session, whole."""
        if respond:
            self._silence(desk, "a typed message")
            self._fold(desk)
        desk.mind = replace(desk.mind, pairs=self._kept((*desk.mind.pairs, SlicePair(text.strip(), ""))), idled=False)

    def _slice(self, desk: Desk) -> None:
        if self._read_words(desk):
            desk.cancel(desk.mind.ticket)
            desk.mind = replace(desk.mind, ticket=None, machine_slice="", urged=False)
            self._silence(desk, "new words")
            self._take_floor(desk)
            self._follow(desk)
            self._consider(desk)
        elif desk.mind.ticket is None and not self._waits(desk):
            self._go_on(desk)

    def _take_floor(self, desk: Desk) -> None:
        """The user has it from here on."""
        if desk.floor is not Floor.LISTENING:
            desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.hearing.onset_frame, active=True))
            desk.cue(Cue.INTERRUPTED if desk.floor in (Floor.SPEAKING, Floor.OVERLAP) else Cue.ONSET)

    def _go_on(self, desk: Desk) -> None:
        """The user is silent in this slice: continue the answer, or reconsider whether they have finished."""
        reply, hearing, mind = desk.reply, desk.hearing, desk.mind
        if reply is not None and reply.generate_ticket is None and not reply.text_done:
            self._write(desk)
        quiet = hearing.started and _quiet(hearing)
        if not quiet or hearing.silence_s < self.config.slice_s:
            if quiet and desk.floor is Floor.LISTENING and unanswered(mind.pairs):
                self._consider(desk)
            return
        if desk.floor is not Floor.LISTENING:  # a sound without words over the reply
            desk.hearing = end_turn(hearing, desk.config.hearing, enrol=False)
            desk.mind = replace(desk.mind, used=0)
        elif unanswered(mind.pairs) and not mind.urged:
            silence_s, two_slices_s = hearing.silence_s, 2 * self.config.slice_s
            mind = self._ended(mind) if silence_s >= min(_PAUSE_S, two_slices_s) else mind
            desk.mind = replace(mind, urged=silence_s >= two_slices_s)
            self._consider(desk)
        else:
            self._close_turn(desk)
            desk.cue(Cue.NOTHING)

    def _close_when_read(self, desk: Desk) -> None:
        mind: TdmMind = desk.mind
        if self._waits(desk) or desk.floor is not Floor.LISTENING:
            return
        if not desk.hearing.settled and mind.closing_frames * FRAME_S <= self.config.read_wait_s:
            desk.mind = replace(mind, closing_frames=mind.closing_frames + 1)
            return
        self._read_words(desk)
        wanted = mind.answer or unanswered(desk.mind.pairs)
        desk.cancel(mind.ticket)
        desk.mind = replace(desk.mind, ticket=None, machine_slice="", urged=True, closing_frames=0, answer=False)
        if wanted:
            desk.mind = self._ended(desk.mind)
            self._write(desk)
        else:
            self._close_turn(desk)
            desk.cue(Cue.NOTHING)

    def _ended(self, mind: TdmMind) -> TdmMind:
        """A duplex model is shown the user's last words again if the recogniser had not ended the sentence."""
        if self.config.layout != "pairs" or not unanswered(mind.pairs):
            return mind
        pairs = ended(mind.pairs)
        return replace(mind, pairs=pairs, idled=mind.idled and pairs == mind.pairs)

    def _overtaken(self, desk: Desk) -> bool:
        """The user has gone on while a duplex model wrote; what it wrote answers half of what they say."""
        if self.config.layout != "pairs" or desk.mind.urged:
            return False
        return desk.hearing.active or len(desk.hearing.transcript.split()) > desk.mind.used

    def _consider(self, desk: Desk) -> None:
        """Is it the machine's turn? A duplex model says so itself; a chat model does not cut in."""
        if self.config.layout == "pairs" or desk.mind.urged:
            self._write(desk)
        elif not self._waits(desk) and _quiet(desk.hearing):
            messages = self._messages(desk)
            ticket = desk.ask(lambda t: ScoreEnd(ticket=t, messages=messages))
            desk.mind = replace(desk.mind, ticket=ticket)

    def _read_words(self, desk: Desk) -> bool:
        """Move the words that are new and sure into the user's slice; were there any?"""
        hearing, mind = desk.hearing, desk.mind
        text = hearing.transcript if hearing.settled else hearing.transcript[: hearing.stable_length]
        words = text.split()[mind.used :]
        if words:
            user_slice = " ".join(words)
            pairs = self._kept((*mind.pairs, SlicePair(user_slice, "")))
            desk.mind = replace(mind, used=mind.used + len(words), pairs=pairs, idled=False)
            desk.history = record_user(desk.history, user_slice)
            desk.emit(UserText(turn=hearing.turn, text=text, stable=len(text), final=False))
        return bool(words)

    def _kept(self, pairs: tuple[SlicePair, ...]) -> tuple[SlicePair, ...]:
        return newest(pairs, self.config.max_pairs)

    def _messages(self, desk: Desk) -> tuple[Message, ...]:
        mind: TdmMind = desk.mind
        if self.config.layout == "merged":
            return merged_messages(desk.history.system, mind.pairs, "")
        if unanswered(mind.pairs) and not mind.idled:
            return pair_messages(desk.history.system, mind.pairs[:-1], mind.pairs[-1].user)
        return pair_messages(desk.history.system, mind.pairs, "")

    def _write(self, desk: Desk) -> None:
        """Ask for a slice of output."""
        messages = self._messages(desk)
        if self._waits(desk) or not messages or messages[-1].role == "system":
            return
        sampling = replace(desk.config.sampling, max_tokens=self.config.slice_tokens)
        ticket = desk.ask(lambda t: Generate(ticket=t, messages=messages, sampling=sampling))
        desk.mind = replace(desk.mind, ticket=ticket, machine_slice="")

    def _end_slice(self, desk: Desk) -> None:
        """The slice is complete: speak it, or stay idle."""
        mind: TdmMind = desk.mind
        text = mind.machine_slice.replace(IDLE, "")
        desk.mind = replace(mind, ticket=None, machine_slice="")
        if self._waits(desk):  # the reply was stopped from outside while this was being written
            return
        desk.mind = replace(desk.mind, idled=not text.strip())
        if not text.strip():
            if desk.reply is not None:
                desk.reply = add_text(desk.reply, "", desk.config.clauses, done=True)
            return
        fresh = desk.reply is None
        if fresh and self._overtaken(desk):
            return
        if fresh:
            self._begin(desk)
        reply = desk.reply
        assert reply is not None
        text = text.lstrip() if fresh else text
        speaking = desk.mind.speaking_slices + 1
        pairs = self._kept(extended(desk.mind.pairs, text, fresh=fresh))
        desk.mind = replace(desk.mind, speaking_slices=speaking, pairs=pairs)
        last = speaking >= self.config.max_slices
        desk.reply = grown = add_text(reply, text, desk.config.clauses, done=last)
        for clause in grown.clauses[len(reply.clauses) :]:
            desk.emit(ReplyText(utterance=grown.utterance, text=clause.text))

    def _begin(self, desk: Desk) -> None:
        turn = desk.hearing.turn
        desk.reply = Reply(utterance=desk.new_utterance(), answers="", generate_ticket=None, committed=True)
        desk.playback = begin(desk.playback, desk.reply.utterance)
        desk.mind = replace(desk.mind, speaking_slices=0, following=desk.reply.utterance, own=True)
        desk.emit(UserText(turn=turn, text=desk.hearing.transcript, stable=0, final=True))
        desk.emit(ReplyStarted(utterance=desk.reply.utterance, turn=turn))
        self._close_turn(desk)
        desk.cue(Cue.ENDED)

    def _close_turn(self, desk: Desk) -> None:
        desk.cancel(desk.reading)
        desk.reading = None
        desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.frame - desk.hearing.silence_frames, active=False))
        desk.hearing = end_turn(desk.hearing, desk.config.hearing, enrol=True)
        desk.mind = replace(desk.mind, used=0, urged=False)

    def _silence(self, desk: Desk, cause: str) -> None:
        if desk.reply is not None:
            stop(desk, cause)
            desk.cancel(desk.mind.ticket)
            desk.mind = replace(desk.mind, ticket=None, machine_slice="")

    def _waits(self, desk: Desk) -> bool:
        """A reply has ended and the pairs do not know yet how much of it was heard."""
        return desk.mind.following > 0 and desk.reply is None

    def _follow(self, desk: Desk) -> None:
        """Notice replies that began or ended, by whatever cause; the pairs keep only what was heard."""
        if self._waits(desk):
            desk.cancel(desk.mind.ticket)
            desk.mind = replace(desk.mind, ticket=None, machine_slice="")
            if desk.playback.flushing:  # its last acknowledgement is on the way
                return
            self._fold(desk)
            if desk.floor is Floor.LISTENING and unanswered(desk.mind.pairs):
                self._consider(desk)
        elif desk.reply is not None and desk.reply.utterance != desk.mind.following:
            self._fold(desk)
            desk.mind = replace(desk.mind, following=desk.reply.utterance, own=False)

    def _fold(self, desk: Desk) -> None:
        """The reply that was followed is over: put what was heard of it into the pairs."""
        mind: TdmMind = desk.mind
        if not mind.following:
            return
        heard = next((i.text for i in reversed(desk.history.items) if i.utterance == mind.following), "")
        if mind.own:
            pairs = as_heard(mind.pairs, heard, slices=mind.speaking_slices)
        else:
            pairs = extended(mind.pairs, heard, fresh=True) if heard else mind.pairs
        kept = newest(pairs, max(2 * self.config.max_pairs // 3, 1))
        desk.mind = replace(mind, following=0, own=False, speaking_slices=0, pairs=kept)
        if len(kept) < len(pairs):
            messages = self._messages(desk)
            desk.ask(lambda t: Prefill(ticket=t, messages=messages))


def _quiet(hearing: Hearing) -> bool:
    """The user is not speaking, and all they said has been read."""
    return not hearing.started or (hearing.settled and not hearing.active)

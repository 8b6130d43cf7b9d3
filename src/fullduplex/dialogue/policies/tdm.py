"""The time-division policy: every k seconds the brain reads a slice of the user and writes a slice of its own.

Source: "Beyond the Turn-Based Game" (2406.15718), section 3, and its released server. What differs, on purpose:
- the brain's cache is kept between slices (the released server reads the whole history again every slice);
- the history holds what was heard (the released one holds what was generated);
- a slice of new words stops the machine at the slice's end, on the server (there, in the browser).

A duplex model (`layout="pairs"`) decides itself, by writing <idle>. A chat model (`layout="merged"`) was never taught to:
for it, the end-of-message probability of the words so far decides between <idle> and an answer, and the answer is
suspended and continued slice by slice. That is a stand-in until a duplex model is in place, not the paper's model.
"""

from dataclasses import dataclass, replace

from fullduplex.base.chat import Message
from fullduplex.base.errors import InputError
from fullduplex.base.units import FRAME_S
from fullduplex.dialogue.branch import withdraw
from fullduplex.dialogue.delivery import stop
from fullduplex.dialogue.desk import Desk
from fullduplex.dialogue.events import ReplyStarted, ReplyText, UserSpeech, UserText
from fullduplex.dialogue.history import record_user
from fullduplex.dialogue.listening.hearing import end_turn
from fullduplex.dialogue.policies.slices import IDLE, SlicePair, compact, merged_messages, pair_messages
from fullduplex.dialogue.ports import EndScored, Failed, Generate, Generated, Result, ScoreEnd
from fullduplex.dialogue.speaking.playback import begin
from fullduplex.dialogue.speaking.reply import Reply, add_text
from fullduplex.dialogue.turns import Cue, Floor

__all__ = ["TdmConfig", "TdmMind", "TdmPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TdmConfig:
    """`slice_s`: the paper uses 2 s. `slice_tokens`: 10 in the paper's evaluation, 15 in its demo.

    `layout`: "pairs" for a duplex model, "merged" for a chat model. `finished`: end-of-message probability above which a
    chat model answers. `max_slices` bounds one answer, `max_pairs` the slices that are kept.
    """

    slice_s: float = 1.0
    slice_tokens: int = 15
    layout: str = "merged"
    finished: float = 0.3
    max_slices: int = 12
    max_pairs: int = 512

    def __post_init__(self) -> None:
        if not 0.32 <= self.slice_s <= 2.0:
            raise InputError(f"slice_s must be between 0.32 and 2 seconds, got {self.slice_s}")
        if self.layout not in ("pairs", "merged"):
            raise InputError(f"layout must be 'pairs' or 'merged', got {self.layout!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TdmMind:
    """`pairs` up to now (compacted); `used` words of the open turn that were put into slices; the slice in the making."""

    pairs: tuple[SlicePair, ...] = ()
    used: int = 0
    user_slice: str = ""
    machine_slice: str = ""
    ticket: int | None = None
    speaking_slices: int = 0
    slices: int = 0


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
            if finished:
                self._write(desk)
            else:
                self._end_slice(desk)
        elif isinstance(result, Failed):
            self._end_slice(desk)

    def step(self, desk: Desk, *, onset: bool) -> None:
        """Decide, once a slice."""
        if onset and desk.floor in (Floor.IDLE, Floor.THINKING):
            desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.hearing.onset_frame, active=True))
            if desk.floor is Floor.THINKING:
                self._silence(desk, "the user went on")
            desk.cue(Cue.ONSET)
        if (desk.frame + 1) % round(self.config.slice_s / FRAME_S) == 0:
            self._slice(desk)

    def react(self, desk: Desk) -> None:
        """Nothing is decided between slices."""

    def finish_turn(self, desk: Desk, *, answer: bool = False) -> None:
        """The user's turn ends here: the rest of it is a slice of its own, and finished."""
        self._read_words(desk)
        self._write(desk)

    def _slice(self, desk: Desk) -> None:
        desk.mind = replace(desk.mind, slices=desk.mind.slices + 1)
        had_words = self._read_words(desk)
        mind: TdmMind = desk.mind
        if had_words:
            if desk.reply is not None:
                self._silence(desk, "new words")
                if desk.floor in (Floor.SPEAKING, Floor.OVERLAP):
                    desk.cue(Cue.INTERRUPTED)
                elif desk.floor is Floor.THINKING:
                    desk.cue(Cue.ONSET)
            desk.cancel(mind.ticket)
            desk.mind = replace(desk.mind, ticket=None, machine_slice="")
            self._consider(desk)
        elif mind.ticket is None:
            self._go_on(desk)

    def _go_on(self, desk: Desk) -> None:
        """The user is silent in this slice: continue the answer, or reconsider whether they have finished."""
        reply, mind = desk.reply, desk.mind
        if reply is not None and not reply.text_done:
            self._write(desk)
        elif desk.floor is Floor.LISTENING and not desk.hearing.active:
            if mind.pairs and mind.pairs[-1].user:
                self._write(desk) if desk.hearing.silence_s >= 2 * self.config.slice_s else self._consider(desk)
            elif desk.hearing.silence_s >= self.config.slice_s:
                self._close_turn(desk)
                desk.cue(Cue.NOTHING)

    def _consider(self, desk: Desk) -> None:
        if self.config.layout == "pairs":
            self._write(desk)
            return
        messages = self._messages(desk)
        ticket = desk.ask(lambda t: ScoreEnd(ticket=t, messages=messages))
        desk.mind = replace(desk.mind, ticket=ticket)

    def _read_words(self, desk: Desk) -> bool:
        """Move the words that are new and sure into the user's slice; were there any?"""
        hearing, mind = desk.hearing, desk.mind
        text = hearing.transcript if hearing.settled else hearing.transcript[: hearing.stable_length]
        words = text.split()[mind.used :]
        user_slice = " ".join(words)
        pairs = (*mind.pairs, SlicePair(user_slice, ""))[-self.config.max_pairs :] if words else mind.pairs
        desk.mind = replace(mind, used=mind.used + len(words), user_slice=user_slice, pairs=pairs)
        if words:
            desk.history = record_user(desk.history, user_slice)
            desk.emit(UserText(turn=hearing.turn, text=text, stable=len(text), final=False))
        return bool(words)

    def _messages(self, desk: Desk) -> tuple[Message, ...]:
        mind: TdmMind = desk.mind
        if self.config.layout == "merged":
            return merged_messages(desk.history.system, mind.pairs, "")
        if mind.pairs and mind.pairs[-1].user and not mind.pairs[-1].machine:
            return pair_messages(desk.history.system, mind.pairs[:-1], mind.pairs[-1].user)
        return pair_messages(desk.history.system, mind.pairs, "")

    def _write(self, desk: Desk) -> None:
        """Ask for a slice of output."""
        mind: TdmMind = desk.mind
        messages = self._messages(desk)
        if messages[-1].role == "system":
            return
        sampling = replace(desk.config.sampling, max_tokens=self.config.slice_tokens)
        ticket = desk.ask(lambda t: Generate(ticket=t, messages=messages, sampling=sampling))
        desk.mind = replace(mind, ticket=ticket, machine_slice="")

    def _end_slice(self, desk: Desk) -> None:
        """The slice is complete: speak it, or stay idle."""
        mind: TdmMind = desk.mind
        text = mind.machine_slice.replace(IDLE, "").strip()
        idle = not text
        desk.mind = mind = replace(mind, ticket=None, machine_slice="", pairs=_extended(mind.pairs, text))
        if idle:
            if desk.reply is not None:
                desk.reply = add_text(desk.reply, "", desk.config.clauses, done=True)
            return
        if desk.reply is None:
            self._begin(desk)
        reply = desk.reply
        assert reply is not None
        speaking = desk.mind.speaking_slices + 1
        desk.mind = replace(desk.mind, speaking_slices=speaking)
        last = speaking >= self.config.max_slices
        desk.reply = grown = add_text(reply, text + " ", desk.config.clauses, done=last)
        for clause in grown.clauses[len(reply.clauses) :]:
            desk.emit(ReplyText(utterance=grown.utterance, text=clause.text))

    def _begin(self, desk: Desk) -> None:
        turn = desk.hearing.turn
        desk.reply = Reply(utterance=desk.new_utterance(), answers="", generate_ticket=None, committed=True)
        desk.playback = begin(desk.playback, desk.reply.utterance)
        desk.mind = replace(desk.mind, speaking_slices=0)
        desk.emit(UserText(turn=turn, text=desk.hearing.transcript, stable=0, final=True))
        desk.emit(ReplyStarted(utterance=desk.reply.utterance, turn=turn))
        self._close_turn(desk)
        if desk.floor is not Floor.SPEAKING:
            desk.cue(Cue.ENDED)

    def _close_turn(self, desk: Desk) -> None:
        desk.cancel(desk.reading)
        desk.reading = None
        desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.frame - desk.hearing.silence_frames, active=False))
        desk.hearing = end_turn(desk.hearing, desk.config.hearing, enrol=True)
        desk.mind = replace(desk.mind, used=0)

    def _silence(self, desk: Desk, cause: str) -> None:
        """Stop speaking; the pairs keep only what was heard."""
        reply = desk.reply
        if reply is None:
            return
        withdraw(desk, reply)
        stop(desk, cause)
        heard = next((i.text for i in reversed(desk.history.items) if i.utterance == reply.utterance), "")
        mind: TdmMind = desk.mind
        desk.cancel(mind.ticket)
        desk.mind = replace(mind, ticket=None, machine_slice="", pairs=_as_heard(mind.pairs, heard))


def _extended(pairs: tuple[SlicePair, ...], text: str) -> tuple[SlicePair, ...]:
    """The machine's slice joins the user's slice of the same time, or stands alone."""
    if pairs and pairs[-1].user and not pairs[-1].machine:
        return (*pairs[:-1], SlicePair(pairs[-1].user, text))
    return compact((*pairs, SlicePair("", text)))


def _as_heard(pairs: tuple[SlicePair, ...], heard: str) -> tuple[SlicePair, ...]:
    """Cut the machine's last answer down to the words that were heard.

    The answer is the run of machine slices at the end (a fresh user slice may follow it).
    """
    tail = pairs[-1:] if pairs and pairs[-1].user and not pairs[-1].machine else ()
    body = list(pairs[: len(pairs) - len(tail)])
    answer: list[SlicePair] = []
    while body and body[-1].machine:
        answer.insert(0, body.pop())
        if answer[0].user:
            break
    words = heard.split()
    kept: list[SlicePair] = []
    for pair in answer:
        count = len(pair.machine.split())
        kept.append(SlicePair(pair.user, " ".join(words[:count])))
        words = words[count:]
    return (*body, *compact(tuple(kept)), *tail)

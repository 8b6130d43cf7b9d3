"""The turn-taking policy: voice activity, fused end of turn, speculation, tolerance for back-channels and noise.

It is the cascade that every assistant has, done with care: it starts to answer in the first moment of a pause and keeps
or drops the answer; it falls silent at the first sound of the user and goes on if the sound was not meant for it.
"""

from dataclasses import dataclass, replace

from fullduplex.base.units import FRAME_S
from fullduplex.dialogue.branch import commit, fork, roll_back
from fullduplex.dialogue.delivery import hold_breath, resume, stop
from fullduplex.dialogue.desk import Desk
from fullduplex.dialogue.events import UserSpeech, UserText
from fullduplex.dialogue.history import History, begin_alike, messages_of, record_heard, record_user
from fullduplex.dialogue.listening.hearing import end_turn, heard_out, is_aside, turn_pcm
from fullduplex.dialogue.listening.transcript import same_words, words_of
from fullduplex.dialogue.policies.endpoint import EndpointConfig, EndpointEvidence, end_probability
from fullduplex.dialogue.policies.overlap import OverlapConfig, Verdict, judge_overlap
from fullduplex.dialogue.ports import EndJudged, EndScored, JudgeEnd, Prefill, Result, ScoreEnd
from fullduplex.dialogue.turns import Cue, Floor

__all__ = ["TurnsConfig", "TurnsMind", "TurnsPolicy"]

_JUDGE_SAMPLES = 8 * 16_000
_SENTENCE_ENDS = (".", "?", "!")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsConfig:
    """How the policy behaves.

    `nothing_s`: a sound without words is forgotten after this silence. `verdict_s`: how long into a pause the judges of
    sound and words are waited for; the sound is judged after the words, or at `judge_s`, unless the words alone make it
    `sure`. `guess_unread_frames`: how much of the end of the sound a reading may lack to be guessed on in a pause.
    `early`: words this likely to be complete are guessed on while they are still being spoken (1: never).
    `afterword_s`: a lone back-channel this soon after a reply that asked nothing wants no answer. `command_s`: silence
    after a bare "no, stop", which often goes on. `ends_turns` False: a turn ends only when it is committed from outside
    (push-to-talk). `answers` False: the end of a turn asks for no reply, `Respond` does. `read_wait_s`: how long a commit
    waits for the last words to be read.
    """

    endpoint: EndpointConfig = EndpointConfig()
    overlap: OverlapConfig = OverlapConfig()
    nothing_s: float = 0.7
    verdict_s: float = 0.8
    judge_s: float = 0.3
    sure: float = 0.7
    afterword_s: float = 2.5
    command_s: float = 0.6
    speculate: bool = True
    guess_unread_frames: int = 3
    early: float = 0.1
    ends_turns: bool = True
    answers: bool = True
    read_wait_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsMind:
    """What the policy remembers: the verdicts on the current pause, and the end of the last reply.

    `closing_frames` counts since the turn was committed from outside (0: it was not); `answer`: with a wish for a reply.
    `owed`: a sound cut short the thinking about an answer that is still due if the sound was nothing.
    """

    sound: float | None = None
    sound_ticket: int | None = None
    sound_asked: bool = False
    words: float | None = None
    words_ticket: int | None = None
    scored: str = ""
    prefill_ticket: int | None = None
    prefilled: int = 0
    prepared: str = ""
    reply_end_frame: int = -(10**9)
    reply_asked: bool = False
    closing_frames: int = 0
    answer: bool = False
    owed: bool = False


@dataclass(frozen=True, slots=True)
class TurnsPolicy:
    """See the module."""

    config: TurnsConfig = TurnsConfig()
    name: str = "turns"

    def init(self) -> TurnsMind:
        """Memory of a new conversation."""
        return TurnsMind()

    def take(self, desk: Desk, result: Result) -> None:
        """A result that belongs to the policy."""
        mind: TurnsMind = desk.mind
        if isinstance(result, EndJudged) and result.ticket == mind.sound_ticket:
            desk.mind = replace(mind, sound=result.probability, sound_ticket=None)
        elif isinstance(result, EndScored) and result.ticket == mind.words_ticket:
            desk.mind = replace(mind, words=result.probability, words_ticket=None)
        elif result.ticket == mind.prefill_ticket:
            desk.mind = replace(mind, prefill_ticket=None)

    def step(self, desk: Desk, *, onset: bool) -> None:
        """Decide, one frame later."""
        if onset:
            self._onset(desk)
        if desk.mind.closing_frames:
            desk.mind = replace(desk.mind, closing_frames=desk.mind.closing_frames + 1)
        self.react(desk)

    def react(self, desk: Desk) -> None:
        """Decide on what is known now."""
        if desk.floor is Floor.OVERLAP:
            self._overlap(desk)
        if desk.floor is Floor.LISTENING:
            self._listen(desk)
        elif desk.floor is Floor.IDLE:
            self._prepare(desk, desk.history)
        elif desk.floor is Floor.SPEAKING and desk.reply is not None and desk.reply.text_done:
            self._prepare(desk, record_heard(desk.history, desk.reply.utterance, desk.reply.text, complete=True))
        if desk.floor in (Floor.SPEAKING, Floor.OVERLAP) and desk.reply is not None:
            desk.mind = replace(
                desk.mind, reply_end_frame=desk.frame, reply_asked=desk.reply.text.rstrip().endswith("?")
            )

    def finish_turn(self, desk: Desk, *, answer: bool = False) -> None:
        """The turn is committed from outside; it ends once its last words have been read."""
        mind: TurnsMind = desk.mind
        desk.mind = replace(mind, closing_frames=max(mind.closing_frames, 1), answer=mind.answer or answer)
        self._close(desk)

    def forget_turn(self, desk: Desk) -> None:
        """The verdicts on a turn that was dropped say nothing about the next one."""
        self._reset(desk)

    def typed(self, desk: Desk, text: str, *, respond: bool) -> None:
        """The history has it; nothing else is remembered."""

    def _close(self, desk: Desk) -> None:
        mind: TurnsMind = desk.mind
        if desk.hearing.settled or mind.closing_frames * FRAME_S > self.config.read_wait_s:
            self._finish(desk, answer=mind.answer)

    def _finish(self, desk: Desk, *, answer: bool) -> None:
        """The user has finished: answer, or find that nothing was said."""
        hearing = desk.hearing
        text = hearing.transcript
        lexicon = self.config.overlap.lexicon
        unasked = not desk.mind.closing_frames
        if lexicon.is_phantom(text) or (unasked and self._is_afterword(desk, text)):
            self._forget(desk, answer=answer)
            return
        desk.emit(UserSpeech(turn=hearing.turn, frame=desk.frame - hearing.silence_frames, active=False))
        desk.emit(UserText(turn=hearing.turn, text=text, stable=len(text), final=True))
        if answer or self.config.answers:
            commit(desk, text, hearing.turn)
            desk.cue(Cue.ENDED)
        else:
            roll_back(desk)
            desk.history = record_user(desk.history, text)
            desk.cue(Cue.NOTHING, "no answer is wanted yet")
        self._end_turn(desk, enrol=True)

    def _is_afterword(self, desk: Desk, text: str) -> bool:
        mind: TurnsMind = desk.mind
        if mind.owed and self.config.overlap.lexicon.is_backchannel(text):
            return True  # said while the machine was thinking about its answer
        soon = (desk.hearing.onset_frame - mind.reply_end_frame) * FRAME_S <= self.config.afterword_s
        return soon and not mind.reply_asked and self.config.overlap.lexicon.is_backchannel(text)

    def _forget(self, desk: Desk, *, answer: bool = False) -> None:
        """Nothing was said. An answer that the sound cut off before it was audible is given after all."""
        due = answer or desk.mind.owed
        roll_back(desk)
        desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.frame - desk.hearing.silence_frames, active=False))
        self._end_turn(desk, enrol=False)
        desk.cue(Cue.NOTHING)
        if due:
            commit(desk, "", desk.hearing.turn)
            desk.cue(Cue.ENDED)

    def _end_turn(self, desk: Desk, *, enrol: bool, aside: bool = False) -> None:
        desk.cancel(desk.reading)
        desk.reading = None
        self._reset(desk)
        desk.hearing = end_turn(desk.hearing, desk.config.hearing, enrol=enrol, aside=aside)

    def _reset(self, desk: Desk) -> None:
        self._clear_verdicts(desk)
        desk.cancel(desk.mind.prefill_ticket)
        desk.mind = replace(desk.mind, prefill_ticket=None, prefilled=0, closing_frames=0, answer=False, owed=False)

    def _clear_verdicts(self, desk: Desk) -> None:
        mind: TurnsMind = desk.mind
        desk.cancel(mind.sound_ticket)
        desk.cancel(mind.words_ticket)
        desk.mind = replace(
            mind, sound=None, sound_ticket=None, sound_asked=False, words=None, words_ticket=None, scored=""
        )

    def _onset(self, desk: Desk) -> None:
        hearing = desk.hearing
        if desk.floor is Floor.LISTENING:  # the user goes on after a pause
            roll_back(desk)
            self._clear_verdicts(desk)
            return
        if desk.floor in (Floor.IDLE, Floor.THINKING, Floor.SPEAKING):
            desk.emit(UserSpeech(turn=hearing.turn, frame=hearing.onset_frame, active=True))
            if desk.floor is Floor.THINKING:
                stop(desk, "the user went on")
                desk.mind = replace(desk.mind, owed=True)
            elif desk.floor is Floor.SPEAKING:
                hold_breath(desk)
            desk.cue(Cue.ONSET)

    def _overlap(self, desk: Desk) -> None:
        aside = is_aside(desk.hearing, desk.config.hearing)
        verdict = judge_overlap(
            desk.hearing,
            self.config.overlap,
            machine_asked=self._asked_so_far(desk),
            aside=aside,
            heard_out=heard_out(desk.hearing, desk.config.hearing),
        )
        if verdict is Verdict.INTERRUPT:
            stop(desk, f"interrupted: {desk.hearing.transcript}")
            desk.cue(Cue.INTERRUPTED)
        elif verdict is Verdict.IGNORE and not desk.playback.flushing:
            cause = "somebody else" if aside else desk.hearing.transcript or "no words"
            desk.emit(UserSpeech(turn=desk.hearing.turn, frame=desk.frame, active=False))
            self._end_turn(desk, enrol=False, aside=bool(aside))
            resume(desk, cause)
            desk.cue(Cue.FALSE_ALARM, cause)

    def _asked_so_far(self, desk: Desk) -> bool:
        reply = desk.reply
        if reply is None or desk.playback.heard < 0.9 * reply.available_samples:
            return False
        return reply.text.rstrip().endswith("?")

    def _listen(self, desk: Desk) -> None:
        hearing, pause_frames = desk.hearing, desk.config.hearing.pause_frames
        if desk.mind.closing_frames:
            self._close(desk)
            return
        if hearing.silence_frames < pause_frames:
            if self.config.speculate and self.config.answers and self.config.early < 1.0:
                self._guess_early(desk)
            else:
                self._read_ahead(desk)
            return
        # The last reading may lack two or three frames of the voice's decay: its words are good enough to guess on, and
        # the guess stays if the final reading finds the same words.
        unread = len(hearing.frames) - hearing.silence_frames - hearing.read_frames
        read = unread <= self.config.guess_unread_frames
        if read:
            self._guess(desk, hearing.transcript)
        self._judge_sound(desk, read=read)
        if hearing.settled:
            self._maybe_finish(desk)

    def _judge_sound(self, desk: Desk, *, read: bool) -> None:
        """Once a pause, and only if the words alone do not settle it: judging sound costs as much as speaking a clause.

        `read`: the words known are those that the pause ended; a verdict on earlier ones settles nothing.
        """
        hearing, mind = desk.hearing, desk.mind
        waiting = mind.words_ticket is not None or not mind.scored or not read
        if mind.sound_asked or (waiting and hearing.silence_s < self.config.judge_s):
            return
        if mind.words is not None and self._finished(desk, silence_s=0.2) >= self.config.sure:
            desk.mind = replace(mind, sound_asked=True)
            return
        pcm = turn_pcm(hearing)[-_JUDGE_SAMPLES:]
        ticket = desk.ask(lambda t: JudgeEnd(ticket=t, pcm=pcm))
        desk.mind = replace(desk.mind, sound=None, sound_ticket=ticket, sound_asked=True)

    def _guess(self, desk: Desk, text: str) -> None:
        if not words_of(text):
            return
        if not same_words(text, desk.mind.scored):
            self._score(desk, text)
        if self._may_guess(text):
            fork(desk, text)

    def _may_guess(self, text: str) -> bool:
        return self.config.speculate and self.config.answers and not self.config.overlap.lexicon.is_phantom(text)

    def _guess_early(self, desk: Desk) -> None:
        """The user is still speaking: begin an answer when the words read so far may be all.

        To score the words is to read them, so this also is the brain's reading ahead. What the next reading changes
        costs reading those words again; an answer to words that were not all is dropped.
        """
        text = desk.hearing.transcript
        if not words_of(text) or desk.degraded_frames > 0:
            return
        if not same_words(text, desk.mind.scored):
            roll_back(desk)
            self._score(desk, text)
        elif (desk.mind.words or 0.0) >= self.config.early and self._may_guess(text):
            fork(desk, text)

    def _maybe_finish(self, desk: Desk) -> None:
        hearing, mind = desk.hearing, desk.mind
        text = hearing.transcript
        if not words_of(text):
            if hearing.silence_s >= self.config.nothing_s:
                self._forget(desk)
            return
        if not self.config.ends_turns:
            return
        if hearing.silence_s < self.config.command_s and self.config.overlap.lexicon.is_bare_command(text):
            return
        waiting = not mind.sound_asked or mind.sound_ticket or mind.words_ticket
        if waiting and hearing.silence_s < self.config.verdict_s:
            return
        if self._finished(desk, silence_s=hearing.silence_s) >= self.config.endpoint.threshold:
            self._finish(desk, answer=False)

    def _finished(self, desk: Desk, *, silence_s: float) -> float:
        """P(the user has finished) after `silence_s` of silence, on what the judges have said so far."""
        evidence = EndpointEvidence(
            sound=desk.mind.sound,
            words=desk.mind.words,
            silence_s=silence_s,
            punctuated=desk.hearing.transcript.rstrip().endswith(_SENTENCE_ENDS),
        )
        return end_probability(evidence, self.config.endpoint)

    def _score(self, desk: Desk, text: str) -> None:
        mind: TurnsMind = desk.mind
        desk.cancel(mind.words_ticket)
        desk.cancel(mind.prefill_ticket)
        messages = desk.prompt(text.rstrip(" .?!,"))
        ahead = desk.prompt(text) if self._will_guess(desk, text) else ()
        ticket = desk.ask(lambda t: ScoreEnd(ticket=t, messages=messages, ahead=ahead))
        # Words that have changed void a verdict that was left out because the old words were sure.
        judged = mind.sound is not None or mind.sound_ticket is not None
        desk.mind = replace(mind, words=None, words_ticket=ticket, scored=text, prefill_ticket=None, sound_asked=judged)

    def _will_guess(self, desk: Desk, text: str) -> bool:
        """Whether `text` is about to be answered: in a pause, or where the recogniser heard a sentence end."""
        pause = desk.hearing.silence_frames >= desk.config.hearing.pause_frames
        return self._may_guess(text) and (pause or text.rstrip().endswith(_SENTENCE_ENDS))

    def _prepare(self, desk: Desk, history: History) -> None:
        """The brain has nothing to do: let it read the conversation as it will have been heard when the user speaks.

        Not where that would make it forget: a user who breaks in has heard less, and all would have to be read again.
        """
        mind: TurnsMind = desk.mind
        known = history.items[-1].text if history.items else history.system
        if mind.prefill_ticket is not None or mind.prepared == known or not begin_alike(history, desk.history):
            return
        messages = messages_of(history)
        if messages:
            ticket = desk.ask(lambda t: Prefill(ticket=t, messages=messages))
            desk.mind = replace(mind, prefill_ticket=ticket, prepared=known)

    def _read_ahead(self, desk: Desk) -> None:
        """Let the brain read while the user is still speaking: every word but the last, which may be half heard.

        A word that changes later costs reading it again; a brain that has read too little costs the user's time.
        """
        text = desk.hearing.transcript
        length = max(desk.hearing.stable_length, text.rstrip().rfind(" ") + 1)
        mind: TurnsMind = desk.mind
        if mind.prefill_ticket is not None or length <= mind.prefilled or desk.degraded_frames > 0:
            return
        messages = desk.prompt(text[:length].rstrip() + " ")
        ticket = desk.ask(lambda t: Prefill(ticket=t, messages=messages))
        desk.mind = replace(mind, prefill_ticket=ticket, prefilled=length)

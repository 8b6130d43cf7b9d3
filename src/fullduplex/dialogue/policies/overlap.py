"""Was that an interruption? The user made a sound while the machine spoke.

The machine has already fallen silent; what is decided here is whether it goes on or gives up the floor. Evidence is the
transcript so far, how long the user has spoken, and whether they have stopped again. No verdict is a verdict too: wait.
"""

from dataclasses import dataclass
from enum import Enum

from fullduplex.dialogue.listening.hearing import Hearing
from fullduplex.dialogue.listening.transcript import DEFAULT_LEXICON, Lexicon

__all__ = ["OverlapConfig", "Verdict", "judge_overlap"]


class Verdict(Enum):
    """What to do about a sound."""

    WAIT = "wait"
    INTERRUPT = "interrupt"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapConfig:
    """How much evidence it takes.

    While the user still speaks: a stop word, or `min_words` content words that two readings agree on and `min_speech_s` of
    speech, take the floor. Waiting costs nothing that can be heard: the machine is silent already.
    After a pause of `pause_s`: content words take it if they took longer than `short_s` to say or hold a stop word or a
    question word; anything shorter is a back-channel that the recogniser misheard ("mm-hm" comes out as "meow"), or a first
    word that it misheard ("Actually, …"), so the machine goes on only after `unsure_pause_s`.
    A sound without words is noise after `wordless_s` of silence. Whoever speaks for `long_speech_s` wants the floor.
    """

    min_words: int = 2
    min_speech_s: float = 0.9
    short_s: float = 0.8
    pause_s: float = 0.19
    unsure_pause_s: float = 0.35
    wordless_s: float = 0.22
    long_speech_s: float = 2.2
    lexicon: Lexicon = DEFAULT_LEXICON


def judge_overlap(
    hearing: Hearing,
    config: OverlapConfig,
    *,
    machine_asked: bool,
    heard_out: bool,
    aside: bool | None = False,
) -> Verdict:
    """The verdict on a sound so far.

    `machine_asked`: the reply ends in a question ("yes" answers it). `aside`: it is not this user who speaks (None: perhaps).
    `heard_out`: the transcript is the reading of a sound that had ended; the floor is not kept on less.
    """
    if aside is not False:
        return Verdict.IGNORE if aside else Verdict.WAIT
    text = hearing.transcript
    lexicon = config.lexicon
    if lexicon.is_phantom(text):
        return _without_words(hearing, config, heard_out=heard_out)
    if lexicon.takes_floor(text):
        return Verdict.INTERRUPT
    words = lexicon.content_words(text)
    agreed = lexicon.content_words(text[: hearing.stable_length])
    if len(agreed) >= config.min_words and hearing.speech_s >= config.min_speech_s:
        return Verdict.INTERRUPT
    if heard_out and hearing.silence_s >= config.pause_s:
        if machine_asked or (words and hearing.speech_s > config.short_s):
            return Verdict.INTERRUPT
        return Verdict.WAIT if words and hearing.silence_s < config.unsure_pause_s else Verdict.IGNORE
    return Verdict.INTERRUPT if words and hearing.speech_s >= config.long_speech_s else Verdict.WAIT


def _without_words(hearing: Hearing, config: OverlapConfig, *, heard_out: bool) -> Verdict:
    ended = hearing.silence_s >= config.wordless_s and (heard_out or hearing.speech_s < 0.1)
    return Verdict.IGNORE if ended or hearing.speech_s >= 2 * config.long_speech_s else Verdict.WAIT

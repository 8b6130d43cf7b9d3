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
    """`min_words` content words while still speaking take the floor; after a pause of `pause_s` one is enough.

    A sound that stays without any word for `wordless_s` of silence was noise. Someone who speaks for `long_speech_s`
    wants the floor whatever the recogniser makes of it.
    """

    min_words: int = 2
    pause_s: float = 0.19
    wordless_s: float = 0.22
    long_speech_s: float = 2.2
    lexicon: Lexicon = DEFAULT_LEXICON


def judge_overlap(hearing: Hearing, config: OverlapConfig, *, machine_asked: bool) -> Verdict:
    """The verdict on the user's sound so far. `machine_asked`: the reply ends in a question ("yes" answers it)."""
    text = hearing.transcript
    lexicon = config.lexicon
    words = lexicon.content_words(text)
    if not lexicon.is_phantom(text):
        if lexicon.stop_word(text) is not None or len(words) >= config.min_words:
            return Verdict.INTERRUPT
        ended = hearing.settled and hearing.silence_s >= config.pause_s
        if ended and (words or machine_asked):
            return Verdict.INTERRUPT
        if ended:
            return Verdict.IGNORE
    elif hearing.silence_s >= config.wordless_s and (hearing.settled or hearing.speech_s < 0.1):
        return Verdict.IGNORE
    if hearing.speech_s >= config.long_speech_s and words:
        return Verdict.INTERRUPT
    if hearing.speech_s >= 2 * config.long_speech_s:
        return Verdict.INTERRUPT if words else Verdict.IGNORE
    return Verdict.WAIT

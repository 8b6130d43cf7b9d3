"""Words of a live transcript: what is stable, what is a back-channel, what is only noise.

The lists are short, English and deliberate; pass your own `Lexicon` for another language.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["DEFAULT_LEXICON", "Lexicon", "agreed_prefix", "same_words", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*", re.UNICODE)


@lru_cache(
    maxsize=32
)  # asked of the same transcript in every frame; after an hour without a break it has 40 000 characters
def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words without punctuation; inner apostrophes and hyphens stay ("mm-hm", "don't")."""
    return tuple(match.group().lower().replace("’", "'") for match in _WORD.finditer(text))


_FILLED_PAUSES = frozenset({"uh", "um", "uhm", "ah", "er", "erm", "eh", "hm", "hmm"})


def same_words(a: str, b: str) -> bool:
    """Do two transcripts hold the same words? Case, punctuation and filled pauses beside words do not count."""
    first, second = words_of(a), words_of(b)
    return first == second or _said(first) == _said(second) != ()


def _said(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _FILLED_PAUSES)


def agreed_prefix(previous: str, current: str) -> int:
    """Length in characters of the part of `current` whose words `previous` had too (LocalAgreement-2).

    A recogniser that re-reads a growing utterance changes its mind about the last words; a word that two readings in a
    row agree on rarely changes (Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System").
    """
    end = 0
    for old, match in zip(words_of(previous), _WORD.finditer(current), strict=False):
        if match.group().lower().replace("’", "'") != old:
            break
        end = match.end()
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Words that matter for turn taking.

    `backchannels`: words and phrases said without wanting the floor. `stops`: commands and
    question words, one of which alone takes the floor. `commands`: those after which people often say what they want
    instead. `phantoms`: what recognisers write for coughs, breath and noise.
    """

    backchannels: frozenset[str]
    stops: frozenset[str]
    phantoms: frozenset[str]
    commands: frozenset[str] = frozenset()

    def is_bare_command(self, text: str) -> bool:
        """Only commands, and at least one: "No, stop." may go on with "that is not what I meant"."""
        words = words_of(text)
        return bool(words) and all(word in self.commands for word in words)

    def content_words(self, text: str) -> tuple[str, ...]:
        """Words that belong to no back-channel; the longest phrase wins."""
        words = words_of(text)
        longest = max((phrase.count(" ") + 1 for phrase in self.backchannels), default=0)
        content: list[str] = []
        at = 0
        while at < len(words):
            for size in range(min(longest, len(words) - at), 0, -1):
                if " ".join(words[at : at + size]) in self.backchannels:
                    at += size
                    break
            else:
                content.append(words[at])
                at += 1
        return tuple(content)

    def is_backchannel(self, text: str) -> bool:
        """Only back-channels, and at least one."""
        return bool(words_of(text)) and not self.content_words(text)

    def is_phantom(self, text: str) -> bool:
        """Nothing that anyone meant to say."""
        words = words_of(text)
        return not words or " ".join(words) in self.phantoms

    def takes_floor(self, text: str) -> bool:
        """Does it hold a word that takes the floor by itself?"""
        return any(word in self.stops for word in words_of(text))


DEFAULT_LEXICON = Lexicon(
    backchannels=frozenset(
        "mm mmm mhm mm-hm mm-hmm mhmm m-hm hm hmm hmmm uh-huh uhuh huh uh um ah oh ooh aha yeah yep yes yup ya right "
        "okay ok sure true cool wow nice great good exactly absolutely definitely indeed gotcha alright really "
        "interesting mm-mm m-hmm mhm-hmm aah".split()
    )
    | {"i see", "got it", "of course", "makes sense", "that's right", "that's true", "all right", "go on", "mm hm"}
    | {"uh huh", "mm hmm", "m hm", "i know", "oh i see", "that makes sense", "sounds good", "no kidding", "i got it"},
    stops=frozenset(
        "stop wait no nope hold pause quiet enough sorry actually excuse hey hang shush shh cancel "
        "what why who where when how which pardon repeat louder slower help".split()
    ),
    commands=frozenset("stop wait no nope pause quiet enough sorry actually hey shush shh cancel".split()),
    phantoms=frozenset(
        "you thanks bye ha a the ugh oof pfft tsk s h k t hmph ahem he eh er i and so but it this".split()
    )
    | {"thank you", "thank you very much"},
)

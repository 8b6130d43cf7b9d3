"""Did the system take the turn? The rule of Full-Duplex-Bench v1, as printed and as released.

Printed (2503.04721): silence or a back-channel (shorter than 1 s and fewer than two words) takes nothing; anything else
takes the turn. Released: up to *three* words in less than 1 s take nothing.
"""

from collections.abc import Sequence

from fullduplex.evaluate.fdb.items import Mode
from fullduplex.evaluate.timing.spans import Span, Word

__all__ = ["FREE_WORDS", "extent", "first_start_s", "takes_turn", "words_from", "words_within"]

FREE_WORDS: dict[Mode, int] = {"paper": 1, "code": 3}
_SHORT_S = 1.0


def _end_s(word: Word) -> float | None:
    return word.start_s if word.end_s is None else word.end_s


def extent(words: Sequence[Word]) -> Span | None:
    """From the start of the first word to the end of the last; an unknown end is taken as the word's start.

    Words without a start are passed over; None when no word has one. In order of time, as recognisers write them.
    """
    timed = [word for word in words if word.start_s is not None]
    if not timed or timed[0].start_s is None:
        return None
    end_s = _end_s(timed[-1])
    return timed[0].start_s, end_s if end_s is not None else timed[0].start_s


def first_start_s(words: Sequence[Word]) -> float | None:
    """When the first word with a known start began."""
    return next((word.start_s for word in words if word.start_s is not None), None)


def takes_turn(words: Sequence[Word], mode: Mode) -> bool:
    """The takeover rule.

    Words whose times are all unknown are judged by their number alone: they take up no time.
    """
    if not words:
        return False
    span = extent(words)
    length_s = span[1] - span[0] if span else 0.0
    return not (length_s < _SHORT_S and len(words) <= FREE_WORDS[mode])


def words_within(words: Sequence[Word], judged: Span | None) -> tuple[Word, ...]:
    """Words that begin inside `judged`; those of unknown start are kept."""
    if judged is None:
        return tuple(words)
    return tuple(word for word in words if word.start_s is None or judged[0] <= word.start_s < judged[1])


def words_from(words: Sequence[Word], at_s: float, mode: Mode) -> tuple[Word, ...]:
    """Words after an interruption that ended at `at_s`.

    The released pipeline recognises only the sound after that moment: a word under way is heard from there on ("code").
    As printed, the answer's first word begins after it ("paper").
    """
    if mode == "paper":
        return tuple(word for word in words if word.start_s is None or word.start_s >= at_s)
    kept: list[Word] = []
    for word in words:
        end_s = _end_s(word)
        if word.start_s is None or end_s is None or word.start_s >= at_s:
            kept.append(word)
        elif end_s > at_s:
            kept.append(Word(word.text, at_s, word.end_s))
    return tuple(kept)

"""Text to phonemes, word by word: the lexicon's symbols, or the espeak-style IPA that Piper voices were trained on."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fullduplex.speech.english.words import SpokenWord, spoken

__all__ = ["PhonemisedWord", "Phonemiser", "espeak_ipa", "phonemise"]


class Phonemiser(Protocol):
    """Says how a word is said; `Lexicon` is one."""

    def pronounce(self, word: str, before: str = "", after: str = "") -> str:
        """Symbols for `word` between `before` and `after`."""
        ...


@dataclass(frozen=True, slots=True)
class PhonemisedWord:
    """A written word, how it is said ("" when it is silent; spaces part the spoken words), the pause mark after it."""

    text: str
    phonemes: str
    pause: str


def phonemise(
    text: str, lexicon: Phonemiser, convert: Callable[[str, str], str] | None = None
) -> tuple[PhonemisedWord, ...]:
    """Every written word of `text` with its phonemes.

    Args:
        text: any Unicode.
        lexicon: pronounces single words.
        convert: from the lexicon's symbols (and the spelling) to the voice's, such as `espeak_ipa`; None keeps them.

    Returns: one item a written word, silent ones included, so that the words of the text can be counted.
    """
    items = spoken(text)
    flat = [(index, word) for index, item in enumerate(items) for word in item.words]
    said: list[list[str]] = [[] for _ in items]
    for position, (index, word) in enumerate(flat):
        before = flat[position - 1][1] if position and not items[flat[position - 1][0]].pause else ""
        after = flat[position + 1][1] if position + 1 < len(flat) else ""
        symbols = lexicon.pronounce(word, before, after)
        if symbols:
            said[index].append(convert(symbols, word) if convert else symbols)
    return tuple(_join(item, parts) for item, parts in zip(items, said, strict=True))


def _join(item: SpokenWord, parts: list[str]) -> PhonemisedWord:
    return PhonemisedWord(item.text, " ".join(parts), item.pause)


_DIPHTHONGS = {
    "A": "eɪ",
    "I": "aɪ",
    "W": "aʊ",
    "O": "oʊ",
    "Y": "ɔɪ",
    "Q": "oʊ",
    "ʤ": "dʒ",
    "ʧ": "tʃ",
    "T": "ɾ",
    "ᵊ": "ə",
}
_VOWEL = "aeiouæɐɑɒɔəɚɛɜɪʊʌᵻAIWOYQᵊ"


def espeak_ipa(symbols: str, word: str = "") -> str:
    """The lexicon's symbols as espeak-ng writes en-us: long vowels marked, r-coloured vowels as one sign.

    Facts about the notation: tˈɜːn (turn), bˈɛɾɚ (better), ɐbˈaʊt (about), sˈiː (see) but sˈɪɾi (city).
    """
    single = sum(symbols.count(vowel) for vowel in _VOWEL) == 1
    text = symbols
    text = re.sub(rf"ɜɹ(?=[ˈˌ]?[{_VOWEL}])", "ɜːɹ", text)
    text = re.sub(r"ɜɹ", "ɜː", text)
    text = re.sub(rf"[əᵊ]ɹ(?=[ˈˌ]?[{_VOWEL}])", "ɚɹ", text)
    text = re.sub(r"[əᵊ]ɹ", "ɚ", text)
    text = re.sub(r"([ɑɔu])(?!ː)", r"\1ː", text)
    text = re.sub(r"([ˈˌ])i(?!ː)", r"\1iː", text)
    if single:
        text = re.sub(r"i(?!ː)", "iː", text)
    if word[:1].lower() == "a" and text.startswith("ə"):
        text = "ɐ" + text[1:]
    return "".join(_DIPHTHONGS.get(symbol, symbol) for symbol in text)

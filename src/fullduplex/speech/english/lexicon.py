"""How English words are said: two dictionaries, suffix rules, letter names, and a guess for the rest.

The dictionaries are misaki's `us_gold.json` and `us_silver.json` (Apache-2.0 data). A gold entry may depend on the part
of speech; which one is meant is judged from the word before ("to use" and "the use").
"""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

from fullduplex.base.errors import AssetError
from fullduplex.speech.onnx.session import require_file

__all__ = ["Lexicon"]

Entry = str | dict[str, str | None]

_BEFORE_VERB = frozenset(
    "to i you we they will would can could should must might may don't didn't doesn't won't can't please let's not "
    "i'll you'll we'll they'll who and".split()
)
_BEFORE_NOUN = frozenset("a an the my your his her its our their this that some any no each every of".split())
_HAVE = frozenset("have has had i've you've we've they've having been was were is are be".split())
_VOICELESS = "ptkfθ"
_SIBILANT = "szʃʒʧʤ"

# Weak forms that the dictionaries lack, as an unstressed word is said.
_WEAK = {"a": "ə", "an": "ən", "the": "ðə", "to": "tə", "i": "I"}


class Lexicon:
    """Pronunciations in the dictionaries' symbols. Files are read at the first word; `load` reads them now."""

    def __init__(self, gold_path: Path | str, silver_path: Path | str, guess: Callable[[str], str]) -> None:
        """`guess`: pronounces a word (a to z) that nothing else covers. Raises: AssetError when a file is absent."""
        self._paths = (require_file(silver_path), require_file(gold_path))
        self._entries: dict[str, Entry] = {}
        self._guess = guess

    def load(self) -> None:
        """Read the dictionaries (0.1 s). Raises: AssetError for a damaged file."""
        if self._entries:
            return
        entries: dict[str, Entry] = {}
        for path in self._paths:  # gold comes second and wins
            try:
                entries.update(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise AssetError(f"{path} is no pronunciation dictionary ({error}); fetch it again") from error
        self._entries = entries

    def pronounce(self, word: str, before: str = "", after: str = "") -> str:
        """Symbols for one word.

        Args:
            word: letters, with apostrophes; case matters ("A" is the letter, "a" the article; "AI" is spelled).
            before, after: the words around it, "" at an end.

        Returns: IPA with the letters A I O W Y ʤ ʧ for diphthongs and affricates; "" when nothing can be said.
        """
        self.load()
        lowered = word.lower()
        # A single capital is a letter, but for "I" and the "A" that begins a sentence.
        article = word == "A" and not before and len(after) > 1
        if word == "I" or article or word in _WEAK or (lowered in _WEAK and len(word) > 1):
            return self._weak(lowered, after)
        for form in _forms(word):
            if said := self._entry(form, before):
                return said
        if said := self._stem(lowered, before):
            return said
        return self._unknown(word)

    def _weak(self, word: str, after: str) -> str:
        vowel_next = after[:1].lower() in "aeiou" and bool(after)
        if vowel_next and after.lower() not in ("one", "once", "use", "used", "you", "your", "university", "unit"):
            return {"the": "ði", "to": "tʊ"}.get(word, _WEAK[word])
        return _WEAK[word]

    def _entry(self, form: str, before: str) -> str:
        entry = self._entries.get(form)
        if not isinstance(entry, dict):
            return entry or ""
        context = before.lower()
        tags: tuple[str, ...] = ()
        if context in _HAVE:
            tags = ("VBN", "VBD", "ADJ")
        elif context in _BEFORE_VERB:
            tags = ("VERB", "VBP") if "VBD" not in entry else ()
        elif context in _BEFORE_NOUN:
            tags = ("NOUN",)
        return next((said for tag in tags if (said := entry.get(tag))), None) or entry.get("DEFAULT") or ""

    def _stem(self, word: str, before: str) -> str:
        """A known word with 's, s, es, ed, ing, ly, er or est."""
        for suffix, attach in _SUFFIXES:
            if not word.endswith(suffix) or len(word) < len(suffix) + 2:
                continue
            base = word[: -len(suffix)]
            spellings = [base]
            if suffix not in ("'s", "s'", "'", "s", "ly"):
                spellings.append(base + "e")
                if len(base) > 2 and base[-1] == base[-2]:
                    spellings.append(base[:-1])
            if base.endswith("i"):
                spellings.insert(0, base[:-1] + "y")
            for spelling in spellings:
                if said := next((found for form in _forms(spelling) if (found := self._entry(form, before))), ""):
                    return attach(said)
        return ""

    def _unknown(self, word: str) -> str:
        ascii_word = "".join(c for c in unicodedata.normalize("NFKD", word) if c.isascii() and c.isalpha())
        if not ascii_word:
            return ""
        if ascii_word != word and (said := self._entry(ascii_word.lower(), "")):
            return said  # café
        has_vowel = any(c in "aeiouyAEIOUY" for c in ascii_word)
        if (ascii_word.isupper() and len(ascii_word) <= 5) or not has_vowel or len(ascii_word) == 1:
            return self._letters(ascii_word[:12])
        return self._guess(ascii_word[:32])

    def _letters(self, word: str) -> str:
        """Letter by letter; the last one carries the stress."""
        names = [self._entry(letter, "") for letter in word.upper()]
        return "".join([*(name.replace("ˈ", "ˌ") for name in names[:-1]), names[-1]])


def _forms(word: str) -> tuple[str, ...]:
    """The spellings under which a word may be listed. A capital may only mean the start of a sentence."""
    lowered = word.lower()
    if word.isupper():
        return (word, lowered, word.capitalize())
    return (word, lowered, word.capitalize()) if word.islower() else (lowered, word, word.capitalize())


def _add_s(said: str) -> str:
    if said[-1] in _SIBILANT:
        return said + "ᵻz"
    return said + ("s" if said[-1] in _VOICELESS else "z")


def _add_ed(said: str) -> str:
    if said[-1] in "td":
        return said + "ᵻd"
    return said + (
        "t" if said[-1] in _VOICELESS + _SIBILANT.replace("z", "").replace("ʒ", "").replace("ʤ", "") else "d"
    )


def _add(ending: str) -> Callable[[str], str]:
    return lambda said: said + ending


_SUFFIXES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("'s", _add_s),
    ("s'", _add_s),
    ("'", _add("")),
    ("es", _add_s),
    ("s", _add_s),
    ("ed", _add_ed),
    ("ing", _add("ɪŋ")),
    ("ly", _add("li")),
    ("er", _add("əɹ")),
    ("est", _add("əst")),
    ("'ll", _add("əl")),
    ("'d", _add("d")),
    ("'ve", _add("əv")),
    ("'re", _add("əɹ")),
)

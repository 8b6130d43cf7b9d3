"""Messages cut into slices: four to six words of the user, ten tokens of the machine (2406.15718 section 3).

How long each user slice is, is drawn evenly; the paper says "randomly 4-6 words". The machine's slices joined without
anything between them give its message back to the character; the user's joined with blanks give back its words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from fullduplex.base.errors import AssetError, InputError, MissingExtraError

__all__ = ["CutConfig", "Pieces", "answer_slices", "rough_pieces", "tokenizer_pieces", "user_slices"]

# Cuts a text into tokens that give it back when joined.
Pieces = Callable[[str], list[str]]

# Without a model's tokenizer: a blank belongs to the word after it, long words and numbers count as several tokens. On
# English chat this gives within a few per cent as many tokens as byte-pair vocabularies of 50 000.
_ROUGH = re.compile(r"\s?[^\W\d_]{1,8}|\s?\d{1,3}|\s?[^\w\s]|\s+|_")


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig:
    """Words of a user slice (even draw from low to high), tokens of a machine slice."""

    user_words: tuple[int, int] = (4, 6)
    answer_tokens: int = 10

    def __post_init__(self) -> None:
        low, high = self.user_words
        if not 1 <= low <= high:
            raise InputError(f"user_words is ({low}, {high}); expected 1 <= low <= high")
        if self.answer_tokens < 1:
            raise InputError(f"answer_tokens is {self.answer_tokens}; expected at least 1")


def rough_pieces(text: str) -> list[str]:
    """Tokens without a tokenizer."""
    return _ROUGH.findall(text)


def tokenizer_pieces(file: Path) -> Pieces:
    """Tokens of a model's own tokenizer.json.

    Raises:
        AssetError: not a tokenizer file. MissingExtraError: `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "talk") from error
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise AssetError(f"{file} is no tokenizer ({error}); expected a tokenizer.json") from error

    def pieces(text: str) -> list[str]:
        offsets = [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
        # A character of several tokens begins several: keep one. What lies before the first token belongs to it.
        edges = [*sorted({0, *offsets}), len(text)]
        return [text[low:high] for low, high in pairwise(edges) if low < high]

    return pieces


def user_slices(text: str, config: CutConfig, draw: Random) -> list[str]:
    """The user's words, four to six a slice; the last slice holds what is left."""
    words = text.split()
    low, high = config.user_words
    out: list[str] = []
    at = 0
    while at < len(words):
        size = low + int(draw.random() * (high - low + 1))
        out.append(" ".join(words[at : at + size]))
        at += size
    return out


def answer_slices(text: str, config: CutConfig, pieces: Pieces = rough_pieces) -> list[str]:
    """The machine's message, ten tokens a slice; no slice is blank."""
    tokens = pieces(text)
    size = config.answer_tokens
    out: list[str] = []
    for at in range(0, len(tokens), size):
        piece = "".join(tokens[at : at + size])
        if out and not piece.strip():
            out[-1] += piece
        else:
            out.append(piece)
    return out

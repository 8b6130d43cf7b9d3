"""Greedy decoding that starts from a guess: one pass checks a draft, only what follows the first disagreement is new.

With a model whose scores do not depend on how tokens are grouped into passes, the result is that of plain greedy
decoding, whatever the draft. Models with dynamically quantised activations are not exactly so: there, tokens whose
scores nearly tie may differ.

Axes: T tokens, V vocabulary.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decoder", "cut_loop", "decode", "decode_ref"]

Cache = TypeVar("Cache")


class Decoder(Protocol[Cache]):
    """An autoregressive model bound to what it describes (here: one sound)."""

    def first(self, tokens: Sequence[int]) -> tuple[NDArray[np.float32], Cache]:
        """Scores (T + 1, V) before each of `tokens` and after the last, and the cache that holds all of them."""
        ...

    def next(self, token: int, cache: Cache) -> tuple[NDArray[np.float32], Cache]:
        """Scores (V,) after one more token, and the grown cache."""
        ...

    def keep(self, cache: Cache, num_tokens: int) -> Cache:
        """The cache as it was after the first `num_tokens` tokens."""
        ...


def decode(decoder: Decoder[Cache], end: int, budget: int, draft: Sequence[int] = ()) -> list[int]:
    """The most likely token each time, until `end`, a loop or `budget` tokens; `draft` changes only the cost."""
    guess = [int(token) for token in takewhile(lambda token: token != end, draft[:budget])]
    scores_TV, cache = decoder.first(guess)
    best_T = scores_TV.argmax(axis=-1)
    num_right = next((i for i, token in enumerate(guess) if token != best_T[i]), len(guess))
    tokens: list[int] = []
    for token in guess[:num_right]:
        tokens.append(token)
        if (cut := cut_loop(tokens)) is not None:
            return cut
    if num_right < len(guess):
        cache = decoder.keep(cache, num_right)
    token = int(best_T[num_right])
    while token != end and len(tokens) < budget:
        tokens.append(token)
        if (cut := cut_loop(tokens)) is not None:
            return cut
        if len(tokens) < budget:
            scores_V, cache = decoder.next(token, cache)
            token = int(scores_V.argmax())
    return tokens


def decode_ref(decoder: Decoder[Cache], end: int, budget: int) -> list[int]:
    """The slow twin of `decode`: every token from the whole prefix, no cache, no draft."""
    tokens: list[int] = []
    while len(tokens) < budget:
        token = int(decoder.first(tokens)[0][-1].argmax())
        if token == end:
            break
        tokens.append(token)
        if (cut := cut_loop(tokens)) is not None:
            return cut
    return tokens


def cut_loop(tokens: Sequence[int]) -> list[int] | None:
    """`tokens` with one copy left of a phrase that repeats at the end, or None when nothing does.

    A loop is one token six times in a row, or a phrase of 2 to 10 tokens four times: people do say "no" five times.
    """
    for period in range(1, 11):
        copies = 6 if period == 1 else 4
        tail = list(tokens[-period * copies :])
        if len(tail) == period * copies and tail == tail[:period] * copies:
            return list(tokens[: len(tokens) - period * (copies - 1)])
    return None

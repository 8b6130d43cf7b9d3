"""Tokens to text as they come: never half a character, never the beginning of a stop string."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

__all__ = ["PieceAssembler", "reply_pieces"]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER_TOKENS = 4  # a UTF-8 character has at most four bytes, a token at least one


class PieceAssembler:
    """Feeds on token ids and gives out text that is final.

    `detokenize` is the model's own; it may write the replacement character for a character that is not whole yet.
    `stop` strings end the text and are not part of it.
    """

    def __init__(self, detokenize: Callable[[list[int]], str], stop: tuple[str, ...] = ()) -> None:
        self._detokenize = detokenize
        self._stop = tuple(text for text in stop if text)
        self._context: list[int] = []  # the tokens before `pending`, so that a leading blank is kept
        self._pending: list[int] = []
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add one token; returns the text that has become final, often empty."""
        if self.stopped:
            return ""
        self._pending.append(token)
        before = self._detokenize(self._context) if self._context else ""
        text = self._detokenize(self._context + self._pending)[len(before) :]
        if text.endswith(_REPLACEMENT) and len(self._pending) < _LONGEST_CHARACTER_TOKENS:
            return ""
        self._context, self._pending = self._pending, []
        return self._release(text)

    def flush(self) -> str:
        """The rest, when no more tokens come: held-back text, without an unfinished character."""
        held, self._held = self._held, ""
        self._pending = []
        return "" if self.stopped else held

    def _release(self, text: str) -> str:
        self._held += text
        found = [position for stop in self._stop if (position := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            final, self._held = self._held[: min(found)], ""
            return final
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        cut = len(self._held) - keep
        final, self._held = self._held[:cut], self._held[cut:]
        return final


def reply_pieces(
    prompt: Sequence[int],
    most: int,
    text: PieceAssembler,
    next_token: Callable[[list[int]], int | None],
    *,
    lock: AbstractContextManager[object],
) -> Iterator[str]:
    """A reply, piece by piece, of at most `most` tokens.

    Args:
        prompt: token ids.
        text: makes text of tokens and knows the stop strings.
        next_token: the token behind those so far, under `lock`; negative: the model ends the reply; None: it was cancelled.
        lock: held for one token at a time, so that replies to several conversations interleave.
    """
    tokens = list(prompt)
    for _ in range(most):
        with lock:
            token = next_token(tokens)
            if token is None:
                return
            if token < 0:
                break
            tokens.append(token)
            piece = text.push(token)
        if piece:
            yield piece
        if text.stopped:
            return
    if rest := text.flush():
        yield rest


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of `text` could be the beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

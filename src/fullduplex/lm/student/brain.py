"""A state-space student as a brain: what it has read of a conversation is a state of constant size.

A fork copies nothing (states are values, never changed in place), going back takes the last state kept before that point and
reads on from there, and a conversation may last for ever: nothing grows but the list of its token numbers.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.lm.brain import Layout, Prefill, Prompt, never
from fullduplex.lm.engine import Engine
from fullduplex.lm.pieces import PieceAssembler, reply_pieces
from fullduplex.lm.slots import common_prefix
from fullduplex.lm.student.model import Student, StudentState
from fullduplex.lm.template import Tail, encode, render, whole_words

__all__ = ["StudentBrain", "state_bytes"]

_PIECE_TOKENS = 64  # a state is kept behind each
_SENTENCE_END = ".?!…,;: "


@dataclass(frozen=True, slots=True)
class _Kept:
    """Behind `length` tokens: the state, and the normalised hidden state of the last token (1, D)."""

    length: int
    state: StudentState
    hidden_1D: Tensor


@dataclass(slots=True)
class _Reading:
    """What was read of a conversation; `kept` in order of length, the last one behind all of `tokens`."""

    tokens: list[int] = field(default_factory=list[int])
    kept: list[_Kept] = field(default_factory=list[_Kept])


def state_bytes(state: StudentState) -> int:
    """What one state takes; the same after one token and after a million."""
    return sum(part.nbytes for layer in state for part in (layer.past_BSC, layer.h_BHPN))


class StudentBrain:
    """See `fullduplex.lm.brain.Brain` for what the methods promise.

    Args:
        student: folded (`fullduplex.lm.student.model.fold`).
        words: llama.cpp on the file the teacher came from: its tokenizer and its template.
        conversations: kept at once; the least recently used one makes way.
        states: kept of each conversation, the further back the fewer: to go back n tokens costs about as many again.

    Raises:
        ConfigError: a number is below 1.
    """

    layout: Layout = "pairs"

    def __init__(self, student: Student, words: Engine, *, conversations: int = 8, states: int = 24) -> None:
        if conversations < 1 or states < 1:
            raise ConfigError(f"conversations is {conversations} and states {states}; expected 1 or more")
        self._student, self._words = student, words
        self._conversations, self._states = conversations, states
        self._lock = threading.RLock()
        self._readings: dict[str, _Reading] = {}
        self._ends = words.turn_end_tokens()
        self.read_tokens = 0  # in all, for those who measure

    @property
    def template(self) -> str:
        """Name of the chat template in use."""
        return self._words.template.name

    def count_tokens(self, messages: Prompt) -> int:
        """Tokens of a prompt that is ready to be answered."""
        return len(self._tokens(messages, "reply"))

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """Read a prompt whose last message, if the user's, is still being spoken; its last partial word waits."""
        kept, tail = messages, "closed"
        if kept and kept[-1].role == "user":
            kept, tail = (*kept[:-1], Message("user", whole_words(kept[-1].text))), "open"
        tokens = self._tokens(kept, tail)
        with self._lock:
            before = self.read_tokens
            try:
                self._advance(key, tokens, cancelled)
            except InterruptedError:
                return Prefill()
            new = self.read_tokens - before
        return Prefill(reused_tokens=max(0, len(tokens) - new), new_tokens=new)

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float:
        """Probability that the user's last message is complete. Raises: InputError when the last message is not the user's."""
        if not messages or messages[-1].role != "user":
            raise InputError("end_probability needs a prompt whose last message is the user's")
        spoken = messages[-1].text.rstrip().rstrip(_SENTENCE_END)
        if not spoken:
            return 0.0
        tokens = self._tokens((*messages[:-1], Message("user", spoken)), "open")
        with self._lock:
            try:
                shares = self._shares(self._advance(key, tokens, cancelled))
            except InterruptedError:
                return 0.0
        return float(min(1.0, shares[self._ends].sum()))

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The reply, piece by piece, until the model ends it, a stop string, `max_tokens`, or `cancelled`."""
        if not sampling.max_tokens > 0 or not 0 < sampling.top_p <= 1 or not sampling.temperature >= 0:
            raise InputError(
                f"{sampling} is not usable; expected max_tokens above 0, top_p in (0, 1], temperature 0 or more"
            )
        return self._generate(self._tokens(messages, "reply"), sampling, key, cancelled)

    def fork(self, key: str, new_key: str) -> None:
        """Let `new_key` begin with all that `key` has read: references are copied, no state is."""
        with self._lock:
            parent = self._readings.get(key)
            if parent is not None and key != new_key:
                self._store(new_key, _Reading(list(parent.tokens), list(parent.kept)))

    def forget(self, key: str) -> None:
        """Drop what is kept of a conversation."""
        with self._lock:
            self._readings.pop(key, None)

    def _generate(
        self, prompt: list[int], sampling: Sampling, key: str, cancelled: Callable[[], bool]
    ) -> Iterator[str]:
        draw = np.random.default_rng(sampling.seed)
        text = PieceAssembler(self._words.detokenize, (*sampling.stop, *self._words.template.stop))

        def next_token(tokens: list[int]) -> int | None:
            try:
                hidden_1D = self._advance(key, tokens, cancelled) if not cancelled() else None
            except InterruptedError:
                return None
            if hidden_1D is None:
                return None
            token = _sample(self._shares(hidden_1D), sampling, draw)
            return -1 if self._words.is_end(token) else token

        return reply_pieces(prompt, sampling.max_tokens, text, next_token, lock=self._lock)

    def _tokens(self, messages: Prompt, tail: Tail) -> list[int]:
        return self._words.beginning() + encode(render(self._words.template, messages, tail), self._words.tokenize)

    def _shares(self, hidden_1D: Tensor) -> np.ndarray:
        with torch.no_grad():
            return torch.softmax(self._student.logits(hidden_1D)[0].double(), dim=-1).numpy()

    def _advance(self, key: str, tokens: list[int], cancelled: Callable[[], bool]) -> Tensor:
        """Read `tokens` for `key`; the hidden state behind the last of them."""
        kept = self._nearest(key, tokens)
        while kept[-1].length < len(tokens):
            if cancelled():
                self._store(key, _Reading(tokens[: kept[-1].length], kept))
                raise InterruptedError
            piece = tokens[kept[-1].length : kept[-1].length + _PIECE_TOKENS]
            kept = _thinned([*kept, self._read(piece, kept[-1])], self._states)
        self._store(key, _Reading(list(tokens), kept))
        return kept[-1].hidden_1D

    def _nearest(self, key: str, tokens: list[int]) -> list[_Kept]:
        """States of the conversation, of this key or another, that has read the most of `tokens`; at least the empty one."""
        start = _Kept(0, self._student.init(1), torch.zeros(1, self._student.config.width))
        best = [start]
        own = self._readings.get(key)
        for reading in ([own] if own is not None else []) + list(self._readings.values()):
            shared = common_prefix(reading.tokens, tokens)
            usable = [one for one in reading.kept if one.length <= shared]
            if usable and usable[-1].length > best[-1].length:
                best = usable
        return best

    def _read(self, piece: list[int], before: _Kept) -> _Kept:
        self.read_tokens += len(piece)
        with torch.no_grad():
            if len(piece) == 1:
                hidden_1D, state = self._student.step(torch.tensor(piece), before.state)
            else:
                hidden_1TD, state = self._student.scan(torch.tensor([piece]), before.state)
                hidden_1D = hidden_1TD[:, -1]
        return _Kept(before.length + len(piece), state, hidden_1D)

    def _store(self, key: str, reading: _Reading) -> None:
        self._readings.pop(key, None)
        self._readings[key] = reading
        while len(self._readings) > self._conversations:
            self._readings.pop(next(iter(self._readings)))


def _thinned(kept: list[_Kept], most: int) -> list[_Kept]:
    """At most `most` states: the one that leaves the smallest gap for its age goes; the newest stays."""
    while len(kept) > most:
        end = kept[-1].length
        before = [0, *(one.length for one in kept)]
        gaps = [(kept[i + 1].length - before[i]) / (end - kept[i].length + 1) for i in range(len(kept) - 1)]
        at = gaps.index(min(gaps)) if gaps else 0
        kept = [*kept[:at], *kept[at + 1 :]]
    return kept


def _sample(shares_V: np.ndarray, sampling: Sampling, draw: np.random.Generator) -> int:
    """The likeliest token, or one drawn from the smallest set that holds `top_p`, at a temperature."""
    if sampling.temperature == 0:
        return int(shares_V.argmax())
    order = np.argsort(-shares_V, kind="stable")
    keep = order[: int(np.searchsorted(np.cumsum(shares_V[order]), sampling.top_p)) + 1]
    weight = shares_V[keep] ** (1.0 / sampling.temperature)
    return int(draw.choice(keep, p=weight / weight.sum()))

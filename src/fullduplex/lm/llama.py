"""A GGUF model that many conversations share.

Every conversation has a sequence in one key-value cache. A prompt is brought in by keeping the longest beginning it
shares with what the sequence holds, rolling the rest back, and decoding what is new; a new conversation borrows the
longest beginning any other one has read. One lock is held per token, so replies to several conversations interleave.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.lm.brain import Layout, Prefill, Prompt, never
from fullduplex.lm.budget import fit
from fullduplex.lm.engine import Engine
from fullduplex.lm.pieces import PieceAssembler, reply_pieces
from fullduplex.lm.slots import Slot, SlotTable, common_prefix
from fullduplex.lm.template import Tail, encode, render, whole_words

__all__ = ["LlamaBrain"]

_LOG = logging.getLogger(__name__)
_REPLY_TOKENS = 256  # kept free behind every prompt, so that reading ahead and answering cut a long history alike
_SENTENCE_END = ".?!…"
_NOT_READY = (-1, 0)


@dataclass(slots=True)
class _Advance:
    """Tokens that were there already, and the belief about the next token where it was wanted (else empty)."""

    reused: int
    belief: np.ndarray = field(default_factory=lambda: np.zeros(0))


class LlamaBrain:
    """A chat model in a GGUF file. See `fullduplex.lm.brain.Brain` for what the methods promise."""

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | Callable[[], AbstractContextManager[int]] = 1,
        context: int = 4096,
        slots: int = 8,
    ) -> None:
        """Load the model at `path`.

        Args:
            path: a GGUF file.
            threads: threads of one decode; 1 is fastest when the other core is busy with sound. A function is asked
                before every decode for as many as may be used inside its context. What the model says does not depend
                on it.
            context: tokens in the cache. One conversation may use them all; others are then read again later.
            slots: conversations kept at once; the least recently used one makes way.

        Raises:
            AssetError: there is no such file. FormatError: it is not a whole GGUF file. ConfigError: a bad number.
            MissingExtraError: cyllama is not installed.
        """
        self._table = SlotTable(slots)
        fixed = threads if isinstance(threads, int) else 1
        self._engine = Engine(Path(path), threads=fixed, context=context, sequences=slots)
        self._engine.prepare()
        self._lease = (lambda: nullcontext(fixed)) if isinstance(threads, int) else threads
        self._lock = threading.RLock()
        self._ready = _NOT_READY  # (sequence, tokens) behind which the engine's last logits lie
        self._end_tokens = self._engine.turn_end_tokens()

    @property
    def context_tokens(self) -> int:
        """Tokens one conversation may have, prompt and reply together."""
        return self._engine.context_tokens

    @property
    def template(self) -> str:
        """Name of the chat template in use."""
        return self._engine.template.name

    @property
    def layout(self) -> Layout:
        """ "pairs" if the file says so, "merged" otherwise."""
        return self._engine.layout

    def count_tokens(self, messages: Prompt) -> int:
        """Tokens of a prompt that is ready to be answered."""
        return len(self._tokens(messages, "reply"))

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """Read a prompt whose last message, if the user's, is still being spoken; its last partial word waits."""
        kept = self._fitted(messages, _REPLY_TOKENS)
        tail: Tail = "closed"
        if kept[-1].role == "user":
            kept = (*kept[:-1], Message("user", whole_words(kept[-1].text)))
            tail = "open"
        tokens = self._tokens(kept, tail)
        with self._lock:
            try:
                reused = self._advance(key, tokens, cancelled=cancelled).reused
            except InterruptedError:
                return Prefill()
        return Prefill(reused_tokens=reused, new_tokens=len(tokens) - reused)

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float:
        """Probability that the user's last message is complete: of an end of turn or a sentence-final mark next.

        `ahead` is read as well, in the same decode, up to where its answer begins: a few tokens more cost far less there
        than in a decode of their own.

        Sentence-final punctuation the recogniser has put there is taken off first, because it guesses one at every
        pause. 0.0 when the user has said nothing, or when it was cancelled. Raises `InputError` when the last message is
        not the user's.
        """
        if not messages or messages[-1].role != "user":
            raise InputError("end_probability needs a prompt whose last message is the user's")
        spoken = messages[-1].text.rstrip().rstrip(_SENTENCE_END + ",;:").rstrip()
        if not spoken:
            return 0.0
        kept = self._fitted((*messages[:-1], Message("user", spoken)), _REPLY_TOKENS)
        tokens = self._tokens(kept, "open")
        following = self._tokens(self._fitted(ahead, _REPLY_TOKENS), "reply") if ahead else []
        reading_on = following[: len(tokens)] == tokens
        wanted = following if reading_on else tokens
        with self._lock:
            try:
                read = self._advance(key, wanted, logits=reading_on, belief_behind=len(tokens), cancelled=cancelled)
            except InterruptedError:
                return 0.0
        return float(min(1.0, np.exp(read.belief[self._end_tokens]).sum()))

    def log_likelihood(self, messages: Prompt, text: str, *, key: str) -> Float64Array:
        """Natural log of the probability of every token of `text` as what comes next, (tokens,).

        Next is the reply, or what continues it where the last message is the assistant's. Raises `InputError` for an empty
        text, and for one that does not fit behind the prompt.
        """
        prompt = self._tokens(self._fitted(messages, _REPLY_TOKENS), "reply")
        tokens = self._engine.tokenize(text, False)
        if not tokens or len(prompt) + len(tokens) > self.context_tokens:
            raise InputError(
                f"log_likelihood needs a text of 1 to {self.context_tokens - len(prompt)} tokens; got {len(tokens)}"
            )
        found = np.zeros(len(tokens))
        with self._lock:
            belief = self._advance(key, prompt, belief_behind=len(prompt)).belief
            slot = self._slot(key)
            for start in range(0, len(tokens), self._engine.batch_tokens):
                chunk = tokens[start : start + self._engine.batch_tokens]
                self._decode(key, slot, chunk, range(len(chunk)), never)
                for index, token in enumerate(chunk):
                    found[start + index] = belief[token]
                    belief = self._engine.log_probabilities(index)
        return found

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The reply, piece by piece, until the model ends it, a stop string, `max_tokens`, or `cancelled`.

        `cancelled` is asked between tokens, and while a long prompt is read. A last message that is the assistant's is
        continued. When the generator is closed early, what was read stays cached.
        """
        if not 0 < sampling.max_tokens < self.context_tokens:
            raise InputError(f"max_tokens must be 1 to {self.context_tokens - 1}, not {sampling.max_tokens}")
        kept = self._fitted(messages, max(_REPLY_TOKENS, sampling.max_tokens))
        return self._generate(self._tokens(kept, "reply"), sampling, key, cancelled)

    def fork(self, key: str, new_key: str) -> None:
        """Let `new_key` begin with all that `key` has read; the two then go their own ways. Costs no decode."""
        with self._lock:
            parent = self._table.touch(key)
            if parent is None or key == new_key:
                return  # nothing is read yet, so there is nothing to copy: results do not depend on the cache
            child = self._slot(new_key, besides=key)
            self._roll_back(child, 0)
            self._copy(parent, child, len(parent.tokens))

    def forget(self, key: str) -> None:
        """Drop what is cached of a conversation."""
        with self._lock:
            slot = self._table.release(key)
            if slot is not None:
                self._engine.remove(slot.sequence, 0)

    def close(self) -> None:
        """Free the model; any later use, also of a reply in progress, raises `PortError`."""
        with self._lock:
            self._engine.close()

    def _generate(
        self, prompt: list[int], sampling: Sampling, key: str, cancelled: Callable[[], bool]
    ) -> Iterator[str]:
        sampler = self._engine.sampler(sampling)
        text = PieceAssembler(self._engine.detokenize, (*sampling.stop, *self._engine.template.stop))

        def next_token(tokens: list[int]) -> int | None:
            if cancelled() or not self._reach(key, tokens, cancelled):
                return None
            token = self._engine.sample(sampler)
            return -1 if self._engine.is_end(token) else token

        return reply_pieces(prompt, sampling.max_tokens, text, next_token, lock=self._lock)

    def _reach(self, key: str, tokens: list[int], cancelled: Callable[[], bool]) -> bool:
        """Bring `tokens` in with logits behind them; False when it was cancelled meanwhile."""
        try:
            self._advance(key, tokens, logits=True, cancelled=cancelled)
        except InterruptedError:
            return False
        return True

    def _tokens(self, messages: Prompt, tail: Tail) -> list[int]:
        return self._engine.beginning() + encode(render(self._engine.template, messages, tail), self._engine.tokenize)

    def _fitted(self, messages: Prompt, reply_tokens: int) -> Prompt:
        fitted = fit(messages, self.context_tokens - min(reply_tokens, self.context_tokens // 2), self.count_tokens)
        if fitted.dropped_messages:
            _LOG.info(
                "context of %d tokens: the oldest %d messages left out", self.context_tokens, fitted.dropped_messages
            )
        return fitted.messages

    def _advance(
        self,
        key: str,
        tokens: list[int],
        *,
        logits: bool = False,
        belief_behind: int = 0,
        cancelled: Callable[[], bool] = never,
    ) -> _Advance:
        """Make the conversation's sequence hold `tokens`.

        Args:
            key: the conversation.
            tokens: exactly these when `logits` are wanted behind them; otherwise some already read beyond them may stay.
            logits: the engine is left ready to sample what follows.
            belief_behind: so many tokens in, the next token's distribution is wanted; 0: nowhere.
            cancelled: asked between batches and, by our own decoder, between layers; raises `InterruptedError`.
        """
        slot = self._slot(key)
        reused = common_prefix(slot.tokens, tokens)
        if reused == len(tokens) and not logits and not belief_behind:
            return _Advance(reused)
        if logits and not belief_behind and (slot.sequence, len(tokens)) == self._ready and slot.tokens == tokens:
            return _Advance(reused)
        donor, shared = self._table.donor(tokens)
        if donor is not None and shared > reused:
            self._roll_back(slot, 0)
            self._copy(donor, slot, shared)
            reused = shared
        # Logits exist only behind a token that was just decoded.
        reused = min(reused, belief_behind - 1 if belief_behind else reused, len(tokens) - 1 if logits else reused)
        self._roll_back(slot, reused)
        result = _Advance(len(slot.tokens))
        while (start := len(slot.tokens)) < len(tokens):
            chunk = tokens[start : start + self._engine.batch_tokens]
            if cancelled():
                raise InterruptedError
            wanted = {belief_behind - 1 - start} | ({len(tokens) - 1 - start} if logits else set())
            self._decode(key, slot, chunk, wanted, cancelled)
            if start < belief_behind <= len(slot.tokens):
                result.belief = self._engine.log_probabilities(belief_behind - 1 - start)
        self._ready = (slot.sequence, len(tokens)) if logits else _NOT_READY
        return result

    def _decode(
        self, key: str, slot: Slot, chunk: list[int], logits: Collection[int], cancelled: Callable[[], bool]
    ) -> None:
        self._ready = _NOT_READY
        try:
            with self._lease() as threads:
                self._engine.use_threads(threads)
                while not self._engine.decode(slot.sequence, len(slot.tokens), chunk, logits, cancelled):
                    self._evict(key)
        except BaseException:
            self._engine.remove(slot.sequence, len(slot.tokens))  # half of the batch may be in
            raise
        slot.tokens += chunk

    def _evict(self, key: str) -> None:
        oldest = self._table.oldest(besides=key)
        if oldest is None:
            raise InputError(f"the prompt does not fit into the cache of {self.context_tokens} tokens")
        self.forget(oldest)

    def _slot(self, key: str, *, besides: str = "") -> Slot:
        slot = self._table.touch(key)
        if slot is None:
            if self._table.full:
                oldest = self._table.oldest(besides=besides) or self._table.keys()[0]
                self.forget(oldest)
            slot = self._table.claim(key)
        return slot

    def _roll_back(self, slot: Slot, length: int) -> None:
        if length >= len(slot.tokens):
            return
        self._ready = _NOT_READY
        if not self._engine.remove(slot.sequence, length):
            length = 0  # a recurrent model cannot go back by part
            self._engine.remove(slot.sequence, 0)
        del slot.tokens[length:]

    def _copy(self, source: Slot, target: Slot, length: int) -> None:
        self._ready = _NOT_READY
        self._engine.copy(source.sequence, target.sequence, length)
        target.tokens[:] = source.tokens[:length]

"""Recognition of an utterance that is still growing: decode the whole of it again and again, cheaply.

Moonshine (Jeffries et al., 2410.15608) encodes any length at a cost in proportion, so a partial transcript is a fresh
encoding of everything heard so far. Its decoder is the slow part, and most of what it would say was said last time:
the previous hypothesis goes in as a draft, one pass checks all of it, and only what follows the first disagreement is
decoded token by token. The result is the greedy one, draft or no draft.

Axes: N samples, T tokens, V vocabulary, L encoder frames, D features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError, MissingExtraError, PortError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.numerics.signal import Pcm, as_pcm, level_db
from fullduplex.speech.inference import open_model, require_file

__all__ = ["MAX_AUDIO_S", "Hypothesis", "Moonshine", "Recogniser", "cut_loop", "token_budget"]

MAX_AUDIO_S = 20.0
_MIN_SAMPLES = EAR_RATE_HZ // 2  # shorter sounds are padded with silence: the model was not trained below this
_SILENCE_DB = -70.0  # nothing can be recognised under this; the model would make something up

_START, _END = 1, 2
_TOKENS_PER_S = 6.5  # the limit the model was trained for; fast English has about 5


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was understood. Give `tokens` back as the draft of the next call, when the same utterance has grown."""

    text: str
    tokens: tuple[int, ...] = ()


class Recogniser(Protocol):
    """Speech to text, one utterance at a time."""

    def recognise(self, pcm: Pcm, draft: tuple[int, ...] = ()) -> Hypothesis:
        """The transcript of `pcm` (N,) at 16 kHz; `draft` is an earlier hypothesis' tokens and changes only the cost."""
        ...


@dataclass(frozen=True, slots=True)
class _Encoded:
    frames_1LD: NDArray[np.float32]
    mask_1N: NDArray[np.int64]


class Moonshine:
    """Moonshine tiny or base, English, from its merged ONNX export. Holds no state: safe to share between threads."""

    def __init__(self, encoder_path: Path | str, decoder_path: Path | str, tokenizer_path: Path | str) -> None:
        """Open the two models (.onnx or .ort) and the tokenizer (tokenizer.json). Raises: AssetError, MissingExtraError."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", "talk") from error
        self._tokenizer = Tokenizer.from_file(str(require_file(tokenizer_path)))
        self._encoder = open_model(Path(encoder_path))
        self._decoder = open_model(Path(decoder_path))
        self._cache_names = [output.name.replace("present", "past_key_values") for output in self._decoder.get_outputs()[1:]]
        shapes = {value.name: value.shape for value in self._decoder.get_inputs()}
        _, heads, _, width = shapes[self._cache_names[0]]
        self._no_cache = {name: np.zeros((1, heads, 0, width), np.float32) for name in self._cache_names}

    def recognise(self, pcm: Pcm, draft: tuple[int, ...] = ()) -> Hypothesis:
        """Greedy transcript, with `draft` checked in one pass.

        Args:
            pcm: (N,) at 16 kHz, at most 20 s.
            draft: tokens of an earlier hypothesis for a shorter cut of the same sound.

        Returns: the same as `recognise_ref`; empty for silence.

        Raises: InputError when the sound is too long, empty or not finite, or the draft is no token sequence.
        """
        sound = _as_utterance(pcm)
        if sound is None:
            return Hypothesis("")
        budget = token_budget(pcm.size)
        encoded = self._encode(sound)
        guess = self._as_draft(draft)[:budget]
        logits_TV, cache = self._decode([_START, *guess], encoded, self._no_cache, use_cache=False)
        best_T = logits_TV.argmax(axis=-1)
        num_right = _common_prefix(guess, best_T)
        tokens, next_token = guess[:num_right], int(best_T[num_right])
        if num_right < len(guess):
            cache = _keep(cache, num_right + 1)
        for length in range(1, num_right + 1):  # an accepted draft may hold a loop that greedy decoding would have cut
            if (cut := cut_loop(tokens[:length])) is not None:
                return self._hypothesis(cut)
        return self._continue(tokens, next_token, encoded, cache, budget)

    def recognise_ref(self, pcm: Pcm) -> Hypothesis:
        """The slow twin of `recognise`: every token from the whole prefix, no cache, no draft."""
        sound = _as_utterance(pcm)
        if sound is None:
            return Hypothesis("")
        encoded = self._encode(sound)
        tokens: list[int] = []
        while len(tokens) < token_budget(pcm.size):
            logits_TV, _ = self._decode([_START, *tokens], encoded, self._no_cache, use_cache=False)
            token = int(logits_TV[-1].argmax())
            if token == _END:
                break
            tokens.append(token)
            if (cut := cut_loop(tokens)) is not None:
                tokens = cut
                break
        return self._hypothesis(tokens)

    def _continue(
        self,
        tokens: list[int],
        next_token: int,
        encoded: _Encoded,
        cache: dict[str, NDArray[np.float32]],
        budget: int,
    ) -> Hypothesis:
        """Greedy decoding with the cache, from `next_token` on."""
        while next_token != _END and len(tokens) < budget:
            tokens.append(next_token)
            if (cut := cut_loop(tokens)) is not None:
                return self._hypothesis(cut)
            if len(tokens) == budget:
                break
            logits_TV, grown = self._decode([next_token], encoded, cache, use_cache=True)
            # The cached branch returns empty cross-attention entries: those of the first pass stay.
            cache = {name: grown[name] if ".decoder." in name else cache[name] for name in cache}
            next_token = int(logits_TV[-1].argmax())
        return self._hypothesis(tokens)

    def _encode(self, sound: Pcm) -> _Encoded:
        mask_1N = np.ones((1, sound.size), np.int64)
        (frames_1LD,) = self._encoder.run(None, {"input_values": sound[np.newaxis], "attention_mask": mask_1N})
        return _Encoded(np.asarray(frames_1LD, np.float32), mask_1N)

    def _decode(
        self, tokens: Sequence[int], encoded: _Encoded, cache: dict[str, NDArray[np.float32]], *, use_cache: bool
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Logits (T, V) after each of `tokens`, and the cache that includes them."""
        inputs = {
            "input_ids": np.asarray([tokens], np.int64),
            "encoder_hidden_states": encoded.frames_1LD,
            "encoder_attention_mask": encoded.mask_1N,
            "use_cache_branch": np.asarray([use_cache]),
            **cache,
        }
        logits_1TV, *present = (np.asarray(value) for value in self._decoder.run(None, inputs))
        if not np.isfinite(logits_1TV[0, -1]).all():
            raise PortError("the recogniser's scores are not finite; expected numbers: the model file is damaged")
        return logits_1TV[0], dict(zip(self._cache_names, present, strict=True))

    def _as_draft(self, draft: Sequence[int]) -> list[int]:
        size = self._tokenizer.get_vocab_size()
        for token in draft:
            if not 0 <= token < size:
                raise InputError(f"draft holds token {token}; expected 0 to {size - 1}: pass Hypothesis.tokens")
        return [int(token) for token in draft]

    def _hypothesis(self, tokens: Sequence[int]) -> Hypothesis:
        return Hypothesis(self._tokenizer.decode(list(tokens), skip_special_tokens=True).strip(), tuple(tokens))


def token_budget(num_samples: int) -> int:
    """The most tokens that `num_samples` at 16 kHz can hold; what goes beyond it was not said."""
    return max(6, math.ceil(_TOKENS_PER_S * num_samples / EAR_RATE_HZ))


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


def _as_utterance(pcm: Pcm) -> Pcm | None:
    """`pcm` checked and padded to what the encoder needs, or None when it is silence."""
    sound = as_pcm(pcm)
    longest = int(MAX_AUDIO_S * EAR_RATE_HZ)
    if sound.size > longest:
        raise InputError(
            f"pcm has {sound.size / EAR_RATE_HZ:.1f} s at 16 kHz; expected at most {MAX_AUDIO_S:g} s: cut it at a pause"
        )
    if level_db(sound) < _SILENCE_DB:
        return None
    return np.pad(sound, (0, max(0, _MIN_SAMPLES - sound.size)))


def _common_prefix(guess: Sequence[int], best_T: NDArray[np.int64]) -> int:
    """How many tokens of the draft are what the model says itself. best_T[i] follows the first i of them."""
    for index, token in enumerate(guess):
        if token != best_T[index]:
            return index
    return len(guess)


def _keep(cache: dict[str, NDArray[np.float32]], num_tokens: int) -> dict[str, NDArray[np.float32]]:
    """The cache as it was after the first `num_tokens`: self-attention cut, cross-attention whole."""
    return {
        name: np.ascontiguousarray(value[:, :, :num_tokens]) if ".decoder." in name else value
        for name, value in cache.items()
    }

"""Recognition of an utterance that is still growing: decode the whole of it again and again, cheaply.

Moonshine (Jeffries et al., 2410.15608) encodes any length at a cost in proportion, so a partial transcript is a fresh
encoding of everything heard so far. Its decoder is the slow part, and most of what it would say was said last time:
the previous hypothesis goes in as a draft (`greedy`).

The published 8-bit export quantises activations by the range of each pass, so scores move by up to about 1.2 with the
grouping of tokens: with and without a draft, a near tie (a comma, an article) can fall either way.

Axes: N samples, T tokens, V vocabulary, L encoder frames, D features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import AssetError, InputError, MissingExtraError, PortError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.numerics.signal import Pcm, as_pcm, level_db
from fullduplex.speech.greedy import decode, decode_ref
from fullduplex.speech.onnx.session import open_model, require_file

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["MAX_AUDIO_S", "Hypothesis", "Moonshine", "Recogniser", "token_budget"]

MAX_AUDIO_S = 20.0
_MIN_SAMPLES = EAR_RATE_HZ // 2  # shorter sounds are padded with silence: the model was not trained below this
_SILENCE_DB = -70.0  # nothing can be recognised under this; the model would make something up

_START, _END = 1, 2
_TOKENS_PER_S = 6.5  # the limit the model was trained for; fast English has about 5

Cache = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was understood. Give `tokens` back as the draft of the next call, when the same utterance has grown.

    `score`: natural log of the text's probability, where it was asked for (`Moonshine.score`), else 0.
    """

    text: str
    tokens: tuple[int, ...] = ()
    score: float = 0.0


class Recogniser(Protocol):
    """Speech to text, one utterance at a time."""

    def recognise(self, pcm: Pcm, draft: tuple[int, ...] = ()) -> Hypothesis:
        """The transcript of `pcm` (N,) at 16 kHz; `draft`, an earlier hypothesis' tokens, changes only the cost."""
        ...


class Moonshine:
    """Moonshine tiny or base, English, from its merged ONNX export. Holds no state: safe to share between threads."""

    def __init__(self, encoder_path: Path | str, decoder_path: Path | str, tokenizer_path: Path | str) -> None:
        """Open the two models (.onnx or .ort) and tokenizer.json. Raises: AssetError, MissingExtraError."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", "talk") from error
        path = require_file(tokenizer_path)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise AssetError(f"{path} is no tokenizer ({error}); fetch it again") from error
        self._encoder = open_model(Path(encoder_path))
        self._decoder = open_model(Path(decoder_path))

    def recognise(self, pcm: Pcm, draft: tuple[int, ...] = ()) -> Hypothesis:
        """Greedy transcript, with `draft` checked in one pass.

        Args:
            pcm: (N,) at 16 kHz, at most 20 s.
            draft: tokens of an earlier hypothesis for a shorter cut of the same sound.

        Returns: the same as `recognise_ref`, but for near ties; empty for silence.

        Raises: InputError when the sound is too long, empty or not finite, or the draft is no token sequence;
            PortError when the model's scores are not finite.
        """
        self._check_draft(draft)
        sound = _as_utterance(pcm)
        if sound is None:
            return Hypothesis("")
        return self._hypothesis(decode(self._bind(sound), _END, token_budget(len(pcm)), draft))

    def recognise_ref(self, pcm: Pcm) -> Hypothesis:
        """The slow twin of `recognise`: every token from the whole prefix, no cache, no draft."""
        sound = _as_utterance(pcm)
        if sound is None:
            return Hypothesis("")
        return self._hypothesis(decode_ref(self._bind(sound), _END, token_budget(len(pcm))))

    def score(self, pcm: Pcm, candidates: Sequence[str | tuple[int, ...]]) -> list[Hypothesis]:
        """How well each candidate fits the sound: log probability of its tokens and of the end, in one pass.

        Args:
            pcm: (N,) at 16 kHz, at most 20 s.
            candidates: texts, or tokens of hypotheses; at least one.

        Raises: InputError as `recognise`, also without candidates; PortError when the scores are not finite.
        """
        sequences = [
            tuple(self._tokenizer.encode(candidate, add_special_tokens=False).ids)
            if isinstance(candidate, str)
            else candidate
            for candidate in candidates
        ]
        if not sequences:
            raise InputError("score needs at least one candidate")
        for tokens in sequences:
            self._check_draft(tokens)
        sound = _as_utterance(pcm)
        if sound is None:
            return [Hypothesis(self._hypothesis(tokens).text, tokens, -math.inf) for tokens in sequences]
        scores = self._bind(sound).log_probabilities(sequences)
        return [
            Hypothesis(self._hypothesis(tokens).text, tokens, score)
            for tokens, score in zip(sequences, scores, strict=True)
        ]

    def _bind(self, sound: Pcm) -> "_BoundDecoder":
        mask_1N = np.ones((1, sound.size), np.int64)
        (frames_1LD,) = self._encoder.run(None, {"input_values": sound[np.newaxis], "attention_mask": mask_1N})
        return _BoundDecoder(self._decoder, np.asarray(frames_1LD, np.float32), mask_1N)

    def _check_draft(self, draft: Sequence[int]) -> None:
        size = self._tokenizer.get_vocab_size()
        for token in draft:
            if not 0 <= token < size:
                raise InputError(f"draft holds token {token}; expected 0 to {size - 1}: pass Hypothesis.tokens")

    def _hypothesis(self, tokens: Sequence[int]) -> Hypothesis:
        return Hypothesis(self._tokenizer.decode(list(tokens), skip_special_tokens=True).strip(), tuple(tokens))


def token_budget(num_samples: int) -> int:
    """The most tokens that `num_samples` at 16 kHz can hold; what goes beyond it was not said."""
    return max(6, math.ceil(_TOKENS_PER_S * num_samples / EAR_RATE_HZ))


class _BoundDecoder:
    """The decoder for one sound: `greedy.Decoder` over the merged export's two branches."""

    def __init__(
        self, session: "onnxruntime.InferenceSession", frames_1LD: NDArray[np.float32], mask_1N: NDArray[np.int64]
    ) -> None:
        self._session = session
        self._inputs = {"encoder_hidden_states": frames_1LD, "encoder_attention_mask": mask_1N}
        self._scores, *present = (output.name for output in session.get_outputs())
        self._names = [name.replace("present", "past_key_values") for name in present]
        shapes = {value.name: value.shape for value in session.get_inputs()}
        _, heads, _, width = shapes[self._names[0]]
        self._empty = {name: np.zeros((1, heads, 0, width), np.float32) for name in self._names}

    def first(self, tokens: Sequence[int]) -> tuple[NDArray[np.float32], Cache]:
        return self._run([_START, *tokens], self._empty, cached=False)

    def next(self, token: int, cache: Cache) -> tuple[NDArray[np.float32], Cache]:
        scores_TV, grown = self._run([token], cache, cached=True)
        # This branch returns empty cross-attention entries: those of the first pass stay.
        return scores_TV[-1], {name: grown[name] if ".decoder." in name else cache[name] for name in cache}

    def log_probabilities(self, sequences: Sequence[tuple[int, ...]]) -> list[float]:
        """Of each sequence and the end behind it, as one batch; what pads a row comes after all that is read there."""
        longest = max(map(len, sequences))
        ids_BT = [[_START, *tokens, *[_END] * (longest - len(tokens))] for tokens in sequences]
        count = len(sequences)
        inputs = {
            "input_ids": np.asarray(ids_BT, np.int64),
            "use_cache_branch": np.asarray([False]),
            **{name: np.repeat(value, count, axis=0) for name, value in {**self._inputs, **self._empty}.items()},
        }
        scores_BTV = np.asarray(self._session.run([self._scores], inputs)[0], np.float32)
        if not np.isfinite(scores_BTV).all():
            raise PortError("the recogniser's scores are not finite; expected numbers: fetch the model file again")
        totals: list[float] = []
        for tokens, scores_TV in zip(sequences, scores_BTV, strict=True):
            asked = np.array([*tokens, _END])
            used_TV = scores_TV[: asked.size]
            peak_T = used_TV.max(axis=-1)
            norm_T = peak_T + np.log(np.exp(used_TV - peak_T[:, None]).sum(axis=-1, dtype=np.float64))
            totals.append(float((used_TV[np.arange(asked.size), asked] - norm_T).sum()))
        return totals

    def keep(self, cache: Cache, num_tokens: int) -> Cache:
        size = num_tokens + 1  # the start token comes first
        return {
            name: np.ascontiguousarray(value[:, :, :size]) if ".decoder." in name else value
            for name, value in cache.items()
        }

    def _run(self, tokens: Sequence[int], cache: Cache, *, cached: bool) -> tuple[NDArray[np.float32], Cache]:
        inputs = {
            "input_ids": np.asarray([tokens], np.int64),
            "use_cache_branch": np.asarray([cached]),
            **self._inputs,
            **cache,
        }
        scores_1TV, *present = (np.asarray(value) for value in self._session.run(None, inputs))
        if not np.isfinite(scores_1TV[0, -1]).all():
            raise PortError("the recogniser's scores are not finite; expected numbers: fetch the model file again")
        return scores_1TV[0], dict(zip(self._names, present, strict=True))


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

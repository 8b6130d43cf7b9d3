"""One model: its words, and what computes. Typed errors. Not thread-safe; `lm/llama.py` has the lock.

What computes is our own decoder, compiled at its first use, or llama.cpp where there is no compiler or the model is of
another make. The log says which.
"""

import logging
import math
import re
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.chat import Sampling
from fullduplex.base.errors import AssetError, ConfigError, FormatError, PortError
from fullduplex.kernels.decoder.library import BATCH_TOKENS, decoder_library
from fullduplex.lm.brain import Layout, never
from fullduplex.lm.engine.compiled import CompiledRunner, Weights
from fullduplex.lm.engine.llama_cpp import LlamaCppRunner, llama_cpp, open_model
from fullduplex.lm.engine.runner import Runner
from fullduplex.lm.engine.sampling import peak_of
from fullduplex.lm.template import detect_template

__all__ = ["LAYOUT_KEY", "Engine"]

_LOG = logging.getLogger(__name__)
LAYOUT_KEY = "fullduplex.layout"  # metadata of a GGUF file: "pairs" if the model was taught time slices
_LETTER = "a"
_SENTENCE_END = re.compile(r"""(?!\.\.)[.?!]+["')\]]*\s*""")


class Engine:
    """Tokens in, logits and samples out. Weights are laid out at the first decode, or by `prepare`."""

    def __init__(self, path: Path, *, threads: int, context: int, sequences: int) -> None:
        """Open the file.

        Raises:
            AssetError: it cannot be read. FormatError: it is no model. ConfigError: a bad number. MissingExtraError.
        """
        if threads < 1 or context < 64:
            raise ConfigError(f"threads must be at least 1 and context at least 64, not {threads} and {context}")
        _check_file(path)
        llama_cpp()
        try:
            self._model = open_model(str(path), words_only=True)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            raise _refusal(path, error) from None
        self._path, self._closed = path, False
        self._threads, self._sequences = threads, sequences
        self._vocabulary = self._model.get_vocab()
        self._letter = [
            int(token) for token in self._vocabulary.tokenize(_LETTER, add_special=False, parse_special=False)
        ]
        self.vocabulary_size = int(self._vocabulary.n_vocab)
        self.context_tokens = min(context, int(self._model.n_ctx_train) or context)
        self.batch_tokens = min(BATCH_TOKENS, context)
        self.template = detect_template(self._metadata("tokenizer.chat_template"))
        self.layout: Layout = "pairs" if self._metadata(LAYOUT_KEY) == "pairs" else "merged"

    def prepare(self) -> None:
        """Lay out the weights now. Raises `FormatError` when that cannot be done."""
        self._require_open()
        _ = self._runner

    @property
    def compiled(self) -> bool:
        """Whether our own decoder computes."""
        return isinstance(self._runner, CompiledRunner)

    @cached_property
    def _runner(self) -> Runner:
        library = decoder_library()
        if library is not None:
            try:
                weights = Weights(llama_cpp(), self._path, self.vocabulary_size, self.context_tokens)
                return CompiledRunner(library, weights, threads=self._threads, sequences=self._sequences)
            except (FormatError, ValueError, OSError, MemoryError) as error:
                _LOG.warning("%s is run by llama.cpp: %s", self._path.name, error)
        try:
            return LlamaCppRunner(
                str(self._path), threads=self._threads, context=self.context_tokens, sequences=self._sequences
            )
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            raise _refusal(self._path, error) from None

    def _metadata(self, key: str) -> str | None:
        try:
            return str(self._model.meta_val_str(key))
        except (ValueError, KeyError, RuntimeError):
            return None

    def _require_open(self) -> None:
        """The engine itself would crash the process."""
        if self._closed:
            raise PortError("the language model was closed; load it again")

    def use_threads(self, count: int) -> None:
        """Threads of the decodes to come. The logits do not depend on it."""
        self._require_open()
        self._runner.use_threads(count)

    def beginning(self) -> list[int]:
        """Tokens every prompt begins with."""
        self._require_open()
        return [int(self._vocabulary.token_bos())] if self._vocabulary.get_add_bos() else []

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Token ids; control strings in `text` become control tokens only when `special`."""
        self._require_open()
        return [int(token) for token in self._vocabulary.tokenize(text, add_special=False, parse_special=special)]

    def detokenize(self, tokens: list[int]) -> str:
        """Text of tokens, blanks at both ends kept; a character that is not whole comes out as the replacement character.

        cyllama drops blanks at the beginning, so the tokens are put behind a letter, which is cut off again.
        """
        self._require_open()
        text = str(self._vocabulary.detokenize([*self._letter, *tokens], remove_special=False, unparse_special=False))
        return text[len(_LETTER) :]

    def is_end(self, token: int) -> bool:
        """Whether a token ends the reply."""
        return bool(self._vocabulary.is_eog(token))

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token, which no literal text may give."""
        return bool(self._vocabulary.is_control(token))

    def turn_end_tokens(self) -> np.ndarray:
        """Ids of all tokens that say a turn is over: end of turn, and one sentence-final mark (not an ellipsis)."""
        ends = {token for token in range(self.vocabulary_size) if self.is_end(token)}
        ends.add(self.tokenize(self.template.closing, True)[0])
        for token in range(self.vocabulary_size):
            if not self.is_control(token) and _SENTENCE_END.fullmatch(self._vocabulary.token_to_piece(token, 0, False)):
                ends.add(token)
        return np.array(sorted(ends), dtype=np.intp)

    def decode(
        self,
        sequence: int,
        start: int,
        tokens: list[int],
        logits: Collection[int],
        cancelled: Callable[[], bool] = never,
    ) -> bool:
        """Decode tokens at positions from `start`; False when the cache has no room.

        Logits are computed behind the tokens whose indices `logits` holds. Raises `PortError` when it fails, and
        `InterruptedError` when it was `cancelled`, which our own decoder asks between a few layers and llama.cpp never.
        """
        self._require_open()
        return self._runner.decode(sequence, start, tokens, logits, cancelled)

    def log_probabilities(self, index: int = -1) -> np.ndarray:
        """Natural log of the next token's distribution, float64 (vocabulary,).

        `index`: of a token of the last batch whose logits were asked for; -1: the last of those.
        """
        logits = self._runner.logits(index).astype(np.float64)
        peak = peak_of(logits)
        return logits - (peak + math.log(float(np.exp(logits - peak).sum())))

    def sampler(self, sampling: Sampling) -> Any:
        """What `sample` draws with, for one reply. Raises `InputError`."""
        return self._runner.sampler(sampling)

    def sample(self, sampler: Any) -> int:
        """The next token behind the last decoded one."""
        self._require_open()
        return self._runner.sample(sampler)

    def remove(self, sequence: int, start: int) -> bool:
        """Drop a sequence's cells from position `start`; False when the model cannot go back by part."""
        self._require_open()
        return self._runner.remove(sequence, start)

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` share the first `length` cells of `source`."""
        self._require_open()
        self._runner.copy(source, target, length)

    def close(self) -> None:
        """Free what computes, and the words."""
        self._closed = True
        runner = self.__dict__.pop("_runner", None)
        if runner is not None:
            runner.close()
        self._model.close()


def _refusal(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path} cannot be loaded as a GGUF model: {error}; it may be cut short: verify it")


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise AssetError(
            f"the model file {path} cannot be read: {error.strerror or error}; see: fullduplex assets list"
        ) from None
    if magic != b"GGUF":
        raise FormatError(f"{path} is not a GGUF model: it begins with {magic!r}, expected b'GGUF'")

"""llama.cpp: one model, one context, typed errors. Not thread-safe; `lm/llama.py` has the lock.

The library is cyllama's wheel, or llama-cpp-python compiled for this processor where that is installed (`compiled.py`).
"""

import logging
import math
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.chat import Sampling
from fullduplex.base.errors import AssetError, ConfigError, FormatError, InputError, MissingExtraError, PortError
from fullduplex.lm.brain import Layout
from fullduplex.lm.template import detect_template

__all__ = ["LAYOUT_KEY", "Engine"]

_LOG = logging.getLogger(__name__)
LAYOUT_KEY = "fullduplex.layout"  # metadata of a GGUF file: "pairs" if the model was taught time slices

# The cache may not change an answer, so a token's logits must not depend on how the tokens before it were batched. They
# do not, to the last bit, with these three settings together: flash attention (llama.cpp's other path sums in another
# order for one token than for several), batches under 64 (from there it works in tiles), and no repacked weights (whose
# kernels treat the last few rows of a batch apart). The price was measured at 0 to 12 percent of speed.
_BATCH_TOKENS = 32
_FLASH_ATTENTION_ON = 1
_REPACK_WEIGHTS = False
_TOP_K = 100  # candidates kept before top-p: sorting a vocabulary of 150,000 for each token costs more than it changes
_LETTER = "a"
_SENTENCE_END = re.compile(r"""(?!\.\.)[.?!]+["')\]]*\s*""")


class Engine:
    """Tokens in, logits and samples out."""

    def __init__(self, path: Path, *, threads: int, context: int, sequences: int) -> None:
        if threads < 1 or context < 64:
            raise ConfigError(f"threads must be at least 1 and context at least 64, not {threads} and {context}")
        _check_file(path)
        self._library = library = _library()
        model_params = library.LlamaModelParams()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = _REPACK_WEIGHTS
        params = library.LlamaContextParams()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = min(_BATCH_TOKENS, context)
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = sequences
        params.kv_unified = True  # one pool of cells: forks share them, and any conversation may use them all
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.no_perf = True
        try:
            self._model = _model_type(library)(str(path), model_params, verbose=False)
            self._context = library.LlamaContext(self._model, params, verbose=False)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            raise FormatError(
                f"{path} cannot be loaded as a GGUF model: {error}; it may be cut short: verify it"
            ) from None
        self._closed = False
        self._threads = threads
        self._vocabulary = self._model.get_vocab()
        self._letter = [
            int(token) for token in self._vocabulary.tokenize(_LETTER, add_special=False, parse_special=False)
        ]
        self.vocabulary_size = int(self._vocabulary.n_vocab)
        self.context_tokens = min(context, int(self._context.n_ctx), int(self._model.n_ctx_train) or context)
        self.batch_tokens = int(params.n_batch)
        self._batch = library.LlamaBatch(n_tokens=self.batch_tokens, embd=0, n_seq_max=1)
        self.template = detect_template(self._metadata("tokenizer.chat_template"))
        self.layout: Layout = "pairs" if self._metadata(LAYOUT_KEY) == "pairs" else "merged"

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
        if count != self._threads:
            self._context.set_n_threads(count, count)
            self._threads = count

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

    def decode(self, sequence: int, start: int, tokens: list[int], logits: Collection[int]) -> bool:
        """Decode tokens at positions from `start`; False when the cache has no room.

        Logits are computed behind the tokens whose indices `logits` holds. Raises `PortError` when the engine fails.
        Batches are short, so whoever wants to stop asks between them: an abort callback would take Python's lock at
        every graph node.
        """
        self._require_open()
        batch = self._batch
        batch.clear()
        for index, token in enumerate(tokens):
            batch.add(token, start + index, [sequence], index in logits)
        try:
            self._context.decode(batch)
        except ValueError as error:
            if "slot" in str(error).lower():
                return False
            raise PortError(f"the language model refused a batch of {len(tokens)} tokens: {error}") from error
        except RuntimeError as error:
            raise PortError(f"the language model failed on a batch of {len(tokens)} tokens: {error}") from error
        return True

    def log_probabilities(self, index: int = -1) -> np.ndarray:
        """Natural log of the next token's distribution, float64 (vocabulary,).

        `index`: of a token of the last batch whose logits were asked for; -1: the last of those.
        """
        try:
            logits = np.array(self._context.get_logits_ith(index), dtype=np.float64)
        except (ValueError, RuntimeError) as error:
            raise PortError(f"the language model has no logits: {error}") from error
        if logits.shape != (self.vocabulary_size,) or not math.isfinite(peak := float(logits.max())):
            raise PortError("the language model gave no usable logits; the model file may be damaged")
        return logits - (peak + math.log(float(np.exp(logits - peak).sum())))

    def sampler(self, sampling: Sampling) -> Any:
        """A sampler chain for one reply."""
        if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0 and 0 < sampling.top_p <= 1):
            raise InputError(
                f"temperature must be 0 or more and top_p in (0, 1], not {sampling.temperature} and {sampling.top_p}"
            )
        params = self._library.LlamaSamplerChainParams()
        params.no_perf = True
        chain = self._library.LlamaSampler(params)
        if sampling.temperature == 0:
            chain.add_greedy()
        else:
            chain.add_top_k(_TOP_K)
            chain.add_top_p(sampling.top_p, 1)
            chain.add_temp(sampling.temperature)
            chain.add_dist(sampling.seed & 0xFFFFFFFF)
        return chain

    def sample(self, sampler: Any) -> int:
        """The next token behind the last decoded one."""
        return int(sampler.sample(self._context, -1))

    def remove(self, sequence: int, start: int) -> bool:
        """Drop a sequence's cells from position `start`; False when the model cannot go back by part."""
        self._require_open()
        return bool(self._context.memory_seq_rm(sequence, start, -1))

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` share the first `length` cells of `source`."""
        self._require_open()
        self._context.memory_seq_cp(source, target, 0, length)

    def close(self) -> None:
        """Free batch, context and model, in that order."""
        self._closed = True
        self._batch.close()
        self._context.close()
        self._model.close()


@cache
def _library() -> Any:
    """The library: the compiled one where it is installed and works, else the wheel."""
    try:
        from fullduplex.lm.engine import compiled as library
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # what a library that was built badly raises
        if getattr(error, "name", None) != "llama_cpp":
            _LOG.warning("llama-cpp-python is installed but not usable (%s); the wheel is taken", error)
        try:
            from cyllama.llama import llama_cpp as library
        except ImportError:
            raise MissingExtraError("cyllama", "talk") from None
    library.disable_logging()
    library.ggml_backend_load_all()
    _LOG.info("llama.cpp: %s", library.__name__)
    return library


def _model_type(library: Any) -> Any:
    """cyllama's model class with the `n_vocab` its own `get_logits_ith` asks for and its 0.2.18 lacks."""

    class Model(library.LlamaModel):
        @property
        def n_vocab(self) -> int:
            return int(self.get_vocab().n_vocab)

    return Model


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

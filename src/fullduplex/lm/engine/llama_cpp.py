"""llama.cpp, out of cyllama's wheel: the words of a model, and its sums where our own decoder cannot run it."""

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float32Array
from fullduplex.base.chat import Sampling
from fullduplex.base.errors import MissingExtraError, PortError
from fullduplex.kernels.decoder.library import BATCH_TOKENS
from fullduplex.lm.engine.sampling import TOP_K, check_sampling

__all__ = ["LlamaCppRunner", "llama_cpp", "open_model"]

# The cache may not change an answer, so a token's logits must not depend on how the tokens before it were batched. They
# do not, to the last bit, with these three settings together: flash attention (llama.cpp's other path sums in another
# order for one token than for several), batches under 64 (from there it works in tiles), and no repacked weights (whose
# kernels treat the last few rows of a batch apart). The price was measured at 0 to 12 percent of speed. What remains: with
# several conversations in one cache, the places of a conversation's cells move its beliefs by a rounding (0.007 nats).
_FLASH_ATTENTION_ON = 1
_REPACK_WEIGHTS = False


@cache
def llama_cpp() -> Any:
    """The library. Raises `MissingExtraError`."""
    try:
        from cyllama.llama import llama_cpp as library
    except ImportError:
        raise MissingExtraError("cyllama", "talk") from None
    library.disable_logging()
    library.ggml_backend_load_all()
    return library


def open_model(path: str, *, words_only: bool) -> Any:
    """A model, or its words and metadata without room for weights. Raises what cyllama raises."""
    library = llama_cpp()
    params = library.LlamaModelParams()
    params.n_gpu_layers = 0
    params.no_alloc, params.use_mmap = words_only, not words_only
    params.use_extra_bufts = _REPACK_WEIGHTS
    return _model_type()(path, params, verbose=False)


class LlamaCppRunner:
    """A model and one context of it."""

    def __init__(self, path: str, *, threads: int, context: int, sequences: int) -> None:
        """Raises what cyllama raises when the file is no model or there is no room."""
        library = llama_cpp()
        params = library.LlamaContextParams()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = min(BATCH_TOKENS, context)
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = sequences
        params.kv_unified = True  # one pool of cells: forks share them, and any conversation may use them all
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.no_perf = True
        self._model = open_model(path, words_only=False)
        self._context = library.LlamaContext(self._model, params, verbose=False)
        self._batch = library.LlamaBatch(n_tokens=params.n_batch, embd=0, n_seq_max=1)
        self._threads = threads

    def use_threads(self, count: int) -> None:
        """See `Runner`."""
        if count != self._threads:
            self._context.set_n_threads(count, count)
            self._threads = count

    def decode(
        self, sequence: int, start: int, tokens: list[int], logits: Collection[int], cancelled: Callable[[], bool]
    ) -> bool:
        """See `Runner`. It cannot be called back: an abort callback would take Python's lock at every graph node."""
        del cancelled
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

    def logits(self, index: int) -> Float32Array:
        """See `Runner`. cyllama makes a list of them, so a draw is left to llama.cpp."""
        try:
            return np.array(self._context.get_logits_ith(index), dtype=np.float32)
        except (ValueError, RuntimeError) as error:
            raise PortError(f"the language model has no logits: {error}") from error

    def sampler(self, sampling: Sampling) -> Any:
        """See `Runner`: the chain `Sampler` has, with draws of its own."""
        check_sampling(sampling)
        library = llama_cpp()
        params = library.LlamaSamplerChainParams()
        params.no_perf = True
        chain = library.LlamaSampler(params)
        if sampling.temperature == 0:
            chain.add_greedy()
        else:
            chain.add_top_k(TOP_K)
            chain.add_top_p(sampling.top_p, 1)
            chain.add_temp(sampling.temperature)
            chain.add_dist(sampling.seed & 0xFFFFFFFF)
        return chain

    def sample(self, sampler: Any) -> int:
        """See `Runner`."""
        return int(sampler.sample(self._context, -1))

    def remove(self, sequence: int, start: int) -> bool:
        """See `Runner`: a recurrent model cannot go back by part."""
        return bool(self._context.memory_seq_rm(sequence, start, -1))

    def copy(self, source: int, target: int, length: int) -> None:
        """See `Runner`."""
        self._context.memory_seq_cp(source, target, 0, length)

    def close(self) -> None:
        """See `Runner`."""
        self._batch.close()
        self._context.close()
        self._model.close()


@cache
def _model_type() -> Any:
    """cyllama's model class with the `n_vocab` its own `get_logits_ith` asks for and its 0.2.18 lacks."""

    class Model(llama_cpp().LlamaModel):
        @property
        def n_vocab(self) -> int:
            return int(self.get_vocab().n_vocab)

    return Model

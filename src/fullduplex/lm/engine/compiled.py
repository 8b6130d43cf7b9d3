"""llama.cpp compiled for this very processor (the package llama-cpp-python), with the few classes of cyllama the engine uses.

cyllama's wheel holds code for any processor with AVX2. llama-cpp-python comes as source, and its compiler may use what this
one has besides (AVX-512, VNNI). Names, arguments and errors are cyllama's, so that `Engine` need not know which it has.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp  # pyright: ignore[reportMissingImports]
import numpy as np
from llama_cpp import llama_cpp as native  # pyright: ignore[reportMissingImports]

from fullduplex.base.arrays import Float32Array

__all__ = [
    "LlamaBatch",
    "LlamaContext",
    "LlamaContextParams",
    "LlamaModel",
    "LlamaModelParams",
    "LlamaSampler",
    "LlamaSamplerChainParams",
    "disable_logging",
    "ggml_backend_load_all",
]

_TESTED = "0.3.36"
if llama_cpp.__version__ != _TESTED:  # its functions and structures follow llama.cpp's, which change
    raise ImportError(f"it is version {llama_cpp.__version__}, and {_TESTED} is the one that is known")

LlamaModelParams = native.llama_model_default_params
LlamaContextParams = native.llama_context_default_params
LlamaSamplerChainParams = native.llama_sampler_chain_default_params

_NO_ROOM = 1  # what llama_decode returns when the cache has no slot


@native.llama_log_callback
def _say_nothing(level: int, text: bytes, user_data: Any) -> None:
    return


def disable_logging() -> None:
    """Keep llama.cpp's own messages off the terminal."""
    native.llama_log_set(_say_nothing, None)


def ggml_backend_load_all() -> None:
    """Begin; what computes is already linked in."""
    native.llama_backend_init()


class LlamaModel:
    """The weights. Raises `ValueError` for a file that is none."""

    def __init__(self, path: str, params: Any, *, verbose: bool) -> None:
        del verbose
        self.handle = native.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            raise ValueError("llama.cpp refused it")
        self.n_ctx_train = int(native.llama_model_n_ctx_train(self.handle))

    def get_vocab(self) -> "LlamaVocab":
        """Its tokens."""
        return LlamaVocab(native.llama_model_get_vocab(self.handle))

    def meta_val_str(self, key: str) -> str:
        """A line of the file's metadata. Raises `KeyError`."""
        size = native.llama_model_meta_val_str(self.handle, key.encode(), None, 0)
        if size < 0:
            raise KeyError(key)
        buffer = ctypes.create_string_buffer(size + 1)
        native.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def close(self) -> None:
        """Free it, once."""
        if self.handle:
            native.llama_model_free(self.handle)
            self.handle = None


class LlamaVocab:
    """Text to tokens and back."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.n_vocab = int(native.llama_vocab_n_tokens(handle))

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Ids. A text of n bytes has at most n tokens, and a few that are added."""
        data = text.encode()
        found = (native.llama_token * (len(data) + 8))()
        count = native.llama_tokenize(self._handle, data, len(data), found, len(found), add_special, parse_special)
        return list(found[:count])

    def detokenize(self, tokens: Sequence[int], *, remove_special: bool, unparse_special: bool) -> str:
        """Text; bytes that are no character come out as the replacement character."""
        ids = (native.llama_token * len(tokens))(*tokens)
        buffer = ctypes.create_string_buffer(8 * len(tokens) + 32)
        while True:
            size = native.llama_detokenize(
                self._handle, ids, len(tokens), buffer, len(buffer), remove_special, unparse_special
            )
            if size >= 0:
                return buffer.raw[:size].decode("utf-8", "replace")
            buffer = ctypes.create_string_buffer(-size)

    def token_to_piece(self, token: int, lstrip: int, special: bool) -> str:
        """Text of one token."""
        buffer = ctypes.create_string_buffer(256)
        size = native.llama_token_to_piece(self._handle, token, buffer, len(buffer), lstrip, special)
        return buffer.raw[: max(size, 0)].decode("utf-8", "replace")

    def token_bos(self) -> int:
        """The token a text begins with."""
        return int(native.llama_vocab_bos(self._handle))

    def get_add_bos(self) -> bool:
        """Whether it should."""
        return bool(native.llama_vocab_get_add_bos(self._handle))

    def is_eog(self, token: int) -> bool:
        """Whether it ends a reply."""
        return bool(native.llama_vocab_is_eog(self._handle, token))

    def is_control(self, token: int) -> bool:
        """Whether no text gives it."""
        return bool(native.llama_vocab_is_control(self._handle, token))


class LlamaBatch:
    """Tokens to decode. Raises `IndexError` when it is full."""

    def __init__(self, *, n_tokens: int, embd: int, n_seq_max: int) -> None:
        self.value = native.llama_batch_init(n_tokens, embd, n_seq_max)
        self._capacity, self._open = n_tokens, True

    def clear(self) -> None:
        """Take all out."""
        self.value.n_tokens = 0

    def add(self, token: int, position: int, sequences: list[int], logits: bool) -> None:
        """Put one in."""
        batch, at = self.value, self.value.n_tokens
        if at >= self._capacity:
            raise IndexError(f"the batch is full with {at} tokens")
        batch.token[at], batch.pos[at], batch.logits[at] = token, position, logits
        batch.n_seq_id[at] = len(sequences)
        for index, sequence in enumerate(sequences):
            batch.seq_id[at][index] = sequence
        batch.n_tokens = at + 1

    def close(self) -> None:
        """Free it, once."""
        if self._open:
            self._open = False
            native.llama_batch_free(self.value)


class LlamaContext:
    """The cache and what computes. Raises `ValueError` when it cannot be made."""

    def __init__(self, model: LlamaModel, params: Any, *, verbose: bool) -> None:
        del verbose
        self.handle = native.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ValueError("llama.cpp could not make a context for it")
        self._vocabulary_size = model.get_vocab().n_vocab
        self._memory = native.llama_get_memory(self.handle)
        self.n_ctx = int(native.llama_n_ctx(self.handle))

    def set_n_threads(self, one: int, several: int) -> None:
        """Threads for one token, and for several."""
        native.llama_set_n_threads(self.handle, one, several)

    def decode(self, batch: LlamaBatch) -> None:
        """Raises `ValueError` when the cache has no slot or the batch is no batch, `RuntimeError` when it fails."""
        status = native.llama_decode(self.handle, batch.value)
        if status == _NO_ROOM:
            raise ValueError("no slot in the cache")
        if status == -1:
            raise ValueError("not a batch")
        if status:
            raise RuntimeError(f"llama_decode returned {status}")

    def get_logits_ith(self, index: int) -> Float32Array:
        """Logits behind a token of the last batch: a view that the next decode overwrites. Raises `ValueError`."""
        found = native.llama_get_logits_ith(self.handle, index)
        if not found:
            raise ValueError(f"no logits were asked for at {index}")
        return np.ctypeslib.as_array(found, (self._vocabulary_size,))

    def memory_seq_rm(self, sequence: int, start: int, end: int) -> bool:
        """Drop cells; False when the model cannot."""
        return bool(native.llama_memory_seq_rm(self._memory, sequence, start, end))

    def memory_seq_cp(self, source: int, target: int, start: int, end: int) -> None:
        """Share cells."""
        native.llama_memory_seq_cp(self._memory, source, target, start, end)

    def close(self) -> None:
        """Free it, once."""
        if self.handle:
            native.llama_free(self.handle)
            self.handle = None


class LlamaSampler:
    """A chain of samplers."""

    def __init__(self, params: Any) -> None:
        self._chain = native.llama_sampler_chain_init(params)

    def add_greedy(self) -> None:
        """The likeliest."""
        native.llama_sampler_chain_add(self._chain, native.llama_sampler_init_greedy())

    def add_top_k(self, count: int) -> None:
        """The likeliest `count`."""
        native.llama_sampler_chain_add(self._chain, native.llama_sampler_init_top_k(count))

    def add_top_p(self, share: float, least: int) -> None:
        """The likeliest that together have `share`."""
        native.llama_sampler_chain_add(self._chain, native.llama_sampler_init_top_p(share, least))

    def add_temp(self, temperature: float) -> None:
        """Divide logits."""
        native.llama_sampler_chain_add(self._chain, native.llama_sampler_init_temp(temperature))

    def add_dist(self, seed: int) -> None:
        """Draw."""
        native.llama_sampler_chain_add(self._chain, native.llama_sampler_init_dist(seed))

    def sample(self, context: LlamaContext, index: int) -> int:
        """A token behind the last decoded one."""
        return int(native.llama_sampler_sample(self._chain, context.handle, index))

    def __del__(self) -> None:
        chain, self._chain = getattr(self, "_chain", None), None
        if chain and native is not None:
            native.llama_sampler_free(chain)

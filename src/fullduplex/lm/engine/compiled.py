"""A model run by our own decoder, compiled for this very processor (`fullduplex.kernels.decoder`).

Weights come out of the GGUF file as they are: an int5 weight stays one. llama.cpp still reads the file's words.
"""

import ctypes
import mmap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float32Array
from fullduplex.base.chat import Sampling
from fullduplex.base.errors import FormatError, PortError
from fullduplex.kernels.decoder.library import MOST_THREADS, Decoder, Shape, Tensor
from fullduplex.lm.engine.cells import Cells
from fullduplex.lm.engine.sampling import Sampler
from fullduplex.lm.gguf_files import BLOCK, ENDS, gguf_names

__all__ = ["CompiledRunner", "Weights"]

_HALVES = {"llama": False, "qwen2": True}  # architectures: are rotary pairs the halves of a head, or neighbours
_PARTS = {ours.rpartition(".")[2]: theirs for theirs, ours in (ENDS | BLOCK).items()}
_BIASED = ("query", "key", "value")
_F32 = 0


class Weights:
    """Sizes and tensors of a GGUF file, in place."""

    def __init__(self, library: Any, path: Path, vocabulary: int, context: int) -> None:
        """Read the header.

        Args:
            library: cyllama's llama_cpp.
            path: a GGUF file.
            vocabulary: how many tokens it has.
            context: cells of the cache.

        Raises:
            FormatError: the model is of another make than the decoder's, or damaged.
        """
        self._file = file = library.GGUFContext.from_file(str(path))
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._raw = np.frombuffer(self._map, np.uint8)
        self._tensors = {entry["name"]: entry for entry in file.get_all_tensor_info()}
        architecture = str(file.get_value("general.architecture"))
        if architecture not in _HALVES:
            raise FormatError(f"the compiled decoder is not for the architecture {architecture}")
        self._prefix = architecture
        width, heads = self._number("embedding_length"), self._number("attention.head_count")
        self.shape = Shape(
            layers=self._number("block_count"),
            width=width,
            heads=heads,
            kv_heads=self._number("attention.head_count_kv"),
            head_width=width // max(heads, 1),
            hidden=self._number("feed_forward_length"),
            vocabulary=vocabulary,
            context=context,
            halves=_HALVES[architecture],
            epsilon=float(self._value("attention.layer_norm_rms_epsilon")),
            rope_base=float(self._value("rope.freq_base", 10_000.0)),
        )
        self._check()

    def _value(self, key: str, otherwise: Any = None) -> Any:
        name = f"{self._prefix}.{key}"
        if self._file.find_key(name) < 0:
            if otherwise is None:
                raise FormatError(f"the file does not say {name}")
            return otherwise
        return self._file.get_value(name)

    def _number(self, key: str) -> int:
        value = self._value(key)
        if not isinstance(value, int) or value < 1:
            raise FormatError(f"the file says {self._prefix}.{key} is {value}")
        return value

    def _check(self) -> None:
        """Whatever would be left out of the sums makes the answer wrong: nothing may be there that is not known."""
        shape = self.shape
        known = {f"{name}.weight" for name in gguf_names(shape.layers)}
        known |= {f"blk.{i}.{_PARTS[part]}.bias" for i in range(shape.layers) for part in _BIASED}
        unknown = sorted(self._tensors.keys() - known)
        if unknown:
            raise FormatError(f"the compiled decoder does not know the tensor {unknown[0]}")
        for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
            if self._value(key, shape.head_width) != shape.head_width:
                raise FormatError(
                    f"the compiled decoder is not for {key} {self._value(key)} in heads of {shape.head_width}"
                )
        if self._value("rope.scaling.type", "none") != "none":
            raise FormatError("the compiled decoder does not scale rotary positions")

    def _find(self, name: str) -> tuple[str, dict[str, Any] | None]:
        layer, _, part = name.rpartition(".")
        if name == "output" and "output.weight" not in self._tensors:
            part = "embedding"  # tied
        stem = part.removesuffix("_bias")
        theirs = f"{_PARTS[stem]}.{'weight' if stem == part else 'bias'}"
        theirs = f"blk.{layer}.{theirs}" if layer else theirs
        return theirs, self._tensors.get(theirs)

    def _bytes(self, name: str, entry: dict[str, Any]) -> np.ndarray:
        begin = int(self._file.data_offset) + int(entry["offset"])
        found = self._raw[begin : begin + int(entry["size"])]
        if found.size != entry["size"]:
            raise FormatError(f"the file ends before its tensor {name} does; verify it")
        return found

    def forget_pages(self) -> None:
        """All but the embedding is laid out elsewhere now: its pages need not count as this process's memory."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def tensor(self, name: str) -> Tensor:
        """A matrix. Raises `FormatError` when it is not there."""
        theirs, entry = self._find(name)
        if entry is None:
            raise FormatError(f"the file has no tensor {theirs}")
        shape = self.shape
        attention, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        rows, columns = {
            "query": (attention, shape.width),
            "key": (kv, shape.width),
            "value": (kv, shape.width),
            "out": (shape.width, attention),
            "gate": (shape.hidden, shape.width),
            "up": (shape.hidden, shape.width),
            "down": (shape.width, shape.hidden),
        }.get(name.partition(".")[2], (shape.vocabulary, shape.width))
        return Tensor(kind=int(entry["type"]), data=self._bytes(theirs, entry), rows=rows, columns=columns)

    def vector(self, name: str) -> Float32Array | None:
        """Weights of a norm, or a bias; None for a bias that is not there."""
        theirs, entry = self._find(name)
        if entry is None and name.endswith("bias"):
            return None
        if entry is None or entry["type"] != _F32:
            raise FormatError(f"the file has no tensor {theirs} of float32")
        return np.array(self._bytes(theirs, entry)).view(np.float32)


class CompiledRunner:
    """The decoder and its cache."""

    def __init__(self, library: ctypes.CDLL, weights: Weights, *, threads: int, sequences: int) -> None:
        """Lay out the weights. Raises `FormatError` as `Decoder` does."""
        self._cells = Cells(weights.shape.context, sequences)
        self._decoder = Decoder(library, weights.shape, weights.tensor, weights.vector)
        weights.forget_pages()
        self.use_threads(threads)
        self._logits: dict[int, Float32Array] = {}

    def use_threads(self, count: int) -> None:
        """Threads of the decodes to come; more than it has helpers for are as many as it has."""
        self._threads = min(count, MOST_THREADS)

    def decode(
        self, sequence: int, start: int, tokens: list[int], logits: Collection[int], cancelled: Callable[[], bool]
    ) -> bool:
        """See `Runner`. What a sequence holds beyond `start` is dropped."""
        self._logits = {}
        if start > self._cells.length(sequence):
            raise PortError(f"tokens at {start} need those before them: {self._cells.length(sequence)} are there")
        self._cells.truncate(sequence, start)
        if not self._cells.extend(sequence, len(tokens)):
            return False
        wanted = sorted(index for index in logits if 0 <= index < len(tokens))
        try:
            found = self._decoder.run(
                tokens, start, self._cells.of(sequence), wanted, threads=self._threads, cancelled=cancelled
            )
        except ValueError as error:
            raise PortError(f"the language model refused a batch of {len(tokens)} tokens: {error}") from error
        self._logits = dict(zip(wanted, found, strict=True))
        return True

    def logits(self, index: int) -> Float32Array:
        """See `Runner`."""
        found = self._logits.get(max(self._logits, default=-1) if index < 0 else index)
        if found is None:
            raise PortError(f"the language model has no logits at {index}: none were asked for")
        return found

    def sampler(self, sampling: Sampling) -> Sampler:
        """See `Runner`."""
        return Sampler(sampling)

    def sample(self, sampler: Sampler) -> int:
        """See `Runner`."""
        return sampler.draw(self.logits(-1))

    def remove(self, sequence: int, start: int) -> bool:
        """See `Runner`."""
        self._cells.truncate(sequence, start)
        return True

    def copy(self, source: int, target: int, length: int) -> None:
        """See `Runner`."""
        self._cells.share(source, target, length)

    def close(self) -> None:
        """See `Runner`."""
        self._decoder.close()

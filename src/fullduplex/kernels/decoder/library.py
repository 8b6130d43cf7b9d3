"""The compiled decoder: built at its first use, opened on a model's tensors, run on a few tokens at a time.

Sources are `decoder.c` and the headers beside it. Without a compiler, with one that fails, or with `FULLDUPLEX_NATIVE=off`
there is none, and who asks is told why in the log. ctypes releases the GIL during a call.
"""

import ctypes
import logging
import mmap
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float32Array, Int32Array
from fullduplex.base.errors import FormatError
from fullduplex.kernels.native.build import Sources, open_library, wanted

__all__ = [
    "BATCH_TOKENS",
    "MOST_THREADS",
    "SOURCES",
    "Decoder",
    "Shape",
    "Tensor",
    "decoder_library",
    "load_decoder",
    "pack",
    "product",
    "product_ref",
]

_LOG = logging.getLogger(__name__)
_BASE = ("-O3", "-fPIC", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-pthread")
# Never -ffast-math: sums keep their order, or a token's numbers would depend on what is decoded with it. Fused multiply-adds
# are written where they are meant, so that all ways to multiply, and all compilers, round alike.
_FLAG_SETS = (
    (*_BASE, "-march=native", "-mprefer-vector-width=512"),
    (*_BASE, "-march=native"),
    (*_BASE, "-mcpu=native"),
    _BASE,
)
SOURCES = Sources(
    folder=Path(__file__).parent, units=("decoder",), name="decoder", flag_sets=_FLAG_SETS,
    what="compiled decoder", otherwise="llama.cpp runs brains instead, more slowly",
)  # fmt: skip
BATCH_TOKENS = 32
_LAYERS_OF_A_TOKEN_AT_ONCE = 32  # of several tokens fewer, so that a caller may call the decode back soon
_CACHE_VALUE_BYTES = 2
MOST_THREADS = 16
_BLOCK = 32  # activations to a scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a model. `halves`: rotary pairs are the two halves of a head, not neighbours. `context`: cells of the cache."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    context: int
    halves: bool
    epsilon: float
    rope_base: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A matrix (rows, columns) as a GGUF file holds it; `kind` is ggml's number of its type."""

    kind: int
    data: np.ndarray
    rows: int
    columns: int


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("bits", ctypes.c_int32),
        ("affine", ctypes.c_int32),
    )


_MATRICES = ("query", "key", "value", "out", "gate", "up", "down")
_VECTORS = ("attention_norm", "feed_norm", "query_bias", "key_bias", "value_bias")
_SIZES = ("layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary", "context", "halves")


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Matrix) for name in _MATRICES),
        *((name, ctypes.c_void_p) for name in _VECTORS),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in _SIZES),
        ("epsilon", ctypes.c_float),
        ("rope_base", ctypes.c_float),
        ("embedding_type", ctypes.c_int32),
        ("embedding", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("output", _Matrix),
        ("layer", ctypes.c_void_p),
    )


def decoder_library() -> ctypes.CDLL | None:
    """The compiled decoder of this machine, or None."""
    return _declare(wanted(SOURCES))


def load_decoder(folder: Path, compiler: str | None, sources: Sources = SOURCES) -> ctypes.CDLL | None:
    """Build with `compiler` into `folder` and load; `sources` with other flags is another of the ways to multiply."""
    return _declare(open_library(folder, compiler, sources))


def _declare(library: ctypes.CDLL | None) -> ctypes.CDLL | None:
    if library is None:
        return None
    pointer, number, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    told: dict[str, tuple[type | None, tuple[type, ...]]] = {
        "decoder_way": (ctypes.c_char_p, ()),
        "decoder_packed_bytes": (size, (number, size, size, pointer)),
        "decoder_pack": (number, (number, pointer, size, size, pointer)),
        "decoder_product": (number, (pointer, pointer, number, pointer)),
        "decoder_open": (pointer, (pointer,)),
        "decoder_begin": (None, (pointer, pointer, number, number, pointer, number)),
        "decoder_layers": (None, (pointer, number, number)),
        "decoder_end": (None, (pointer, pointer, number, pointer)),
        "decoder_close": (None, (pointer,)),
    }
    for name, (result, arguments) in told.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _room(size: int) -> np.ndarray:
    """Zeroed bytes in huge pages where the system has them: weights stream through once for every token."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory has no huge pages
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            _LOG.debug("no huge pages")
    return np.frombuffer(memory, np.uint8, size)


def _layout(library: ctypes.CDLL, tensor: Tensor) -> tuple[int, int, bool]:
    """Bytes of a tensor laid out, bits of a weight, whether blocks have minima. Raises `FormatError` as `pack`."""
    told = (ctypes.c_int64 * 3)()
    size = library.decoder_packed_bytes(tensor.kind, tensor.rows, tensor.columns, told)
    if not size:
        raise FormatError(f"no layout for a tensor of type {tensor.kind} with rows of {tensor.columns}")
    data, needed = tensor.data, int(told[2])
    if data.dtype != np.uint8 or not data.flags.c_contiguous or data.size != needed:
        raise FormatError(f"a tensor of {tensor.rows} rows has {data.size} of {data.dtype}, expected {needed} bytes")
    return int(size), int(told[0]), bool(told[1])


def pack(library: ctypes.CDLL, tensor: Tensor) -> tuple[np.ndarray, int, bool]:
    """A tensor laid out for the decoder: bytes, bits of a weight, and whether a block has a minimum beside its scale.

    Raises:
        FormatError: a type this code does not know, columns that are not whole blocks, or another number of bytes.
    """
    size, bits, affine = _layout(library, tensor)
    packed = _room(size)
    library.decoder_pack(tensor.kind, tensor.data.ctypes.data, tensor.rows, tensor.columns, packed.ctypes.data)
    return packed, bits, affine


def product(library: ctypes.CDLL, tensor: Tensor, x: Float32Array) -> Float32Array:
    """x (tokens, columns) times a matrix: (tokens, rows). Activations become 8-bit codes, 32 to a scale; see `product_ref`.

    Raises:
        FormatError: as `pack`. ValueError: another shape or type of `x`.
    """
    if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != tensor.columns or not x.flags.c_contiguous:
        raise ValueError(f"x must be float32 (tokens, {tensor.columns}), not {x.dtype} {x.shape}")
    packed, bits, affine = pack(library, tensor)
    matrix = _Matrix(packed.ctypes.data, tensor.rows, tensor.columns, bits, affine)
    out = np.empty((x.shape[0], tensor.rows), np.float32)
    if library.decoder_product(ctypes.byref(matrix), x.ctypes.data, x.shape[0], out.ctypes.data):
        raise MemoryError("no room for the codes of a token")
    return out


def product_ref(weight: Float32Array, x: Float32Array) -> Float32Array:
    """The slow twin of `product`, on weights (rows, columns) as numbers."""
    blocks = x.reshape(x.shape[0], -1, _BLOCK)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = np.divide(127.0, largest, out=np.zeros_like(largest), where=largest > 0)
    codes = np.rint(blocks * inverse)
    rounded = (codes * (largest / np.float32(127.0))).reshape(x.shape)
    return (rounded.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.float32)


def _within(numbers: Int32Array, end: int) -> bool:
    return not numbers.size or bool(numbers.min() >= 0 and numbers.max() < end)


class Decoder:
    """An open model with its key-value cache. Not thread-safe.

    A token's numbers depend on the tokens before it alone: not on batches, threads, cells or what was called back.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        shape: Shape,
        tensor: Callable[[str], Tensor],
        vector: Callable[[str], Float32Array | None],
    ) -> None:
        """Lay out the weights.

        Args:
            library: `decoder_library()`.
            shape: the model's sizes.
            tensor: the matrix of a name: "embedding", "output", or "<layer>.<query, key, value, out, gate, up, down>".
            vector: "norm" or "<layer>.<attention_norm, feed_norm, query_bias, key_bias, value_bias>"; a bias may be None.

        Raises:
            FormatError: sizes or types that this code is not for.
        """
        self.shape = shape
        self._library = library
        self._kept: list[np.ndarray] = []  # what the C side points into
        layers = (_Layer * shape.layers)()
        kv = shape.kv_heads * shape.head_width
        sizes = {"attention_norm": shape.width, "feed_norm": shape.width, "key_bias": kv, "value_bias": kv}
        sizes["query_bias"] = shape.heads * shape.head_width
        cache_bytes = shape.context * kv * _CACHE_VALUE_BYTES
        for index, layer in enumerate(layers):
            for name in _MATRICES:
                setattr(layer, name, self._matrix(tensor(f"{index}.{name}")))
            for name in _VECTORS:
                setattr(layer, name, self._vector(vector(f"{index}.{name}"), sizes[name]))
            layer.keys, layer.values = self._address(_room(cache_bytes)), self._address(_room(cache_bytes))
        embedding = tensor("embedding")
        _layout(library, embedding)
        self._layers = layers
        self._model = _Model(
            *(int(getattr(shape, name)) for name in _SIZES),
            shape.epsilon,
            shape.rope_base,
            embedding.kind,
            self._address(embedding.data),
            self._vector(vector("norm"), shape.width),
            self._matrix(tensor("output")),
            ctypes.addressof(layers),
        )
        self._handle = library.decoder_open(ctypes.byref(self._model))
        if not self._handle:
            raise FormatError(f"the compiled decoder is not for a model of these sizes: {shape}")
        self.close = weakref.finalize(self, library.decoder_close, self._handle)  # frees what the C side holds, once
        self.close.atexit = False  # another thread may still be inside; the process takes it all with it

    def _address(self, array: np.ndarray | None) -> int | None:
        if array is None:
            return None
        self._kept.append(array)
        return array.ctypes.data

    def _vector(self, vector: Float32Array | None, size: int) -> int | None:
        if vector is not None and (vector.dtype != np.float32 or vector.shape != (size,)):
            raise FormatError(f"a norm or a bias of {size} numbers has {vector.shape} of {vector.dtype}")
        return self._address(vector)

    def _matrix(self, tensor: Tensor) -> _Matrix:
        packed, bits, affine = pack(self._library, tensor)
        return _Matrix(self._address(packed), tensor.rows, tensor.columns, bits, affine)

    def run(
        self,
        tokens: Sequence[int],
        start: int,
        cells: Int32Array,
        wanted: Sequence[int],
        *,
        threads: int = 1,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Float32Array:
        """Logits behind the tokens with the indices `wanted`, (wanted, vocabulary).

        Args:
            tokens: 1 to `BATCH_TOKENS` ids in the vocabulary, at positions from `start`.
            start: tokens before them.
            cells: int32, the cell of every position up to the last token's; those of `tokens` are written.
            wanted: indices into `tokens`.
            threads: how many may work, 1 to 16.
            cancelled: asked between groups of layers.

        Raises:
            InterruptedError: it was called back; the cells of `tokens` hold nothing.
            ValueError: too many tokens or none, or a number that is none of a token, a position, a cell or a thread.
        """
        ids = np.asarray(tokens, np.int32)
        behind = np.asarray(wanted, np.int32)
        self._check(ids, start, cells, behind, threads)
        logits = np.empty((behind.size, self.shape.vocabulary), np.float32)
        library = self._library
        library.decoder_begin(self._handle, ids.ctypes.data, ids.size, start, cells.ctypes.data, threads)
        called_back = False
        together = max(2, _LAYERS_OF_A_TOKEN_AT_ONCE // ids.size)
        for first in range(0, self.shape.layers, together):
            called_back = cancelled()
            if called_back:
                break
            library.decoder_layers(self._handle, first, min(first + together, self.shape.layers))
        count = 0 if called_back else behind.size
        library.decoder_end(self._handle, behind.ctypes.data, count, logits.ctypes.data)
        if called_back:
            raise InterruptedError
        return logits

    def _check(self, ids: Int32Array, start: int, cells: Int32Array, behind: Int32Array, threads: int) -> None:
        """The C side trusts what it is given."""
        shape, end = self.shape, start + ids.size
        if not self.close.alive:
            raise ValueError("the decoder is closed")
        if not 1 <= ids.size <= BATCH_TOKENS or not _within(ids, shape.vocabulary):
            raise ValueError(f"1 to {BATCH_TOKENS} tokens of {shape.vocabulary} are decoded at a time, not {ids}")
        if start < 0 or end > shape.context or cells.dtype != np.int32 or not cells.flags.c_contiguous:
            raise ValueError(f"positions {start} to {end} are not in a context of {shape.context} cells")
        if cells.size < end or not _within(cells[:end], shape.context):
            raise ValueError(f"{end} positions need as many cells of {shape.context}")
        if not _within(behind, ids.size) or not 1 <= threads <= MOST_THREADS:
            raise ValueError(f"logits behind {behind} of {ids.size} tokens by {threads} threads of {MOST_THREADS}")

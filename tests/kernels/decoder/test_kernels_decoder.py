"""The compiled decoder against numbers written down in NumPy; the same bits whatever comes together; what it refuses."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import FormatError
from fullduplex.kernels.decoder.library import (
    SOURCES,
    Decoder,
    Shape,
    Tensor,
    decoder_library,
    load_decoder,
    pack,
    product,
    product_ref,
)
from fullduplex.kernels.native.build import find_compiler

gguf = pytest.importorskip("gguf", reason="needs the extra talk")
pytestmark = pytest.mark.skipif(decoder_library() is None, reason="no C compiler here")

KINDS = gguf.GGMLQuantizationType
SHAPE = Shape(
    layers=3,
    width=64,
    heads=4,
    kv_heads=2,
    head_width=16,
    hidden=96,
    vocabulary=101,
    context=48,
    halves=True,
    epsilon=1e-5,
    rope_base=10_000.0,
)
WAYS = {"avx2": ("-mno-avx512f",), "plain": ("-DPLAIN_DOTS",)}


@pytest.fixture(scope="module", params=["native", *WAYS])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The decoder of this machine, and the other ways to multiply it has."""
    if request.param == "native":
        return decoder_library()
    flags = tuple(
        (*("-O2" if flag == "-O3" else flag for flag in each), *WAYS[request.param]) for each in SOURCES.flags
    )
    found = load_decoder(tmp_path_factory.mktemp("way"), find_compiler(), replace(SOURCES, flag_sets=flags))
    if found is None:
        pytest.skip(f"this compiler does not know {WAYS[request.param]}")
    return found


def tensor_of(weight: np.ndarray, kind: int) -> tuple[Tensor, np.ndarray]:
    """A matrix as the file would hold it, and the numbers it then stands for."""
    kind = KINDS(kind)
    if kind in (KINDS.F32, KINDS.F16):
        data = weight.astype(np.float32 if kind == KINDS.F32 else np.float16)
        return stored(data.view(np.uint8).ravel(), kind, weight.shape), data.astype(np.float32)
    data = gguf.quantize(weight.astype(np.float32), kind)
    return stored(data.ravel(), kind, weight.shape), gguf.dequantize(data, kind)


def stored(data: np.ndarray, kind: int, shape: tuple[int, ...]) -> Tensor:
    return Tensor(kind=int(kind), data=np.ascontiguousarray(data), rows=shape[0], columns=shape[1])


def random_k(kind: int, rows: int, columns: int, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """gguf writes no k-quants, so their bytes are drawn, with scales that are numbers."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (rows, columns // 256, size), dtype=np.uint8)
    scales = (0.01 * rng.uniform(0.5, 1.5, (rows, columns // 256, 2))).astype(np.float16).view(np.uint8)
    if kind == KINDS.Q6_K:
        blocks[..., -2:] = scales[..., :2]
    else:
        blocks[..., :4] = scales
    return stored(blocks.ravel(), kind, (rows, columns)), gguf.dequantize(blocks.reshape(rows, -1), kind)


def case(name: str, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    kind = KINDS[name]
    return random_k(kind, 37, 512, rng) if name.endswith("_K") else tensor_of(rng.normal(size=(50, 96)), kind)


NAMES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")


@pytest.mark.parametrize("name", NAMES)
def test_products_of_every_type(library, name: str) -> None:
    """Rows that are no whole tile. Types that become 8 bits are rounded once more; the others are exact but for scales."""
    tensor, weight = case(name, np.random.default_rng(7))
    x = np.random.default_rng(8).normal(size=(3, tensor.columns)).astype(np.float32)
    x[1, :32] = 0.0
    found, expected = product(library, tensor, x), product_ref(weight, x)
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    assert apart < (0.01 if name in ("F32", "F16", "BF16", "Q6_K") else 1e-3 if name.endswith("_K") else 3e-6)


def test_the_ways_agree_to_the_bit(library) -> None:
    rng = np.random.default_rng(0)
    for name in NAMES:
        tensor, _ = case(name, rng)
        x = rng.normal(size=(2, tensor.columns)).astype(np.float32)
        np.testing.assert_array_equal(product(library, tensor, x), product(decoder_library(), tensor, x))


def test_packed_size_and_what_is_refused(library) -> None:
    tensor, _ = tensor_of(np.ones((20, 64)), KINDS.Q5_0)
    packed, bits, affine = pack(library, tensor)
    assert (packed.size, bits, affine) == (2 * 2 * (32 + 320), 5, False)
    for wrong in (
        replace(tensor, kind=99),
        replace(tensor, columns=48),
        replace(tensor, rows=21),
        replace(tensor, data=tensor.data.view(np.int8)),
        replace(tensor, data=tensor.data[::2]),
    ):
        with pytest.raises(FormatError):
            pack(library, wrong)
    with pytest.raises(ValueError, match="float32"):
        product(library, tensor, np.ones((1, 65), np.float32))


@dataclass
class Tiny:
    """A model of random weights in mixed types, as the decoder reads it and as numbers."""

    shape: Shape
    tensors: dict[str, Tensor]
    numbers: dict[str, np.ndarray]
    vectors: dict[str, np.ndarray]

    def open(self, library) -> Decoder:
        return Decoder(library, self.shape, self.tensors.__getitem__, self.vectors.get)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Written down from the papers, whole sequences in float64, activations rounded where the decoder rounds them."""
        shape, heads = self.shape, self.shape.heads
        x = self.numbers["embedding"][tokens].astype(np.float64)
        length = len(tokens)
        for i in range(shape.layers):
            times = partial(self.times, i)
            y = self.norm(x, f"{i}.attention_norm")
            query, key, value = (
                (times(name, y) + self.vectors.get(f"{i}.{name}_bias", 0.0)).reshape(length, -1, shape.head_width)
                for name in ("query", "key", "value")
            )
            query, key = self.rotated(query), self.rotated(key)
            key, value = (np.repeat(self.cached(each), heads // shape.kv_heads, axis=1) for each in (key, value))
            score = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(shape.head_width)
            score = np.where(np.tri(length, dtype=bool), score, -np.inf)
            share = np.exp(score - score.max(-1, keepdims=True))
            share /= share.sum(-1, keepdims=True)
            x = x + times("out", np.einsum("hqk,khd->qhd", share, value).reshape(length, -1))
            y = self.norm(x, f"{i}.feed_norm")
            gate = times("gate", y)
            x = x + times("down", gate / (1 + np.exp(-gate)) * times("up", y))
        return product_ref(self.numbers["output"], self.norm(x, "norm").astype(np.float32))

    def cached(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float16).astype(np.float64)

    def times(self, layer: int, name: str, y: np.ndarray) -> np.ndarray:
        return product_ref(self.numbers[f"{layer}.{name}"], y.astype(np.float32)).astype(np.float64)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.shape.epsilon) * self.vectors[name]

    def rotated(self, x: np.ndarray) -> np.ndarray:
        width = self.shape.head_width
        angle = np.arange(len(x))[:, None, None] * self.shape.rope_base ** (-2.0 * np.arange(width // 2) / width)
        out = np.empty_like(x)
        if self.shape.halves:
            first, second = slice(None, width // 2), slice(width // 2, None)
        else:
            first, second = slice(None, None, 2), slice(1, None, 2)
        a, b = x[..., first], x[..., second]
        out[..., first], out[..., second] = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
        return out


def tiny(*, halves: bool = True, biased: bool = True, width: int = 16) -> Tiny:
    rng = np.random.default_rng(3)
    shape = replace(SHAPE, halves=halves, head_width=width, heads=64 // width, kv_heads=64 // width // 2)
    attention, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    sizes = {
        "query": (attention, 64), "key": (kv, 64), "value": (kv, 64), "out": (64, attention),
        "gate": (96, 64), "up": (96, 64), "down": (64, 96),
    }  # fmt: skip
    kinds = [KINDS.Q8_0, KINDS.Q5_0, KINDS.Q4_1, KINDS.Q5_1, KINDS.Q4_0]
    model = Tiny(shape, {}, {}, {"norm": rng.normal(1.0, 0.1, 64).astype(np.float32)})

    def add(name: str, size: tuple[int, int], kind: int) -> None:
        weight = rng.normal(size=size) / np.sqrt(size[1])
        model.tensors[name], model.numbers[name] = tensor_of(weight, kind)

    add("embedding", (shape.vocabulary, 64), KINDS.Q5_1)
    add("output", (shape.vocabulary, 64), KINDS.Q8_0)
    for i in range(shape.layers):
        for at, (name, size) in enumerate(sizes.items()):
            add(f"{i}.{name}", size, kinds[(at + i) % len(kinds)])
        for name in ("attention_norm", "feed_norm"):
            model.vectors[f"{i}.{name}"] = rng.normal(1.0, 0.1, 64).astype(np.float32)
        if biased:
            for name, size in (("query", attention), ("key", kv), ("value", kv)):
                model.vectors[f"{i}.{name}_bias"] = rng.normal(0, 0.2, size).astype(np.float32)
    return model


CELLS = np.random.default_rng(1).permutation(SHAPE.context).astype(np.int32)
TOKENS = [int(token) for token in np.random.default_rng(2).integers(0, SHAPE.vocabulary, 40)]


def in_batches(decoder: Decoder, sizes: list[int], *, threads: int = 1, cells: np.ndarray = CELLS) -> np.ndarray:
    found, start = [], 0
    for size in sizes:
        batch = TOKENS[start : start + size]
        found.append(decoder.run(batch, start, cells, range(len(batch)), threads=threads))
        start += size
    return np.concatenate(found)


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize(("halves", "biased"), [(True, True), (False, False)])
def test_logits_equal_those_of_numpy(library, halves: bool, biased: bool, width: int) -> None:
    model = tiny(halves=halves, biased=biased, width=width)
    decoder = model.open(library)
    found, expected = in_batches(decoder, [32, 8]), model.logits(TOKENS)
    # To 1e-7, but for a rounding that falls on the other side of a half: it moves a code by one, and what follows.
    apart = np.abs(found - expected) / np.abs(expected).max()
    assert np.median(apart) < 2e-3 and apart.max() < 0.05
    wrong = replace(model, shape=replace(model.shape, halves=not halves)).logits(TOKENS)
    assert np.median(np.abs(found - wrong)) > 20 * np.median(np.abs(found - expected))
    decoder.close()


def test_batches_threads_and_cells_change_nothing(library) -> None:
    decoder = tiny().open(library)
    alone = in_batches(decoder, [1] * 40)
    for sizes in ([32, 8], [7, 13, 20], [2] * 20):
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(in_batches(decoder, sizes, threads=threads), alone)
    np.testing.assert_array_equal(in_batches(decoder, [32, 8], cells=np.arange(48, dtype=np.int32)), alone)
    last = decoder.run(TOKENS[30:40], 30, np.arange(48, dtype=np.int32), [9, 0, 4])
    np.testing.assert_array_equal(last, alone[[39, 30, 34]])
    assert decoder.run(TOKENS[:3], 0, CELLS, []).shape == (0, SHAPE.vocabulary)
    decoder.close()


def test_the_ways_decode_to_the_same_bits(library) -> None:
    ours, native = tiny().open(library), tiny().open(decoder_library())
    np.testing.assert_array_equal(in_batches(ours, [5, 32, 3]), in_batches(native, [1] * 40))
    ours.close()
    native.close()


@pytest.mark.parametrize("asked_before", [0, 1])
def test_called_back_it_stops_and_can_go_on(asked_before: int) -> None:
    """Before the first layer, and between the groups of layers of a batch."""
    decoder = tiny().open(decoder_library())
    expected = in_batches(decoder, [20])
    answers = [False] * asked_before + [True]
    with pytest.raises(InterruptedError):
        decoder.run(TOKENS[:20], 0, CELLS, [0], cancelled=lambda: answers.pop(0))
    assert answers == []
    np.testing.assert_array_equal(in_batches(decoder, [20]), expected)
    decoder.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": []},
        {"tokens": [0] * 33},
        {"tokens": [SHAPE.vocabulary]},
        {"tokens": [-1]},
        {"start": -1},
        {"start": SHAPE.context},
        {"cells": CELLS[:1]},
        {"cells": CELLS.astype(np.int64)},
        {"cells": np.full(48, 48, np.int32)},
        {"wanted": [2]},
        {"wanted": [-1]},
        {"threads": 0},
        {"threads": 17},
    ],
)
def test_numbers_that_are_none(wrong: dict[str, object]) -> None:
    decoder = tiny().open(decoder_library())
    asked = {"tokens": [1, 2], "start": 0, "cells": CELLS, "wanted": [1], "threads": 1} | wrong
    with pytest.raises(ValueError, match=r"\d"):
        decoder.run(asked.pop("tokens"), asked.pop("start"), asked.pop("cells"), asked.pop("wanted"), **asked)
    decoder.close()
    decoder.close()
    with pytest.raises(ValueError, match="closed"):
        decoder.run([1], 0, CELLS, [])


def test_models_it_is_not_for() -> None:
    model = tiny()
    for change in ({"kv_heads": 3}, {"head_width": 24}, {"hidden": 80}):
        with pytest.raises(FormatError):
            replace(model, shape=replace(SHAPE, **change)).open(decoder_library())
    model.vectors["norm"] = np.ones(65, np.float32)
    with pytest.raises(FormatError, match="64"):
        model.open(decoder_library())


def test_without_a_compiler_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(SOURCES, name="broken", flag_sets=(("--no-such-flag",),))
    for _ in range(2):
        assert load_decoder(tmp_path / "none", None) is None
        assert load_decoder(tmp_path, find_compiler(), broken) is None
    told = [record.message for record in caplog.records if "llama.cpp runs brains instead" in record.message]
    assert sum("--no-such-flag" in each for each in told) == 1
    assert len(told) - 1 <= 1, "no compiler: said once a process, perhaps before"
    assert list(tmp_path.iterdir()) == []

"""Our own decoder on a real model says what llama.cpp says, and gives way to it where it cannot run one."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asked import CATS, FRANCE, partial, said
from fullduplex.base.chat import Message
from fullduplex.base.errors import FormatError, InputError, PortError
from fullduplex.kernels.decoder.library import decoder_library
from fullduplex.lm.engine import Engine
from fullduplex.lm.engine.compiled import Weights
from fullduplex.lm.engine.llama_cpp import llama_cpp
from fullduplex.lm.llama import LlamaBrain

pytestmark = pytest.mark.skipif(decoder_library() is None, reason="no C compiler here")

TEXT = "The capital of France is Paris. How far away is the moon? It is about 384,000 kilometres away, which is"


def opened(path: Path, *, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> Engine:
    with monkeypatch.context() as patch:
        if not compiled:
            patch.setenv("FULLDUPLEX_NATIVE", "off")
        engine = Engine(path, threads=1, context=256, sequences=2)
        engine.prepare()
    assert engine.compiled is compiled
    return engine


@pytest.fixture
def both(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, Engine]]:
    pair = (
        opened(model_path, compiled=True, monkeypatch=monkeypatch),
        opened(model_path, compiled=False, monkeypatch=monkeypatch),
    )
    yield pair
    for one in pair:
        one.close()


def test_beliefs_are_those_of_llama_cpp(both: tuple[Engine, Engine]) -> None:
    """But for the rounding of activations, which moves either away from the unrounded model by 0.003 nats."""
    beliefs = []
    for one in both:
        tokens = one.tokenize(TEXT, False)
        assert one.decode(0, 0, tokens, range(len(tokens)))
        beliefs.append(np.array([one.log_probabilities(index) for index in range(len(tokens))]))
    ours, theirs = beliefs
    divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=-1)
    assert divergence.mean() < 0.02 and divergence.max() < 0.2
    assert (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean() > 0.85
    nats = [-belief[np.arange(len(tokens) - 1), tokens[1:]].mean() for belief in beliefs]
    assert nats[0] == pytest.approx(nats[1], abs=0.05)


def test_sequences_share_and_part(both: tuple[Engine, Engine]) -> None:
    for one in both:
        tokens = one.tokenize(TEXT, False)
        assert one.decode(0, 0, tokens, {len(tokens) - 1})
        whole = one.log_probabilities()
        one.copy(0, 1, 10)
        assert one.remove(0, 0)
        assert one.decode(1, 10, tokens[10:], {len(tokens) - 11})
        np.testing.assert_array_equal(one.log_probabilities(), whole)


def test_a_full_cache_and_what_was_not_asked_for(both: tuple[Engine, Engine]) -> None:
    for one in both:
        tokens = one.tokenize("word " * 300, False)[:256]
        for start in range(0, 256, 32):
            assert one.decode(0, start, tokens[start : start + 32], ())
        assert not one.decode(1, 0, tokens[:32], ())
        with pytest.raises(PortError):
            one.log_probabilities(7)
        assert one.remove(0, 0)
        with pytest.raises(PortError):
            one.decode(1, 0, [one.vocabulary_size], ())


def test_positions_that_are_missing_and_cells_that_are_not_there(both: tuple[Engine, Engine]) -> None:
    ours, _ = both
    with pytest.raises(PortError, match="need those before"):
        ours.decode(0, 3, [1, 2], ())
    with pytest.raises(InputError, match="cannot share"):
        ours.copy(0, 1, 5)
    with pytest.raises(InterruptedError):
        ours.decode(0, 0, [1, 2], (), lambda: True)
    assert ours.decode(0, 0, [1, 2], ())


def test_what_others_read_moves_no_bit(model_path: Path) -> None:
    """Twenty conversations in four sequences, cells in any order: beliefs are those of an empty cache."""
    brain = LlamaBrain(model_path, context=256, slots=4)
    assert brain._engine.compiled
    tokens = brain._tokens(FRANCE, "reply")
    brain._advance("first", tokens, logits=True)
    expected = brain._engine.log_probabilities()
    for turn in range(20):
        said(brain, (CATS, FRANCE, partial("Hello"), (Message("user", "So?"),))[turn % 4], f"{turn % 7}")
        brain._advance(f"{turn % 5}", tokens, logits=True)
        np.testing.assert_array_equal(brain._engine.log_probabilities(), expected)
    brain.close()


def test_more_threads_than_there_are_helpers(model_path: Path) -> None:
    engine = Engine(model_path, threads=99, context=64, sequences=1)
    assert engine.decode(0, 0, [1, 2], ())
    engine.use_threads(40)
    assert engine.decode(0, 2, [1, 2], ())
    engine.close()


@pytest.mark.parametrize("old", [b"general.architecture", b"blk.7.ffn_up.weight", b"llama.attention.head_count_kv"])
def test_a_model_of_another_make_is_run_by_llama_cpp_or_refused(
    model_path: Path, tmp_path: Path, old: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Names in the header are changed in place, so that what they named is missing."""
    data = model_path.read_bytes()
    at = data.index(old) + len(old) - 1
    (tmp_path / "other.gguf").write_bytes(data[:at] + b"X" + data[at + 1 :])
    with pytest.raises(FormatError), caplog.at_level(logging.WARNING):
        Engine(tmp_path / "other.gguf", threads=1, context=64, sequences=1).prepare()
    with pytest.raises((FormatError, KeyError, ValueError)):
        Weights(llama_cpp(), tmp_path / "other.gguf", 49152, 64)


def test_a_tensor_that_is_not_known_gives_way(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fullduplex.lm.engine.compiled._HALVES", {"qwen2": True})
    engine = Engine(model_path, threads=1, context=64, sequences=1)
    with caplog.at_level(logging.WARNING):
        engine.prepare()
    assert not engine.compiled and re.search(r"run by llama\.cpp: .* architecture llama", caplog.text)
    assert engine.decode(0, 0, engine.tokenize("Hello", False), {0})
    engine.close()
    with pytest.raises(PortError, match="closed"):
        engine.decode(0, 0, [1], ())


def test_a_file_that_is_cut_short_is_refused(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(model_path.read_bytes()[:5_000_000])
    with pytest.raises(FormatError, match="cut short"):
        Engine(tmp_path / "cut.gguf", threads=1, context=256, sequences=1)

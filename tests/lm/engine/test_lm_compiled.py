"""llama.cpp compiled here says what the wheel says: the same tokens, texts and answers, and the same errors."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FormatError, PortError
from fullduplex.lm.engine import llama_cpp as engine
from fullduplex.lm.llama import LlamaBrain

pytest.importorskip("llama_cpp", reason="needs the extra native (make native)")
wheel = pytest.importorskip("cyllama.llama.llama_cpp", reason="needs the extra talk")

TEXT = "Hello there, \u00fcber caf\u00e9 \U0001f600! <|im_end|> Who  wrote it?\n\n 12,345"


@pytest.fixture
def both(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[engine.Engine, engine.Engine]]:
    def opened(library: ModuleType | None) -> engine.Engine:
        with monkeypatch.context() as patch:
            if library is not None:
                library.disable_logging()
                library.ggml_backend_load_all()
                patch.setattr(engine, "_library", lambda: library)
            return engine.Engine(model_path, threads=1, context=256, sequences=2)

    pair = opened(None), opened(wheel)
    assert engine._library().__name__ == "fullduplex.lm.engine.compiled"
    yield pair
    for one in pair:
        one.close()


def test_words_are_the_same(both: tuple[engine.Engine, engine.Engine]) -> None:
    here, there = both
    assert (here.vocabulary_size, here.context_tokens) == (there.vocabulary_size, there.context_tokens)
    assert (here.template, here.layout, here.beginning()) == (there.template, there.layout, there.beginning())
    for special in (False, True):
        tokens = here.tokenize(TEXT, special)
        assert tokens == there.tokenize(TEXT, special)
        assert here.detokenize(tokens) == there.detokenize(tokens)
    assert here.detokenize(here.tokenize(TEXT, False)) == TEXT
    np.testing.assert_array_equal(here.turn_end_tokens(), there.turn_end_tokens())
    assert here.tokenize("", False) == []


def test_beliefs_are_the_same(both: tuple[engine.Engine, engine.Engine]) -> None:
    """But for what other instructions round otherwise: less than storing the weights in q8_0 instead of q4_1 changes them."""
    beliefs = []
    for one in both:
        tokens = one.tokenize("The capital of France is", False)
        assert one.decode(0, 0, tokens, {len(tokens) - 1})
        beliefs.append(one.log_probabilities())
        one.copy(0, 1, len(tokens))
        assert one.decode(1, len(tokens), tokens[:1], {0})
        assert one.remove(1, 0) and one.remove(0, 2)
    apart = float((np.exp(beliefs[1]) * (beliefs[1] - beliefs[0])).sum())
    assert -1e-9 < apart < 0.01  # Kullback-Leibler
    assert beliefs[0].argmax() == beliefs[1].argmax()


def test_a_full_cache_and_what_is_closed(both: tuple[engine.Engine, engine.Engine]) -> None:
    here, _ = both
    tokens = here.tokenize("word " * 300, False)[:256]
    for start in range(0, 256, 32):
        assert here.decode(0, start, tokens[start : start + 32], ())
    assert not here.decode(1, 0, tokens[:32], ())
    with pytest.raises(PortError):
        here.log_probabilities(7)


def test_draws_follow_the_seed(model_path: Path) -> None:
    brain = LlamaBrain(model_path, context=256)
    asked = (Message("user", "Tell me about whales."),)
    drawn = [
        "".join(brain.stream(asked, Sampling(temperature=0.9, seed=seed, max_tokens=12), key="a"))
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    brain.close()


def test_a_file_that_is_cut_short_is_refused(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(model_path.read_bytes()[:5_000_000])
    with pytest.raises(FormatError, match="cut short"):
        engine.Engine(tmp_path / "cut.gguf", threads=1, context=256, sequences=1)

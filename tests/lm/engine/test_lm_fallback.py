"""The brain run by llama.cpp, as where there is no compiler: it answers, scores, is called back, draws by the seed.

Whoever reads first fixes where cells lie, and in llama.cpp that moves a belief by a rounding: every test has its own cache.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from asked import CATS, FRANCE, SHORT, SYSTEM, partial, said
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.lm.llama import LlamaBrain


@pytest.fixture
def plain(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaBrain]:
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    brain = LlamaBrain(model_path, context=256, slots=2)
    assert not brain._engine.compiled
    yield brain
    brain.close()


def test_it_answers_and_keeps_what_it_read(plain: LlamaBrain) -> None:
    reply = said(plain, FRANCE, "a")
    assert len(reply.split()) > 2
    assert said(plain, FRANCE, "a") == reply
    read = plain.prefill(partial("What is the capital of France "), key="a")
    assert read.reused_tokens > 10 and read.new_tokens <= 2


def test_it_scores_an_end_and_likelihoods(plain: LlamaBrain) -> None:
    low, high = (
        plain.end_probability(partial(text), key="a") for text in ("What is the", "What is the capital of France")
    )
    assert 0 <= low < high <= 1
    begun = (*FRANCE, Message("assistant", "The capital of France is"))
    assert plain.log_likelihood(begun, " Paris", key="a").sum() > plain.log_likelihood(begun, " Rome", key="a").sum()


def test_it_is_called_back_between_batches_and_tokens(plain: LlamaBrain) -> None:
    asked: list[int] = []
    long = (SYSTEM, Message("user", "one two three four five six seven eight nine ten. " * 8))
    assert (
        list(
            plain.stream(
                long, Sampling(max_tokens=4), key="a", cancelled=lambda: len(asked) >= 2 or bool(asked.append(1))
            )
        )
        == []
    )
    heard: list[str] = []
    for piece in plain.stream(CATS, SHORT, key="b", cancelled=lambda: len(heard) >= 2):
        heard.append(piece)
    assert len(heard) == 2


def test_draws_follow_the_seed(plain: LlamaBrain) -> None:
    def drawn(seed: int) -> str:
        plain.forget("a")
        return said(plain, CATS, "a", Sampling(max_tokens=16, temperature=1.2, seed=seed))

    assert len({drawn(seed) for seed in range(4)}) > 1
    with pytest.raises(InputError, match="top_p"):
        said(plain, CATS, "a", Sampling(top_p=0.0))


def test_a_full_cache_makes_room(plain: LlamaBrain) -> None:
    long = Message("user", "one two three four five six seven eight nine ten. " * 8)
    for key in "abc":
        assert plain.prefill((Message("system", f"You are number {key}."), long), key=key).new_tokens > 80
    assert said(plain, FRANCE, "d")

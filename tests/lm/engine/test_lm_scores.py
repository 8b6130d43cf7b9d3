"""What the GGUF brain says of words: whether they are all, how likely they are; read ahead, called back, to the bit."""

from collections.abc import Callable, Collection

import numpy as np
import pytest

from asked import FRANCE, SYSTEM, fresh, partial, said
from fullduplex.base.chat import Message
from fullduplex.base.errors import InputError
from fullduplex.lm.llama import LlamaBrain


@pytest.fixture
def decoded(brain: LlamaBrain, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of every decode from now on."""
    sizes: list[int] = []
    decode = brain._engine.decode

    def counting(
        sequence: int, start: int, tokens: list[int], logits: Collection[int], cancelled: Callable[[], bool]
    ) -> bool:
        sizes.append(len(tokens))
        return decode(sequence, start, tokens, logits, cancelled)

    monkeypatch.setattr(brain._engine, "decode", counting)
    return sizes


@pytest.mark.parametrize(
    ("whole", "cut"),
    [
        ("What is the capital of France", "What is the capital of"),
        ("I would like to book a table for two", "I would like to book a"),
        ("Can you tell me the time", "Can you tell me the"),
    ],
)
def test_end_probability_is_higher_at_the_end(brain: LlamaBrain, whole: str, cut: str) -> None:
    high = brain.end_probability(partial(whole), key="a")
    low = brain.end_probability(partial(cut), key="a")
    assert 0 <= low < high <= 1
    assert brain.end_probability(partial(whole + "?"), key="a") == high


def test_end_probability_of_silence_and_of_no_user(brain: LlamaBrain) -> None:
    assert brain.end_probability(partial(" ... "), key="a") == 0.0
    with pytest.raises(InputError, match="user"):
        brain.end_probability((SYSTEM,), key="a")


def test_end_probability_does_not_depend_on_the_cache(brain: LlamaBrain) -> None:
    expected = brain.end_probability(partial("I live in Paris"), key="a")
    brain.forget("a")
    for text in ("I", "I live", "I love", "I live in Paris and"):
        brain.end_probability(partial(text), key="b")
    assert brain.end_probability(partial("I live in Paris"), key="b") == expected


@pytest.mark.parametrize("question", ["What is the capital of France?", "So, " + "well, " * 30 + "what is a whale?"])
def test_reading_ahead_with_the_score_changes_nothing_and_saves_a_decode(
    brain: LlamaBrain, question: str, decoded: list[int]
) -> None:
    score = brain.end_probability(partial(question), key="a")
    reply = said(brain, partial(question), "a")
    brain.forget("a")
    assert brain.end_probability(partial(question), key="a", ahead=partial(question)) == score
    decoded.clear()
    assert said(brain, partial(question), "a") == reply
    assert decoded == [1] * len(decoded)  # the prompt was there, and what follows it was known
    others = partial("Who are you?")
    brain.end_probability(partial(question), key="a", ahead=partial(question))
    said(brain, others, "b")  # the engine's logits are now those of another conversation
    assert said(brain, partial(question), "a") == reply


def test_a_score_is_called_back(brain: LlamaBrain, decoded: list[int]) -> None:
    """Between batches, and by our own decoder in the middle of one, which is then read again."""
    asked = partial("so " * 60 + "what is a whale")
    score = brain.end_probability(asked, key="a")
    brain.forget("a")
    decoded.clear()
    assert brain.end_probability(asked, key="a", cancelled=lambda: len(decoded) == 2) == 0.0
    assert len(decoded) == 2
    assert brain.end_probability(asked, key="a") == score
    rest = decoded[2:]
    assert rest[-1] < 32 and rest[:-1] == [32] * brain._engine.compiled  # what had been read was not read again


def test_a_prompt_ahead_that_does_not_go_on_from_the_words_is_not_read(brain: LlamaBrain) -> None:
    score = brain.end_probability(partial("Good morning"), key="a")
    assert brain.end_probability(partial("Good morning"), key="b", ahead=partial("What is a whale?")) == score


def test_the_likelihood_of_a_text_is_that_of_its_tokens_one_by_one(brain: LlamaBrain) -> None:
    reply = fresh(brain, FRANCE)
    found = brain.log_likelihood(FRANCE, reply, key="a")
    tokens = brain._engine.tokenize(reply, False)
    for index, token in enumerate(tokens):
        brain.forget("b")
        brain._advance("b", [*brain._tokens(FRANCE, "reply"), *tokens[:index]], logits=True)
        belief = brain._engine.log_probabilities()
        assert int(belief.argmax()) == token  # the reply was decoded greedily
        assert float(belief[token]) == found[index]
    assert brain.log_likelihood(FRANCE, "Zebra crossing", key="a").mean() < found.mean()
    begun = (*FRANCE, Message("assistant", "The capital of France is"))
    assert brain.log_likelihood(begun, " Paris", key="a").sum() > brain.log_likelihood(begun, " Rome", key="a").sum()
    assert said(brain, FRANCE, "a") == reply
    for text in ("", "word " * 5000):
        with pytest.raises(InputError, match="log_likelihood"):
            brain.log_likelihood(FRANCE, text, key="a")


def test_log_probabilities_are_a_distribution(brain: LlamaBrain) -> None:
    brain.end_probability(partial("Hello"), key="a")
    log_probability = brain._engine.log_probabilities()
    assert float(np.exp(log_probability).sum()) == pytest.approx(1.0, abs=1e-9)

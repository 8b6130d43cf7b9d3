"""The brain without a model."""

import pytest

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.lm.brain import Brain
from fullduplex.lm.scripted import ScriptedBrain


def answer(brain: Brain, *texts: str, sampling: Sampling | None = None) -> str:
    messages = tuple(Message("user", text) for text in texts)
    return "".join(brain.stream(messages, sampling or Sampling(), key="a"))


def test_replies_follow_the_number_of_user_messages() -> None:
    brain = ScriptedBrain(("One two.", "Three."))
    assert [answer(brain, *"x" * turns) for turns in (1, 2, 3)] == ["One two.", "Three.", "One two."]


def test_rules_answer_briefly() -> None:
    brain = ScriptedBrain()
    assert answer(brain, "Hello there") == "Hello! How can I help?"
    assert answer(brain, "my name is anna") == "Nice to meet you, Anna."
    assert answer(brain, "{name} {0} %s") == "I heard: {name} {0} %s"
    assert answer(brain, " ") == "I did not hear anything."


def test_stops_and_lengths_are_kept() -> None:
    brain = ScriptedBrain(("one two three",))
    assert answer(brain, "x", sampling=Sampling(max_tokens=2)) == "one two "
    assert answer(brain, "x", sampling=Sampling(stop=(" three",))) == "one two"
    assert list(brain.stream((Message("user", "x"),), Sampling(), key="a", cancelled=lambda: True)) == []


def test_end_probability_knows_unfinished_words() -> None:
    brain = ScriptedBrain()
    assert brain.end_probability((Message("user", "I want to book a"),), key="a") == 0.1
    assert brain.end_probability((Message("user", "I want to book a flight"),), key="a") == 0.9
    assert brain.end_probability((Message("user", ""),), key="a") == 0.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError):
        ScriptedBrain("one string")
    with pytest.raises(InputError):
        ScriptedBrain().stream((), Sampling(), key="a")


def test_a_begun_answer_is_continued() -> None:
    brain = ScriptedBrain(("one two three four",))
    prompt = (Message("user", "count"), Message("assistant", "one two"))
    assert "".join(brain.stream(prompt, Sampling(), key="a")) == " three four"
    other = (Message("user", "count"), Message("assistant", "something else"))
    assert "".join(brain.stream(other, Sampling(), key="a")) == ""

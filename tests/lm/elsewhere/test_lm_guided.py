"""One brain answers and another listens: who is asked what."""

from collections.abc import Iterator

import pytest

from endpoint import Script, endpoint
from fullduplex.base.chat import Message, Sampling
from fullduplex.lm.brain import Brain, Prefill
from fullduplex.lm.guided import GuidedBrain
from fullduplex.lm.remote import RemoteBrain
from fullduplex.lm.scripted import ScriptedBrain

PROMPT = (Message("user", "I would like to"),)


class Listener(ScriptedBrain):
    """Tells what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[object, ...]] = []

    def prefill(self, messages, *, key, cancelled=lambda: False) -> Prefill:
        self.asked.append(("prefill", messages, key))
        return Prefill(new_tokens=3)

    def end_probability(self, messages, *, key, ahead=(), cancelled=lambda: False) -> float:
        self.asked.append(("end", messages, key, ahead))
        return super().end_probability(messages, key=key)

    def forget(self, key: str) -> None:
        self.asked.append(("forget", key))


@pytest.fixture
def script() -> Iterator[Script]:
    with endpoint() as state:
        yield state


def test_the_reply_comes_from_one_and_the_end_from_the_other(script: Script) -> None:
    listener = Listener()
    brain: Brain = GuidedBrain(RemoteBrain(script.address, "small"), listener)
    assert brain.layout == "merged"
    assert brain.prefill(PROMPT, key="a").new_tokens == 3
    probability = brain.end_probability(PROMPT, key="a", ahead=PROMPT)
    assert probability is not None and probability < 0.5
    assert script.requests == []
    assert "".join(brain.stream(PROMPT, Sampling(), key="a")) == "Héllo you"
    brain.forget("a")
    assert listener.asked == [("prefill", PROMPT, "a"), ("end", PROMPT, "a", ()), ("forget", "a")]

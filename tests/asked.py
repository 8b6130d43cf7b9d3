"""A brain that is asked: prompts, and what it said to them."""

from fullduplex.base.chat import Message, Sampling
from fullduplex.lm.brain import Prompt
from fullduplex.lm.llama import LlamaBrain

SYSTEM = Message("system", "You are a friendly assistant. Answer in one short sentence.")
FRANCE: Prompt = (SYSTEM, Message("user", "What is the capital of France?"))
CATS: Prompt = (SYSTEM, Message("user", "Tell me something about cats."))
SHORT = Sampling(max_tokens=12)


def said(brain: LlamaBrain, messages: Prompt, key: str, sampling: Sampling = SHORT) -> str:
    return "".join(brain.stream(messages, sampling, key=key))


def fresh(brain: LlamaBrain, messages: Prompt, sampling: Sampling = SHORT) -> str:
    """The reply with an empty cache."""
    keys = brain._table.keys()
    for key in keys:
        brain.forget(key)
    return said(brain, messages, "h", sampling)


def partial(text: str) -> Prompt:
    return (SYSTEM, Message("user", text))

"""Has the machine come back to its topic? Two judges: shared words, and a language model that was not tuned.

For the model, what follows the answer to a side question has come back if it is likelier as the continuation of the answer
that was broken off than as that of the side question's answer, and than as the beginning of a reply to nothing in particular:
the mean log likelihood of a token, in nats. A phrase of returning ("As I was saying,") is given in all three, so that only
what comes behind it is judged.

Shared words alone are a poor judge: side questions about the last words quote the topic, so a true return shares words with
both. `benchmarks/duplex/judge.py` measures both judges on continuations whose truth is known.
"""

from typing import Protocol

from fullduplex.base.arrays import Float64Array
from fullduplex.base.chat import Message
from fullduplex.lm.behaviour.likeness import likeness
from fullduplex.lm.brain import Prompt

__all__ = ["Likelihood", "came_back", "shares_words", "split_opening"]

_NOTHING = ("Please go on.", "")
_OPENING_WORDS = 7  # a phrase of returning has no more
_LEAST_WORDS = 3


class Likelihood(Protocol):
    """A language model that tells how likely a text is (`LlamaBrain`)."""

    def log_likelihood(self, messages: Prompt, text: str, *, key: str) -> Float64Array:
        """Natural log of the probability of every token of `text` behind `messages`, (tokens,)."""
        ...


def shares_words(topic: str, aside: str, rest: str) -> bool:
    """Whether `rest` is more like the text `topic` than like the side question and its answer."""
    return len(rest.split()) >= _LEAST_WORDS and likeness(rest, topic) > likeness(rest, aside)


def split_opening(text: str) -> tuple[str, str]:
    """A short beginning that ends in a comma, if there is one ("" otherwise), and what is behind it."""
    opening, comma, behind = text.partition(",")
    if comma and len(opening.split()) <= _OPENING_WORDS and len(behind.split()) >= _LEAST_WORDS:
        return opening.strip() + comma, behind.strip()
    return "", text.strip()


def came_back(
    judge: Likelihood, topic: tuple[str, str], aside: tuple[str, str], rest: str, *, system: str = ""
) -> bool:
    """Whether `rest` goes on with the topic.

    Args:
        judge: not the model that is examined.
        topic: the question, and what was said of its answer.
        aside: the side question and its answer, as it should be.
        rest: what was said behind that.
        system: the system message of the conversation; empty: none.
    """
    opening, text = split_opening(rest)
    if len(text.split()) < _LEAST_WORDS:
        return False

    def nats(exchange: tuple[str, str]) -> float:
        begun = f"{exchange[1].rstrip()} {opening}".strip()
        told = (Message("system", system),) if system else ()
        messages = (*told, Message("user", exchange[0]), Message("assistant", begun))
        return float(judge.log_likelihood(messages, f" {text}", key="judge").mean())

    return nats(topic) > max(nats(aside), nats(_NOTHING))

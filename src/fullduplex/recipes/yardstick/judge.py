"""A language model as the judge of answers to interruptions.

The rubric's meaning is the benchmark's (0, unrelated, to 5, perfectly related); the words are ours. A reply that cannot be
read is asked for again a fixed number of times, then counted as unrated.
"""

from dataclasses import replace

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.score import Judge, parse_rating
from fullduplex.lm.brain import Brain

__all__ = ["brain_judge", "judge_messages"]

_RUBRIC = (
    "In a spoken conversation the user interrupted the AI while it was speaking. Rate how well the AI's response fits "
    "what the user said when interrupting, from 0 (has nothing to do with it) over 3 (related to it) to 5 (answers "
    "exactly that). Write one sentence of analysis, then end with the line:\nI would rate the AI's response as N."
)


def judge_messages(context: str, interruption: str, answer: str) -> tuple[Message, ...]:
    """What the judge is asked."""
    case = f"The user said before: {context}\nThe user interrupted with: {interruption}\nThe AI's response: {answer}"
    return Message("system", _RUBRIC), Message("user", case)


def brain_judge(brain: Brain, *, attempts: int = 3, sampling: Sampling | None = None) -> Judge:
    """A judge that asks `brain`.

    Args:
        brain: any brain; a small one rates poorly, so check its ratings against people's before trusting them.
        attempts: how often to ask, each time with another seed, before giving up.
        sampling: how the brain decodes.
    """
    if attempts < 1:
        raise InputError(f"attempts is {attempts}; expected at least 1")
    base = sampling or Sampling(max_tokens=120, temperature=0.3)

    def judge(context: str, interruption: str, answer: str) -> float | None:
        messages = judge_messages(context, interruption, answer)
        for attempt in range(attempts):
            reply = "".join(brain.stream(messages, replace(base, seed=base.seed + attempt), key="judge"))
            rating = parse_rating(reply)
            if rating is not None:
                return rating
        return None

    return judge

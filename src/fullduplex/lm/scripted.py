"""A brain without a model: replies from a list, or short rule-based ones. For tests, and when no model is installed."""

import re
from collections.abc import Callable, Iterator

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.lm.brain import Layout, Prefill, Prompt, never

__all__ = ["ScriptedBrain"]

_PIECE = re.compile(r"^\s+\S+\s*|\S+\s*")

# Words with which an English sentence hardly ever ends: someone who stops here is still thinking.
_UNFINISHED = frozenset(
    "a an the and or but so because if when while that which who whose of to in on at for from with by about into my "
    "your his her its our their is are was were am be been will would can could should must may might do does did have "
    "has had i we they he she this these those um uh er very some any no not more most like than as what's it's".split()
)

_RULES = (
    (re.compile(r"\b(hello|hi|hey|good (morning|afternoon|evening))\b", re.IGNORECASE), "Hello! How can I help?"),
    (re.compile(r"\b(thanks|thank you)\b", re.IGNORECASE), "You are welcome."),
    (re.compile(r"\b(bye|goodbye|see you)\b", re.IGNORECASE), "Goodbye!"),
    (re.compile(r"\bmy name is (?P<name>[a-z]+)", re.IGNORECASE), "Nice to meet you, {name}."),
    (re.compile(r"\?\s*$"), "I have no language model to answer that, but I did hear you."),
)
_OTHERWISE = "I heard: {text}"
_SILENCE = "I did not hear anything."
_HEARD_WORDS = 12


class ScriptedBrain:
    """Answers the n-th user message with the n-th reply, starting again after the last; without replies, by rules.

    The reply depends only on the prompt, as with every brain.
    """

    layout: Layout = "merged"

    def __init__(self, replies: tuple[str, ...] = ()) -> None:
        if isinstance(replies, str):
            raise InputError("replies must be a tuple of strings, not one string")
        self._replies = tuple(replies)

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """Nothing to read ahead."""
        return Prefill()

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float:
        """0.9 for words that may end a sentence, 0.1 for words that hardly ever do, 0.0 for silence."""
        words = messages[-1].text.split() if messages and messages[-1].role == "user" else []
        if not words:
            return 0.0
        return (
            0.1 if words[-1].strip(".,;:…?!").lower() in _UNFINISHED or words[-1].endswith(("...", ",", "…")) else 0.9
        )

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The reply, word by word; `max_tokens` counts words."""
        if not messages:
            raise InputError("the prompt has no messages; pass at least one")
        return self._say(self._reply(messages), sampling, cancelled)

    def forget(self, key: str) -> None:
        """Nothing is kept."""

    def _say(self, reply: str, sampling: Sampling, cancelled: Callable[[], bool]) -> Iterator[str]:
        cuts = [position for stop in sampling.stop if stop and (position := reply.find(stop)) >= 0]
        for count, piece in enumerate(_PIECE.findall(reply[: min(cuts)] if cuts else reply)):
            if count >= sampling.max_tokens or cancelled():
                return
            yield piece

    def _reply(self, messages: Prompt) -> str:
        whole = self._whole_reply(messages)
        if messages[-1].role != "assistant":
            return whole
        begun = messages[-1].text  # an answer to be continued
        return whole[len(begun) :] if whole.startswith(begun) else ""

    def _whole_reply(self, messages: Prompt) -> str:
        spoken = [message for message in messages if message.role == "user"]
        if self._replies:
            return self._replies[max(0, len(spoken) - 1) % len(self._replies)]
        return _by_rule(spoken[-1] if spoken else Message("user", ""))


def _by_rule(message: Message) -> str:
    text = message.text.strip()
    if not text:
        return _SILENCE
    for pattern, answer in _RULES:
        if match := pattern.search(text):
            return answer.format(**{name: value.capitalize() for name, value in match.groupdict().items()})
    return _OTHERWISE.format(text=" ".join(text.split()[:_HEARD_WORDS]))

"""The brain port's shape: what every language model behind a conversation can do, whatever it runs on.

A prompt is a tuple of messages. Results depend only on (prompt, sampling); `key` names a conversation so that a model
may keep what it has already read of it, which changes the time an answer takes and never the answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from fullduplex.base.chat import Message, Sampling

__all__ = ["Brain", "Layout", "Prefill", "Prompt", "never"]

Prompt = tuple[Message, ...]
Layout = Literal["pairs", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """What reading a prompt ahead did: tokens that were already read, and tokens that were read now."""

    reused_tokens: int = 0
    new_tokens: int = 0


def never() -> bool:
    """The answer of a caller that never cancels."""
    return False


class Brain(Protocol):
    """A language model that answers prompts."""

    @property
    def layout(self) -> Layout:
        """How time slices are shown to it: "pairs" if it was taught them, "merged" if it is an ordinary chat model."""
        ...

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """Read a prompt whose last user message is still being spoken; its unfinished last word is left out.

        `cancelled` is asked now and then and ends it quietly; what was read stays read.
        """
        ...

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float | None:
        """Probability, 0 to 1, that the last user message is complete as it stands; None when it cannot be told.

        `ahead`: the prompt that will probably be answered next. A model may read it in the same breath; the result is
        the same with or without. `cancelled` is asked now and then and ends it: then the result means nothing.
        """
        ...

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The reply, piece by piece; `cancelled` is asked between tokens and ends it quietly."""
        ...

    def forget(self, key: str) -> None:
        """Drop what is kept of a conversation; an unknown key is fine."""
        ...

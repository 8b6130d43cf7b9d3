"""Two brains: one elsewhere that answers, and a small one here that knows when the caller has finished.

An endpoint that speaks the chat-completions protocol tells no probability that a sentence is complete, and without one the
machine has only the sound of a pause to go by. A model of 135 M parameters tells it in a few milliseconds.
"""

from collections.abc import Callable, Iterator

from fullduplex.base.chat import Sampling
from fullduplex.lm.brain import Brain, Layout, Prefill, Prompt, never

__all__ = ["GuidedBrain"]


class GuidedBrain:
    """Replies come from `answerer`, everything that is asked while the caller speaks goes to `listener`."""

    def __init__(self, answerer: Brain, listener: Brain) -> None:
        self.answerer = answerer
        self.listener = listener

    @property
    def layout(self) -> Layout:
        """The answerer's."""
        return self.answerer.layout

    def prefill(self, messages: Prompt, *, key: str, cancelled: Callable[[], bool] = never) -> Prefill:
        """The listener reads ahead, so that it can tell the end at once."""
        return self.listener.prefill(messages, key=key, cancelled=cancelled)

    def end_probability(
        self, messages: Prompt, *, key: str, ahead: Prompt = (), cancelled: Callable[[], bool] = never
    ) -> float | None:
        """The listener's; it need not read `ahead`, which it is not going to answer."""
        return self.listener.end_probability(messages, key=key, cancelled=cancelled)

    def stream(
        self, messages: Prompt, sampling: Sampling, *, key: str, cancelled: Callable[[], bool] = never
    ) -> Iterator[str]:
        """The answerer's reply."""
        return self.answerer.stream(messages, sampling, key=key, cancelled=cancelled)

    def forget(self, key: str) -> None:
        """Both forget."""
        self.answerer.forget(key)
        self.listener.forget(key)

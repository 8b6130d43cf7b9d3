"""Who writes what the source dialogues do not hold: fused transitions, new answers, side questions.

The paper asks ChatGPT and GPT-4. Offline, templates and the source itself must do: a transition is put before the message
as it is; the new answer is the source's own, from its beginning; a side question is about what was just said, and its
answer is read off it. A model, local or remote, can take any of the three over.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Protocol

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.slices import escape_controls
from fullduplex.lm.brain import Brain
from fullduplex.lm.ultrachat.dialogues import Exchange

__all__ = ["BrainRewriter", "Rewriter", "TemplateRewriter"]

_WORD = re.compile(r"[^\W\d_]{5,}")


class Rewriter(Protocol):
    """Three texts a builder may need. All are functions of their arguments."""

    def fuse(self, transition: str, message: str, draw: Random) -> str:
        """One message out of a transition (never empty) and what it leads to."""
        ...

    def answer(self, history: tuple[Exchange, ...], message: str, source: str, draw: Random) -> str:
        """A new answer to `message`, asked again after an answer that did not please; `source` is the old one."""
        ...

    def aside(self, said: str, draw: Random) -> tuple[str, str]:
        """A question about what the machine has `said` so far, and its answer."""
        ...


@dataclass(frozen=True, slots=True)
class TemplateRewriter:
    """No model: the same input gives the same output, and every answer is true of its source.

    `known`: side questions with their answers (`side_questions`), of which half of the asides are then made.
    """

    known: tuple[tuple[str, str], ...] = ()

    def fuse(self, transition: str, message: str, draw: Random) -> str:
        """Both, one after the other."""
        return f"{transition} {message}"

    def answer(self, history: tuple[Exchange, ...], message: str, source: str, draw: Random) -> str:
        """The source's answer, from its beginning."""
        return source

    def aside(self, said: str, draw: Random) -> tuple[str, str]:
        """Repeat, spell, or confirm something that was said, or ask something that is known."""
        if self.known and draw.random() < 0.5:
            return self.known[int(draw.random() * len(self.known))]
        words = list(dict.fromkeys(match.group() for match in _WORD.finditer(said[-600:])))
        forms = ("repeat", "spell", "confirm") if words else ("repeat",)
        form = forms[int(draw.random() * len(forms))]
        if form == "repeat":
            last = " ".join(said.split()[-8:]).strip(" ,;:-")
            return "Sorry, what was that last bit?", f'I said "{last}".'
        word = words[int(draw.random() * len(words))]
        if form == "spell":
            return f"How do you spell {word}?", f"That is {'-'.join(word.upper())}."
        return f"Wait, did you say {word}?", f"Yes, I said {word}."


@dataclass(frozen=True, slots=True)
class BrainRewriter:
    """A language model writes; where it writes nothing, the templates stand in."""

    brain: Brain
    sampling: Sampling = Sampling(max_tokens=160, temperature=0.7)

    def fuse(self, transition: str, message: str, draw: Random) -> str:
        """Ask for one natural message out of two."""
        task = (
            "Join the two sentences into one message that a person would say aloud. Answer with the message alone.\n"
            f'First: "{transition}"\nSecond: "{message}"'
        )
        return self._ask((Message("user", task),), draw) or TemplateRewriter().fuse(transition, message, draw)

    def answer(self, history: tuple[Exchange, ...], message: str, source: str, draw: Random) -> str:
        """Answer the repeated message with the conversation before it."""
        said: list[Message] = []
        for exchange in history:
            said += [Message("user", exchange.user), Message("assistant", exchange.machine)]
        return self._ask((*said, Message("user", message)), draw) or source

    def aside(self, said: str, draw: Random) -> tuple[str, str]:
        """Ask for a question about what was said, then for its answer."""
        task = (
            f'Someone says: "{said[-600:]}"\nWrite one short question that a listener might ask about it, nothing else.'
        )
        question = self._ask((Message("user", task),), draw)
        if not question:
            return TemplateRewriter().aside(said, draw)
        told = (Message("user", f'You have just said: "{said[-600:]}"\nAnswer in one sentence: {question}'),)
        answer = self._ask(told, draw)
        return (question, answer) if answer else TemplateRewriter().aside(said, draw)

    def _ask(self, messages: tuple[Message, ...], draw: Random) -> str:
        sampling = Sampling(
            max_tokens=self.sampling.max_tokens,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            seed=draw.getrandbits(31),
        )
        text = "".join(self.brain.stream(messages, sampling, key="rewrite"))
        return escape_controls(" ".join(text.split()).strip("\"' "))

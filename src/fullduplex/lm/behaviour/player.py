"""A conversation in slices without sound: the user's slices go in, the model's own slices come out and are remembered.

What the model is shown is what the time-division policy shows it: the pairs so far without those in which nobody spoke.
"""

from dataclasses import dataclass, field

from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.base.slices import IDLE, MOST_PAIRS, escape_controls, newest, slice_messages
from fullduplex.lm.brain import Brain

__all__ = ["Player"]


@dataclass(slots=True, kw_only=True)
class Player:
    """`pairs`: (user, machine) of the slices with words that are remembered, of which `most_pairs` at most are kept.

    Greedy decoding; `key` names the conversation.
    """

    brain: Brain
    system: str = ""
    slice_tokens: int = 10
    key: str = "behaviour"
    most_pairs: int = MOST_PAIRS
    pairs: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def __post_init__(self) -> None:
        if self.slice_tokens < 1:
            raise InputError(f"slice_tokens is {self.slice_tokens}; expected at least 1")

    def hear(self, user: str) -> str:
        """One slice: the user's words ("" for silence) to the machine's ("" for idle)."""
        messages = (*slice_messages(self.pairs, system=self.system), Message("user", escape_controls(user) or IDLE))
        sampling = Sampling(max_tokens=self.slice_tokens, temperature=0.0)
        text = "".join(self.brain.stream(messages, sampling, key=self.key)).replace(IDLE, "")
        machine = text if text.strip() else ""
        if user or machine:
            self.pairs = list(newest((*self.pairs, (user, machine)), self.most_pairs))
        return machine

    def finish(self, *, most: int) -> str:
        """The user is silent until the machine is, or for `most` slices: what it said."""
        said = ""
        for _ in range(most):
            machine = self.hear("")
            if not machine:
                break
            said += machine
        return said

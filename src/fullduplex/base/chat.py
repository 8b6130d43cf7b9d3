"""A chat as plain values: what the dialogue core says to a language model, whatever the model."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Message", "Role", "Sampling"]

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `text` is literal: nothing in it is ever read as a control token."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to decode. `temperature` 0 is greedy; `seed` makes sampling repeatable."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int = 0
    stop: tuple[str, ...] = ()

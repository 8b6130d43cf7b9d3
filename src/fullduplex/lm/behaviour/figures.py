"""Shares with their uncertainty: Wilson's interval (Wilson, J. Am. Stat. Assoc. 22, 1927), equation for a proportion."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fullduplex.base.errors import InputError
from fullduplex.lm.behaviour.player import Player
from fullduplex.lm.behaviour.returning import Likelihood
from fullduplex.lm.behaviour.trials import (
    TrialConfig,
    Verdict,
    pairs_of,
    try_facts,
    try_interruption,
    try_side_question,
)
from fullduplex.lm.brain import Brain
from fullduplex.lm.ultrachat.dialogues import Dialogue
from fullduplex.lm.ultrachat.facts import FactDialogue

__all__ = ["Share", "examine", "shares", "wilson"]

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """`right` of `count` decisions, with a 95 % interval from `low` to `high`."""

    right: int
    count: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share itself."""
        return self.right / self.count


def wilson(right: int, count: int) -> Share:
    """A share with Wilson's 95 % interval. Raises `InputError` unless 0 <= right <= count and count is positive."""
    if count < 1 or not 0 <= right <= count:
        raise InputError(f"{right} of {count} is no share; expected 0 <= right <= count, count at least 1")
    rate, scale = right / count, 1 + _Z * _Z / count
    centre = (rate + _Z * _Z / (2 * count)) / scale
    half = _Z * math.sqrt(rate * (1 - rate) / count + _Z * _Z / (4 * count * count)) / scale
    return Share(right, count, max(0.0, centre - half), min(1.0, centre + half))


def shares(verdicts: Iterable[Verdict]) -> dict[str, Share]:
    """Verdicts counted by measure."""
    right: dict[str, list[bool]] = {}
    for verdict in verdicts:
        right.setdefault(verdict.measure, []).append(verdict.right)
    return {measure: wilson(sum(found), len(found)) for measure, found in sorted(right.items())}


def examine(
    brain: Brain,
    chats: Sequence[Dialogue],
    facts: Sequence[FactDialogue],
    config: TrialConfig,
    *,
    system: str = "",
    slice_tokens: int = 10,
    judge: Likelihood | None = None,
) -> Iterable[list[Verdict]]:
    """Every trial, one after the other: two a chat and one a told-facts dialogue; yields the verdicts of each.

    `judge`: a model that was not tuned, which says whether the machine has come back to its topic; None: shared words alone.
    """

    def player() -> Player:
        brain.forget("behaviour")
        return Player(brain=brain, system=system, slice_tokens=slice_tokens)

    for chat, other in pairs_of(chats):
        yield try_interruption(player(), chat, other, config)
        yield try_side_question(player(), chat, config, judge)
    for number, one in enumerate(facts):
        yield try_facts(player(), one, number, config)

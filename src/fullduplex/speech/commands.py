"""A lone "Stop." must not be lost: short sounds are compared with the commands that a listener may shout.

A recogniser misreads a single shouted word more often than a sentence ("Stop." becomes "Stomper."): it has no context.
But it can say how well a given text fits the sound. A command that fits almost as well as the text it chose, and fits
well by itself, is what was said. This is contextual biasing of a few phrases, decided on whole hypotheses.

The limits were set on two speakers, none of whom is among the caller's clips, at three speeds (scripts/command_limits.py):
44 of 48 commands are found, and of 426 other texts, half of them chosen because they sound
like commands, 27 are taken for one ("weight", "wheat", "know", "way", and three of six times "I know"). How well a command must
fit by itself decides nothing there between -5 and -7 nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fullduplex.base.errors import ConfigError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.recogniser import Hypothesis

__all__ = ["COMMANDS", "CommandConfig", "Scorer", "prefer_command"]

COMMANDS = ("Stop.", "No.", "Wait.", "Hold on.", "No, stop.", "Wait, wait.", "Stop it.", "Excuse me.")


class Scorer(Protocol):
    """A recogniser that can say how well texts fit a sound."""

    def score(self, pcm: Pcm, candidates: Sequence[str | tuple[int, ...]]) -> list[Hypothesis]:
        """Each candidate (a text, or the tokens of a hypothesis) with its log probability."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandConfig:
    """When a command replaces what was read.

    `max_deficit_nats`: how much less likely than the free reading it may be. `min_score_nats`: how likely it must be.
    Sounds longer than `longest_s` and readings of more than `most_words` are sentences and are left alone.

    Raises `ConfigError` without commands.
    """

    commands: tuple[str, ...] = COMMANDS
    max_deficit_nats: float = 2.2
    min_score_nats: float = -6.0
    longest_s: float = 1.6
    most_words: int = 3

    def __post_init__(self) -> None:
        if not self.commands or not all(command.strip() for command in self.commands):
            raise ConfigError(f"commands is {self.commands!r}; expected at least one text, none of them empty")


def prefer_command(scorer: Scorer, pcm: Pcm, free: Hypothesis, config: CommandConfig) -> Hypothesis:
    """`free`, or the command that fits the sound (N,) at 16 kHz almost as well.

    Costs one more encoding and one decoder pass over all commands; nothing for sentences and empty readings.
    """
    sentence = pcm.size > config.longest_s * EAR_RATE_HZ or len(free.text.split()) > config.most_words
    if sentence or not free.tokens or free.text in config.commands:
        return free
    read, *commands = scorer.score(pcm, (free.tokens, *config.commands))
    best = max(commands, key=lambda command: command.score)
    fits = best.score >= config.min_score_nats and best.score >= read.score - config.max_deficit_nats
    return best if fits else free

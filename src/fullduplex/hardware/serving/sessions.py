"""Full-duplex load: sessions that step in every frame of their whole life and never leave the batch.

A talking machine that listens takes a token in every frame, silence included. All sessions of a device share a frame's
deadline: work on a frame must end before the next one starts. An interruption brings a burst of tokens (what was really
heard, new context) as a prompt, and everybody waits for it. Sizes: a key-value cache grows with the conversation, the
state of a state-space model does not.
"""

import math
from dataclasses import dataclass
from typing import Literal

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.checks import at_least, positive, whole
from fullduplex.hardware.device import System
from fullduplex.hardware.model import Model
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.steady import largest_batch

__all__ = ["Capacity", "DuplexLoad", "FrameTimes", "Place", "capacity", "frame_times", "most_bursts"]

_TAIL = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplexLoad:
    """What every session does.

    Args:
        frame_s: a step is due in each frame, and must end within `deadline_s` of its start.
        steps_per_frame: tokens a session takes one after the other in a frame.
        conversation_s: age of the sessions; all are taken to be this old, the worst case.
        interruptions_per_min: of one session, each a prompt of `burst_tokens` in some frame.
        miss_rate: share of frames that may end late.
    """

    frame_s: float = 0.08
    deadline_s: float = 0.08
    steps_per_frame: int = 1
    conversation_s: float = 300.0
    interruptions_per_min: float = 2.0
    burst_tokens: int = 64
    miss_rate: float = 0.01

    def __post_init__(self) -> None:
        positive(self.frame_s, "frame_s")
        positive(self.deadline_s, "deadline_s")
        whole(self.steps_per_frame, 1, "steps_per_frame")
        at_least(self.conversation_s, 0, "conversation_s")
        at_least(self.interruptions_per_min, 0, "interruptions_per_min")
        whole(self.burst_tokens, 0, "burst_tokens")
        at_least(self.miss_rate, 0, "miss_rate")
        if self.miss_rate >= 1:
            raise ConfigError(f"miss_rate is {self.miss_rate:g}; expected a share below 1")
        if self.burst_chance > 1:
            raise ConfigError(
                f"interruptions_per_min is {self.interruptions_per_min:g}; expected at most one a frame, "
                f"{60 / self.frame_s:g}"
            )

    @property
    def context_tokens(self) -> float:
        """Tokens of one session at the end of the conversation: its frames and its bursts."""
        frames = self.conversation_s / self.frame_s
        return frames * (self.steps_per_frame + self.burst_chance * self.burst_tokens)

    @property
    def burst_chance(self) -> float:
        """Chance that a session is interrupted in a given frame."""
        return self.interruptions_per_min / 60 * self.frame_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """How long frames take with a number of sessions; `miss_rate` is the share that is late."""

    sessions: int
    quiet_s: float
    p50_s: float
    p99_s: float
    miss_rate: float
    joules_per_session_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The most sessions, and what stops one more; `times` is None if there is room for none."""

    sessions: int
    limited_by: Literal["deadline", "memory"]
    memory_sessions: int
    times: FrameTimes | None


def frame_times(model: Model, system: System, load: DuplexLoad, sessions: int) -> FrameTimes:
    """Distribution of a frame's work over the number of interruptions in it (binomial)."""
    whole(sessions, 1, "sessions")
    quiet = stage_cost(model, system, Stage.of_lengths(sessions, load.context_tokens))
    later_s = (load.steps_per_frame - 1) * quiet.seconds
    joules = (load.steps_per_frame - 1) * quiet.energy_j
    ranks: list[tuple[float, float]] = []
    chance_so_far = missed = 0.0
    for bursts in range(sessions + 1):
        chance = _binomial(sessions, bursts, load.burst_chance if load.burst_tokens else 0.0)
        if chance > _TAIL:
            seconds, energy = _burst(model, system, load, sessions, bursts)
            joules += chance * energy
            chance_so_far += chance
            missed += chance * (seconds + later_s > load.deadline_s)
            ranks.append((chance_so_far, seconds + later_s))
        elif bursts > sessions * load.burst_chance:
            break
    return FrameTimes(
        sessions=sessions,
        quiet_s=quiet.seconds + later_s,
        p50_s=_quantile(ranks, 0.5),
        p99_s=_quantile(ranks, 0.99),
        miss_rate=missed,
        joules_per_session_s=joules / sessions / load.frame_s,
    )


def capacity(model: Model, system: System, load: DuplexLoad) -> Capacity:
    """The most sessions whose late frames stay within `load.miss_rate` and that fit into memory.

    Raises: InputError when the weights and one session do not fit into memory.
    """
    fit = largest_batch(model, system, load.context_tokens)

    def holds(sessions: int) -> bool:
        # More than this many bursts are so rare that they may be late: one stage decides, and no distribution.
        bursts = most_bursts(sessions, load)
        seconds, _ = _burst(model, system, load, sessions, bursts)
        quiet = 0.0
        if load.steps_per_frame > 1:
            quiet = stage_cost(model, system, Stage.of_lengths(sessions, load.context_tokens)).seconds
        return seconds + (load.steps_per_frame - 1) * quiet <= load.deadline_s

    if not holds(1):
        return Capacity(sessions=0, limited_by="deadline", memory_sessions=fit, times=None)
    low, high = 1, fit + 1  # low holds, high does not or does not fit
    probe = 2
    while probe < high and holds(probe):
        low, probe = probe, probe * 2
    high = min(high, probe)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return Capacity(
        sessions=low,
        limited_by="memory" if low == fit else "deadline",
        memory_sessions=fit,
        times=frame_times(model, system, load, low),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One point of a sweep."""

    model: Model
    system: System
    load: DuplexLoad

    def room(self) -> Capacity | None:
        """Its capacity; None where weights and one session do not fit, which is no reason to stop a sweep."""
        try:
            return capacity(self.model, self.system, self.load)
        except ConfigError:
            raise
        except InputError:
            return None


def most_bursts(sessions: int, load: DuplexLoad) -> int:
    """Fewest bursts b with P(more than b in a frame) <= `load.miss_rate`."""
    if not load.burst_tokens or not load.burst_chance:
        return 0
    covered = 0.0
    for bursts in range(sessions + 1):
        covered += _binomial(sessions, bursts, load.burst_chance)
        if 1 - covered <= load.miss_rate + 1e-12:
            return bursts
    return sessions


def _burst(model: Model, system: System, load: DuplexLoad, sessions: int, bursts: int) -> tuple[float, float]:
    """Seconds and joules of a stage in which `bursts` sessions bring a prompt that looks back on all they have."""
    context, size = load.context_tokens, load.burst_tokens
    stage = Stage(
        decode=sessions,
        context_tokens=sessions * context,
        prompts=bursts,
        prompt_tokens=bursts * size,
        prompt_pairs=bursts * (size * size / 2 + size * context),
    )
    cost = stage_cost(model, system, stage)
    return cost.seconds, cost.energy_j


def _binomial(number: int, hits: int, chance: float) -> float:
    if chance in (0.0, 1.0):
        return float(hits == (number if chance else 0))
    log_ways = math.lgamma(number + 1) - math.lgamma(hits + 1) - math.lgamma(number - hits + 1)
    return math.exp(log_ways + hits * math.log(chance) + (number - hits) * math.log1p(-chance))


def _quantile(ranks: list[tuple[float, float]], share: float) -> float:
    return next((seconds for covered, seconds in ranks if covered >= share), ranks[-1][1])

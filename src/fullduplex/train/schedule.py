"""Learning-rate schedules: pure functions from a step to a fraction of the peak.

Step 0 is the first. The end of a decay is the step after the last, so no step is taken at a rate of zero.
"""

import math
from dataclasses import dataclass
from typing import Literal

from fullduplex.base.errors import ConfigError

__all__ = ["ScheduleConfig", "schedule_fraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """A linear warm-up, then one of three shapes.

    Args:
        kind: `"constant"`; `"cosine"` to the end (Loshchilov and Hutter, arXiv 1608.03983, equation 5, one period);
            `"wsd"` warm-up, stable, linear decay over the last steps (Hu et al., arXiv 2404.06395, section 4.2).
        warmup_steps: steps from 0 to the peak; step w runs at (w + 1) / warmup_steps.
        decay_steps: length of the decay of `"wsd"`.
        final_fraction: where `"cosine"` and `"wsd"` end, in [0, 1].

    Raises:
        ConfigError: a length is negative or the fraction is outside [0, 1].
    """

    kind: Literal["constant", "cosine", "wsd"] = "cosine"
    warmup_steps: int = 0
    decay_steps: int = 0
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("constant", "cosine", "wsd"):
            raise ConfigError(f"schedule kind is {self.kind!r}; expected 'constant', 'cosine' or 'wsd'")
        if self.warmup_steps < 0 or self.decay_steps < 0:
            raise ConfigError(f"warmup_steps {self.warmup_steps}, decay_steps {self.decay_steps}; expected 0 or more")
        if not 0 <= self.final_fraction <= 1:
            raise ConfigError(f"final_fraction is {self.final_fraction}; expected 0 to 1")


def schedule_fraction(step: int, num_steps: int, config: ScheduleConfig) -> float:
    """Fraction of the peak rate at `step` of `num_steps`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.kind == "cosine":
        progress = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
        shape = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    elif config.kind == "wsd":
        shape = min(1.0, max(0, num_steps - step) / max(1, config.decay_steps))
    else:
        return 1.0
    return config.final_fraction + (1 - config.final_fraction) * shape

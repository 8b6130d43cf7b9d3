"""The port through which anything learns what time it is.

The core never reads the machine's clock: it is handed one, so a test or a replay decides when a second has passed.
In audio, prefer a count of samples; use a clock only for what happens outside the audio (time-outs, idle sessions).
"""

import math
from typing import Protocol

from fullduplex.base.errors import InputError

__all__ = ["Clock", "ManualClock"]


class Clock(Protocol):
    """Seconds since an arbitrary start; never runs backwards."""

    def now_s(self) -> float: ...


class ManualClock:
    """A clock that moves only when told to: for tests, replays and simulations."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Seconds on this clock."""
        return self._now_s

    def advance_s(self, duration_s: float) -> None:
        """Move forward by `duration_s` >= 0.

        Raises:
            InputError: the duration is negative or not finite.
        """
        if not math.isfinite(duration_s) or duration_s < 0:
            raise InputError(f"a clock was advanced by {duration_s} s; expected a finite duration of 0 s or more")
        self._now_s += duration_s

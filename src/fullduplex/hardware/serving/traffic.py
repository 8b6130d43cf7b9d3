"""Requests: when they come, how long their prompts and answers are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.hardware.checks import at_least, positive, whole

__all__ = ["Requests", "draw_requests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """A stream of requests: seconds of arrival (ascending), tokens of prompt and answer, each of shape (n,)."""

    arrival_s: NDArray[np.float64]
    prompt: NDArray[np.int64]
    answer: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.arrival_s.shape == self.prompt.shape == self.answer.shape or self.arrival_s.ndim != 1:
            raise InputError(
                f"arrival_s, prompt and answer have shapes {self.arrival_s.shape}, {self.prompt.shape} and "
                f"{self.answer.shape}; expected the same (n,)"
            )
        if not self.arrival_s.size:
            raise InputError("there are no requests; give at least one")
        if not np.isfinite(self.arrival_s).all() or (np.diff(self.arrival_s) < 0).any():
            raise InputError("arrival_s must be finite and ascending; sort the requests by arrival")
        for name in ("prompt", "answer"):
            if getattr(self, name).min() < 1:
                raise InputError(f"{name} has {getattr(self, name).min()} tokens; expected at least 1")

    def __len__(self) -> int:
        return int(self.arrival_s.size)


def draw_requests(
    number: int, *, prompt: int, answer: int, rng: np.random.Generator, spread: float = 0.0, per_s: float | None = None
) -> Requests:
    """`number` requests with lengths around `prompt` and `answer`.

    Args:
        spread: standard deviation of the (Gaussian) lengths over their mean; the paper gives none.
        per_s: mean arrivals a second, with exponential gaps (a Poisson process); None lets all arrive at 0.
    """
    whole(number, 1, "number")
    whole(prompt, 1, "prompt")
    whole(answer, 1, "answer")
    at_least(spread, 0, "spread")
    arrival_s = np.zeros(number)
    if per_s is not None:
        arrival_s = np.cumsum(rng.exponential(1 / positive(per_s, "per_s"), number))
    lengths = [
        np.maximum(1, np.rint(mean * (1 + spread * rng.standard_normal(number)))).astype(np.int64)
        for mean in (prompt, answer)
    ]
    return Requests(arrival_s=arrival_s, prompt=lengths[0], answer=lengths[1])

"""Who is let in, and who begins to decode: the same for one system and for one that keeps prompts apart."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Books", "Intake", "admit", "start"]

_GOLDEN = 0.6180339887498949


class Limits(Protocol):
    """The part of a serving that decides who is let in."""

    @property
    def batch(self) -> int:
        """Requests at once."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the next request comes as soon as there is a place."""
        ...


@dataclass(slots=True)
class Books:
    """What is known of each request, and when things happened to it."""

    prompts: list[int]
    answers: list[int]
    sizes: list[float]
    arrival_s: NDArray[np.float64]
    first_s: NDArray[np.float64]
    last_s: NDArray[np.float64]


@dataclass(slots=True)
class Intake:
    """What changes while a run goes on, of those who are present. `ends`: stage -> requests whose last token it makes."""

    now_s: float = 0.0
    stage: int = 0
    decoding: int = 0
    context: float = 0.0
    reserved: float = 0.0
    peak: float = 0.0
    joules: float = 0.0
    next_request: int = 0
    present: int = 0
    ends: dict[int, list[int]] = field(default_factory=dict[int, list[int]])


def admit(run: Intake, books: Books, serving: Limits, room_bytes: float, *, running: bool) -> list[int]:
    """First come first served, while there are places and bytes; returns those whose prompt waits.

    A closed loop that is not `running` yet begins in its middle: the requests it starts with have ages, which the golden ratio
    spreads evenly without a random draw.
    """
    waiting: list[int] = []
    while run.next_request < len(books.sizes) and run.present < serving.batch:
        request = run.next_request
        late = not serving.closed and books.arrival_s[request] > run.now_s
        if late or run.reserved + books.sizes[request] > room_bytes:
            break
        run.next_request += 1
        run.present += 1
        run.reserved += books.sizes[request]
        run.peak = max(run.peak, run.reserved)
        answer = books.answers[request]
        if serving.closed and not running and answer > 1:
            done = 1 + int((request * _GOLDEN) % 1 * (answer - 1))
            start(run, request, books.prompts[request] + done, answer - done)
            continue
        if serving.closed:
            books.arrival_s[request] = run.now_s
        waiting.append(request)
    return waiting


def start(run: Intake, request: int, context: int, left: int) -> None:
    """A request begins to decode: `left` more tokens, one a stage, the first in the stage that comes next."""
    run.decoding += 1
    run.context += context
    run.ends.setdefault(run.stage + left - 1, []).append(request)

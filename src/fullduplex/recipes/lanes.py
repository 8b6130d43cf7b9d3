"""Where requests are run: on threads in real time (`recipes/threads.py`), or on a simulated clock that charges what the
work really cost.

Both keep the same promise to a conversation: requests of one lane run in order, one at a time; a cancelled request gives
no more results; a lane holds at most `MAX_WAITING` requests and refuses further ones with `Failed`.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from fullduplex.dialogue.ports import LANES, Failed, Lane, Request, Result

__all__ = ["LANE_NAMES", "MAX_WAITING", "Lanes", "Run", "SimulatedLanes"]

MAX_WAITING = 32
LANE_NAMES: tuple[Lane, ...] = ("recogniser", "turn_end", "brain", "voice")

Run = Callable[[Request, Callable[[], bool]], Iterator[Result]]


class Lanes(Protocol):
    """Something that runs requests."""

    def submit(self, request: Request, now_s: float) -> None:
        """Begin, as soon as the lane is free."""
        ...

    def cancel(self, ticket: int) -> None:
        """No further results of this request."""
        ...

    def collect(self, now_s: float) -> list[Result]:
        """Results that have arrived by now."""
        ...

    def close(self) -> None:
        """Nothing is wanted any more."""
        ...


@dataclass(order=True, slots=True)
class _Due:
    at_s: float
    order: int
    lane: Lane = field(compare=False)
    result: Result = field(compare=False)


@dataclass(slots=True, eq=False)
class _Running:
    request: Request
    results: Iterator[Result]
    free_s: float
    cancelled: bool = False


class SimulatedLanes:
    """Requests run at once in this thread; their results arrive when they would have arrived.

    The conversation's clock is the caller's. Work is charged with what `stopwatch` says it took: this thread's processor
    time by default, which other programs do not disturb; the wall clock for work done elsewhere. `charge(request, index)`
    seconds for the index-th result instead makes a run repeatable to the bit. At most `cores` lanes make progress at a
    time.
    """

    def __init__(
        self,
        run: Run,
        *,
        cores: int = 2,
        stopwatch: Callable[[], float] = time.thread_time,
        charge: Callable[[Request, int], float] | None = None,
    ) -> None:
        self._run = run
        self._stopwatch = stopwatch
        self._charge = charge
        self._core_free_s = [0.0] * cores
        self._waiting: dict[Lane, deque[tuple[Request, float]]] = {name: deque() for name in LANE_NAMES}
        self._running: dict[Lane, _Running | None] = dict.fromkeys(LANE_NAMES)
        self._due: list[_Due] = []
        self._order = 0
        self.busy_s: dict[Lane, float] = dict.fromkeys(LANE_NAMES, 0.0)

    def submit(self, request: Request, now_s: float) -> None:
        """Begin, as soon as the lane is free."""
        lane = LANES[type(request)]
        if len(self._waiting[lane]) >= MAX_WAITING:
            self._push(now_s, lane, Failed(ticket=request.ticket, message="too many requests are waiting"))
            return
        self._waiting[lane].append((request, now_s))

    def cancel(self, ticket: int) -> None:
        """No further results of this request."""
        for name in LANE_NAMES:
            self._waiting[name] = deque(pair for pair in self._waiting[name] if pair[0].ticket != ticket)
            running = self._running[name]
            if running is not None and running.request.ticket == ticket:
                running.cancelled = True
        self._due = [due for due in self._due if due.result.ticket != ticket]
        heapq.heapify(self._due)

    def close(self) -> None:
        """Nothing is wanted any more."""
        for name in LANE_NAMES:
            self._waiting[name].clear()
            self._running[name] = None

    def collect(self, now_s: float) -> list[Result]:
        """Results due by `now_s`; runs whatever work begins before that."""
        while self._advance(now_s):
            pass
        results: list[Result] = []
        while self._due and self._due[0].at_s <= now_s:
            results.append(heapq.heappop(self._due).result)
        return results

    def next_arrival_s(self, by_s: float) -> float | None:
        """When the next result arrives, if one does by `by_s`; runs whatever work begins before that."""
        while self._advance(by_s):
            pass
        return self._due[0].at_s if self._due and self._due[0].at_s <= by_s else None

    def _advance(self, now_s: float) -> bool:
        moved = False
        for lane in LANE_NAMES:
            running = self._running[lane]
            if running is None and self._waiting[lane]:
                request, asked_s = self._waiting[lane].popleft()
                running = self._running[lane] = _Running(request, iter(()), asked_s)
                running.results = self._run(request, partial(getattr, running, "cancelled"))
            if running is not None and running.free_s < now_s:
                self._produce(lane, running)
                moved = True
        return moved

    def _produce(self, lane: Lane, running: _Running) -> None:
        """The next result of the running request, and when it arrives."""
        if running.cancelled:
            self._running[lane] = None
            self._hand_over(lane, running.free_s)
            return
        began = self._stopwatch()
        result = next(running.results, None)
        took_s = self._stopwatch() - began
        if result is None:
            self._running[lane] = None
            self._hand_over(lane, running.free_s)
            return
        if self._charge is not None:
            took_s = self._charge(running.request, self._order)
        core = min(range(len(self._core_free_s)), key=self._core_free_s.__getitem__)
        start_s = max(running.free_s, self._core_free_s[core])
        running.free_s = self._core_free_s[core] = start_s + took_s
        self.busy_s[lane] += took_s
        self._push(running.free_s, lane, result)

    def _hand_over(self, lane: Lane, free_s: float) -> None:
        """A waiting request cannot begin before the lane is free."""
        self._waiting[lane] = deque((request, max(asked_s, free_s)) for request, asked_s in self._waiting[lane])

    def _push(self, at_s: float, lane: Lane, result: Result) -> None:
        self._order += 1
        heapq.heappush(self._due, _Due(at_s, self._order, lane, result))

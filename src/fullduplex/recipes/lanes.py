"""Where requests are run: on threads in real time, or on a simulated clock that charges what the work really cost.

Both keep the same promise: requests of one lane run in order, one at a time; a cancelled request gives no more results;
a lane holds at most `MAX_WAITING` requests and refuses further ones with `Failed`.
"""

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from fullduplex.dialogue.ports import LANES, Failed, Lane, Request, Result, Synthesise
from fullduplex.recipes.cores import Cores

__all__ = ["CORES", "MAX_WAITING", "Lanes", "SimulatedLanes", "ThreadLanes", "ThreadPool"]

MAX_WAITING = 32
_STAND_BACK_S = 0.4
CORES = Cores()  # of this process: parts that are opened in one place and lanes that are in another share them
_NAMES: tuple[Lane, ...] = ("recogniser", "turn_end", "brain", "voice")

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


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    run: Run
    deliver: Callable[[Result], None]
    cancelled: bool = False
    urgent: bool = False


class ThreadPool:
    """One thread per lane, shared by all conversations of a process, served in order of arrival.

    While an urgent clause is being spoken, the brain stands back between two words: on two cores, which may be two halves
    of one, the words of the second clause would delay the sound of the first.
    """

    def __init__(self, cores: Cores = CORES) -> None:
        """`cores` is told when a lane other than the brain's is at work: a brain may ask it for threads."""
        self._cores = cores
        self._queues: dict[Lane, queue.SimpleQueue[_Job | None]] = {name: queue.SimpleQueue() for name in _NAMES}
        self._closing = threading.Event()
        self._urgent = 0
        self._count = threading.Lock()
        self._calm = threading.Event()
        self._calm.set()
        self._threads = [
            threading.Thread(target=self._work, args=(name,), name=f"lane-{name}", daemon=True) for name in _NAMES
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: _Job) -> None:
        """Queue a job on the lane of its request."""
        if isinstance(job.request, Synthesise) and job.request.urgent:
            with self._count:
                job.urgent = True
                self._urgent += 1
                self._calm.clear()
        self._queues[LANES[type(job.request)]].put(job)

    def cancel(self, job: _Job) -> None:
        """Nobody waits for it any more: what has begun may end, but the brain need not stand back for it."""
        job.cancelled = True
        self._relax(job)

    def _relax(self, job: _Job) -> None:
        with self._count:
            self._urgent -= job.urgent
            job.urgent = False
            if not self._urgent:
                self._calm.set()

    @property
    def calm(self) -> bool:
        """Whether no urgent clause is being waited for."""
        return self._calm.is_set()

    def waiting(self) -> dict[str, int]:
        """How many jobs wait, by lane."""
        return {name: lane.qsize() for name, lane in self._queues.items()}

    def close(self) -> None:
        """Finish what runs, drop what waits, end the threads."""
        self._closing.set()
        for lane in self._queues.values():
            lane.put(None)
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _work(self, name: Lane) -> None:
        lane = self._queues[name]
        while (job := lane.get()) is not None:
            if not (job.cancelled or self._closing.is_set()):
                with nullcontext() if name == "brain" else self._cores.work():
                    self._serve(name, job)
            self._relax(job)

    def _serve(self, name: Lane, job: _Job) -> None:
        try:
            for result in job.run(job.request, lambda: job.cancelled):
                if job.cancelled:
                    break
                job.deliver(result)
                if name == "brain":
                    self._calm.wait(_STAND_BACK_S)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the lane of every conversation
            job.deliver(Failed(ticket=job.request.ticket, message=f"{type(error).__name__}: {error}"))


class ThreadLanes:
    """One conversation's view of a thread pool."""

    def __init__(self, run: Run, pool: ThreadPool, *, notify: Callable[[], None] | None = None) -> None:
        """`notify` is called, on the lane's thread, after every result: a driver may collect it at once."""
        self._run = run
        self._pool = pool
        self._notify = notify
        self._jobs: dict[int, _Job] = {}
        self._arrived: deque[Result] = deque()
        self._refused: set[int] = set()

    def submit(self, request: Request, now_s: float) -> None:
        """Begin, as soon as the lane is free."""
        lane = LANES[type(request)]
        if sum(LANES[type(job.request)] == lane for job in self._jobs.values()) >= MAX_WAITING:
            self._refused.add(request.ticket)
            self._arrived.append(Failed(ticket=request.ticket, message="too many requests are waiting"))
            return
        job = _Job(request, self._run, self._deliver)
        self._jobs[request.ticket] = job
        self._pool.put(job)

    def _deliver(self, result: Result) -> None:
        self._arrived.append(result)
        if self._notify is not None:
            self._notify()

    def cancel(self, ticket: int) -> None:
        """No further results of this request."""
        job = self._jobs.pop(ticket, None)
        if job is not None:
            self._pool.cancel(job)

    def collect(self, now_s: float) -> list[Result]:
        """Results that have arrived."""
        results: list[Result] = []
        while self._arrived:
            result = self._arrived.popleft()
            if result.ticket not in self._jobs and result.ticket not in self._refused:
                continue  # cancelled after it had arrived
            results.append(result)
            self._refused.discard(result.ticket)
            if getattr(result, "done", True):
                self._jobs.pop(result.ticket, None)
        return results

    def close(self) -> None:
        """Cancel everything."""
        for ticket in list(self._jobs):
            self.cancel(ticket)


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
        self._waiting: dict[Lane, deque[tuple[Request, float]]] = {name: deque() for name in _NAMES}
        self._running: dict[Lane, _Running | None] = dict.fromkeys(_NAMES)
        self._due: list[_Due] = []
        self._order = 0
        self.busy_s: dict[Lane, float] = dict.fromkeys(_NAMES, 0.0)

    def submit(self, request: Request, now_s: float) -> None:
        """Begin, as soon as the lane is free."""
        lane = LANES[type(request)]
        if len(self._waiting[lane]) >= MAX_WAITING:
            self._push(now_s, lane, Failed(ticket=request.ticket, message="too many requests are waiting"))
            return
        self._waiting[lane].append((request, now_s))

    def cancel(self, ticket: int) -> None:
        """No further results of this request."""
        for name in _NAMES:
            self._waiting[name] = deque(pair for pair in self._waiting[name] if pair[0].ticket != ticket)
            running = self._running[name]
            if running is not None and running.request.ticket == ticket:
                running.cancelled = True
        self._due = [due for due in self._due if due.result.ticket != ticket]
        heapq.heapify(self._due)

    def close(self) -> None:
        """Nothing is wanted any more."""
        for name in _NAMES:
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
        for lane in _NAMES:
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

"""Threads that answer requests in real time, shared by all conversations of a process."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fullduplex.dialogue.ports import LANES, Failed, Lane, Request, Result, Synthesise
from fullduplex.recipes.cores import CORES, Cores
from fullduplex.recipes.lanes import LANE_NAMES, MAX_WAITING, Run

__all__ = ["ThreadLanes", "ThreadPool"]

_STAND_BACK_S = 0.4
_MOST_REPLIES = 64  # conversations the brain serves at once; further ones wait


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    run: Run
    deliver: Callable[[Result], None]
    owner: object
    cancelled: bool = False
    urgent: bool = False


class _Turns:
    """One at a time; of those who wait, whoever has had least so far.

    A new reply's first words go before the fortieth of one that is being spoken and has seconds of sound ahead of it.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._order = itertools.count()
        self._waiting: list[tuple[int, int]] = []
        self._busy = False

    def take(self, had: int, given_up: Callable[[], bool], *, holding: bool = False) -> bool:
        """Wait for a turn, having had so many; False when it was given up meanwhile (`look` makes that noticed).

        `holding`: the last turn is still held, and ends now; nobody can come in between without being in the queue.
        """
        with self._free:
            place = (had, next(self._order))
            self._waiting.append(place)
            if holding:
                self._busy = False
                self._free.notify_all()
            self._free.wait_for(lambda: given_up() or (not self._busy and min(self._waiting) == place))
            self._waiting.remove(place)
            if given_up():
                self._free.notify_all()
                return False
            self._busy = True
            return True

    def leave(self) -> None:
        """The turn is over."""
        with self._free:
            self._busy = False
            self._free.notify_all()

    def look(self) -> None:
        """Somebody who waits may have given up."""
        with self._free:
            self._free.notify_all()


class _Together:
    """Nobody waits for anybody."""

    def take(self, had: int, given_up: Callable[[], bool], *, holding: bool = False) -> bool:
        """See `_Turns`."""
        return not given_up()

    def leave(self) -> None:
        """See `_Turns`."""

    def look(self) -> None:
        """See `_Turns`."""


class ThreadPool:
    """Threads for all conversations of a process. Recogniser, end of turn and voice have one each, served in order of arrival.

    The brain works for every conversation in order, and for several in turns, a word at a time, so that nobody waits
    for the end of somebody else's reply. While an urgent clause is being spoken, it stands back between two words: on
    two cores, which may be two halves of one, the words of the second clause would delay the sound of the first.
    """

    def __init__(self, cores: Cores = CORES, *, in_turns: bool = True) -> None:
        """`cores` is told when a lane other than the brain's is at work: a brain may ask it for threads.

        `in_turns` False: the brain is elsewhere, and conversations need not wait for each other at all.
        """
        self._cores = cores
        self._queues: dict[Lane, queue.SimpleQueue[_Job | None]] = {
            name: queue.SimpleQueue() for name in LANE_NAMES if name != "brain"
        }
        self._closing = threading.Event()
        self._urgent = 0
        self._count = threading.Lock()
        self._calm = threading.Event()
        self._calm.set()
        self._threads = [
            threading.Thread(target=self._work, args=(name,), name=f"lane-{name}", daemon=True) for name in self._queues
        ]
        self._turns = _Turns() if in_turns else _Together()
        self._lines: dict[object, deque[_Job]] = {}  # what conversations want of the brain; the first is being served
        self._brains = ThreadPoolExecutor(_MOST_REPLIES, thread_name_prefix="lane-brain")
        for thread in self._threads:
            thread.start()

    def put(self, job: _Job) -> None:
        """Queue a job on the lane of its request."""
        lane = LANES[type(job.request)]
        if lane == "brain":
            self._put_brain(job)
            return
        if isinstance(job.request, Synthesise) and job.request.urgent:
            with self._count:
                job.urgent = True
                self._urgent += 1
                self._calm.clear()
        self._queues[lane].put(job)

    def _put_brain(self, job: _Job) -> None:
        with self._count:
            if self._closing.is_set():
                return
            line = self._lines.setdefault(job.owner, deque())
            line.append(job)
            if len(line) == 1:
                self._brains.submit(self._serve_line, job.owner, line)

    def cancel(self, job: _Job) -> None:
        """Nobody waits for it any more: what has begun may end, but the brain need not stand back for it."""
        job.cancelled = True
        self._relax(job)
        self._turns.look()

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
        with self._count:
            brain = sum(len(line) - 1 for line in self._lines.values())
        return {name: brain if name == "brain" else self._queues[name].qsize() for name in LANE_NAMES}

    def close(self) -> None:
        """Finish what runs (the brain: its word), drop what waits, end the threads."""
        with self._count:
            self._closing.set()
        self._turns.look()
        for lane in self._queues.values():
            lane.put(None)
        self._brains.shutdown(wait=True, cancel_futures=True)
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _work(self, name: Lane) -> None:
        lane = self._queues[name]
        while (job := lane.get()) is not None:
            if not (job.cancelled or self._closing.is_set()):
                with self._cores.work():
                    self._serve(job)
            self._relax(job)

    def _serve(self, job: _Job) -> None:
        try:
            for result in job.run(job.request, lambda: job.cancelled):
                if job.cancelled:
                    break
                job.deliver(result)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the lane of every conversation
            job.deliver(Failed(ticket=job.request.ticket, message=f"{type(error).__name__}: {error}"))

    def _serve_line(self, owner: object, line: deque[_Job]) -> None:
        """What one conversation wants of the brain, until it wants no more."""
        while True:
            self._serve_brain(line[0])
            with self._count:
                line.popleft()
                if not line or self._closing.is_set():
                    del self._lines[owner]
                    return

    def _serve_brain(self, job: _Job) -> None:
        def given_up() -> bool:
            return job.cancelled or self._closing.is_set()

        had, holding = 0, False
        try:
            results = iter(job.run(job.request, given_up))
            while holding := self._turns.take(had, given_up, holding=holding):
                result = next(results, None)
                if result is None or given_up():
                    break
                job.deliver(result)
                had += 1
                if not self._calm.is_set():
                    self._turns.leave()
                    holding = False
                    self._calm.wait(_STAND_BACK_S)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the lane of every conversation
            job.deliver(Failed(ticket=job.request.ticket, message=f"{type(error).__name__}: {error}"))
        finally:
            if holding:
                self._turns.leave()


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
        job = _Job(request, self._run, self._deliver, owner=self)
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

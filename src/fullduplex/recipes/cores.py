"""How many cores are free for one more piece of work, right now.

A model split over two threads is nearly twice as fast while both have a core, and many times slower than one thread as soon
as one of them has to wait for a core: the other spins meanwhile. So cores are leased for every piece of work, and other
work of this process that would need one of them begins when it is over.
Others' load is what the whole machine was busy with (Linux, /proc/stat) less this process's own processor time.
"""

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CORES", "Cores", "machine_busy_s"]

_STAT = Path("/proc/stat")
_WINDOW_S = 0.06  # shorter spans say little: the machine counts in hundredths of a second
_TOLERATED = 0.25  # of a core: what may go on beside us without taking a core away
_PATIENCE_S = 0.15  # a decode of a few tokens is over by then


def machine_busy_s() -> float | None:
    """Seconds that all cores together have been busy since the machine was started; None where nobody counts them."""
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, fields)
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


class Cores:
    """The machine's cores as one process sees them. Safe to share between threads.

    Args:
        count: cores this process may use; None asks the machine.
        busy_s: seconds all cores were busy so far; None where that is unknown, and then one core is free at any time.
        own_s, clock_s: processor time of this process, wall clock.
    """

    def __init__(
        self,
        count: int | None = None,
        *,
        busy_s: Callable[[], float | None] = machine_busy_s,
        own_s: Callable[[], float] = time.process_time,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.count = count or mine
        self._busy_s, self._own_s, self._clock_s = busy_s, own_s, clock_s
        self._returned = threading.Condition()
        self._at_work = self._leased = 0
        self._seen = (clock_s(), busy_s(), own_s())
        self._others = float(self.count)  # until something was measured, take it that others need everything

    @contextmanager
    def work(self) -> Generator[None]:
        """One core of ours is busy inside: whoever asks meanwhile finds one fewer free.

        Where all are leased to work on several threads, waits for that to end, 0.15 s at most.
        """
        with self._returned:
            self._returned.wait_for(lambda: self._leased < 2 or self._at_work + self._leased < self.count, _PATIENCE_S)
            self._at_work += 1
            self._look()
        try:
            yield
        finally:
            with self._returned:
                self._at_work -= 1

    @contextmanager
    def lease(self, most: int) -> Generator[int]:
        """The number of cores that are free, 1 to `most`; they are held inside. What is done inside `work()` is not free."""
        with self._returned:
            self._look()
            others = max(0.0, self._others - _TOLERATED)
            number = max(1, min(most, int(self.count - self._at_work - self._leased - others)))
            self._leased += number
        try:
            yield number
        finally:
            with self._returned:
                self._leased -= number
                self._returned.notify_all()

    def _look(self) -> None:
        now_s = self._clock_s()
        then_s, then_busy_s, then_own_s = self._seen
        if now_s - then_s < _WINDOW_S:
            return
        busy_s, own_s = self._busy_s(), self._own_s()
        if busy_s is not None and then_busy_s is not None:
            self._others = max(0.0, busy_s - then_busy_s - (own_s - then_own_s)) / (now_s - then_s)
        self._seen = (now_s, busy_s, own_s)


CORES = Cores()  # of this process: parts that are opened in one place and threads that are in another share them

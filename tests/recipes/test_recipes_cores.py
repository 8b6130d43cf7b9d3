"""Free cores: others' load takes them away, ours too, and one is always left."""

import threading
import time

import pytest

from fullduplex.recipes.cores import Cores, machine_busy_s


class Machine:
    """A clock that stands still until it is moved, and the processor time spent meanwhile."""

    def __init__(self) -> None:
        self.now_s = self.busy = self.own = 0.0

    def cores(self, count: int) -> Cores:
        return Cores(count, busy_s=lambda: self.busy, own_s=lambda: self.own, clock_s=lambda: self.now_s)

    def pass_time(self, wall_s: float, *, own: float = 0.0, others: float = 0.0) -> None:
        self.now_s += wall_s
        self.own += own * wall_s
        self.busy += (own + others) * wall_s


def free(cores: Cores) -> int:
    with cores.lease(64) as number:
        return number


@pytest.mark.parametrize(("others", "expected"), [(0.0, 2), (0.2, 2), (0.5, 1), (1.0, 1), (7.0, 1)])
def test_load_of_others_takes_cores_away(others: float, expected: int) -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1, own=1.0, others=others)
    assert free(cores) == expected


def test_nothing_measured_yet_means_one() -> None:
    machine = Machine()
    cores = machine.cores(8)
    assert free(cores) == 1
    machine.pass_time(0.1)
    assert free(cores) == 8


def test_short_spans_are_not_judged_and_loads_pass() -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    assert free(cores) == 2
    machine.pass_time(0.01, others=1.0)
    assert free(cores) == 2
    machine.pass_time(0.1, others=1.0)
    assert free(cores) == 1
    machine.pass_time(0.1)
    assert free(cores) == 2


def test_our_own_other_work_counts_while_it_lasts() -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    with pytest.raises(RuntimeError), cores.work():
        assert free(cores) == 1
        raise RuntimeError
    assert free(cores) == 2


def test_leased_cores_are_free_for_nobody_else_until_they_are_returned() -> None:
    machine = Machine()
    cores = machine.cores(4)
    machine.pass_time(0.1)
    with cores.lease(3) as first, cores.lease(3) as second:
        assert (first, second, free(cores)) == (3, 1, 1)
    assert free(cores) == 4


def _begun(cores: Cores, most: int, *, hold_s: float) -> tuple[float, float]:
    """Seconds until other work could begin, and until the lease it began beside was returned."""
    begun: list[float] = []

    def work() -> None:
        with cores.work():
            begun.append(time.perf_counter())

    other = threading.Thread(target=work)
    start = time.perf_counter()
    with cores.lease(most):
        other.start()
        time.sleep(hold_s)
    returned = time.perf_counter()
    other.join()
    return begun[0] - start, returned - start


@pytest.mark.parametrize(("most", "waits"), [(2, True), (1, False)])
def test_other_work_waits_for_cores_that_would_spin_without_them(most: int, waits: bool) -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    begun_s, returned_s = _begun(cores, most, hold_s=0.1)
    assert (begun_s >= returned_s) == waits


def test_other_work_does_not_wait_for_ever() -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    begun_s, returned_s = _begun(cores, 2, hold_s=0.6)
    assert begun_s < returned_s


def test_where_nobody_counts_one_core_is_free() -> None:
    now_s = [0.0]
    cores = Cores(4, busy_s=lambda: None, clock_s=lambda: now_s[0])
    now_s[0] = 1.0
    assert free(cores) == 1


def test_the_machine_counts_this_very_work() -> None:
    before = machine_busy_s()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass
    after = machine_busy_s()
    assert after is not None and after - before >= 0.15

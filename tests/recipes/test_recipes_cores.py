"""Free cores: others' load takes them away, ours too, and one is always left."""

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


@pytest.mark.parametrize(("others", "free"), [(0.0, 2), (0.2, 2), (0.5, 1), (1.0, 1), (7.0, 1)])
def test_load_of_others_takes_cores_away(others: float, free: int) -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1, own=1.0, others=others)
    assert cores.free() == free


def test_nothing_measured_yet_means_one() -> None:
    machine = Machine()
    cores = machine.cores(8)
    assert cores.free() == 1
    machine.pass_time(0.1)
    assert cores.free() == 8


def test_short_spans_are_not_judged_and_loads_pass() -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    assert cores.free() == 2
    machine.pass_time(0.01, others=1.0)
    assert cores.free() == 2
    machine.pass_time(0.1, others=1.0)
    assert cores.free() == 1
    machine.pass_time(0.1)
    assert cores.free() == 2


def test_our_own_other_work_counts_while_it_lasts() -> None:
    machine = Machine()
    cores = machine.cores(2)
    machine.pass_time(0.1)
    with pytest.raises(RuntimeError), cores.work():
        assert cores.free() == 1
        raise RuntimeError
    assert cores.free() == 2


def test_where_nobody_counts_one_core_is_free() -> None:
    now_s = [0.0]
    cores = Cores(4, busy_s=lambda: None, clock_s=lambda: now_s[0])
    now_s[0] = 1.0
    assert cores.free() == 1


def test_the_machine_counts_this_very_work() -> None:
    before = machine_busy_s()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass
    after = machine_busy_s()
    assert after is not None and after - before >= 0.15

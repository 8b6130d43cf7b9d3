import pytest

from fullduplex.base.clock import ManualClock
from fullduplex.base.errors import InputError


def test_time_passes_only_when_told():
    clock = ManualClock(10.0)
    assert clock.now_s() == clock.now_s() == 10.0
    clock.advance_s(0.5)
    clock.advance_s(0.0)
    assert clock.now_s() == 10.5


@pytest.mark.parametrize("duration_s", [-0.1, float("nan"), float("inf")])
def test_time_neither_runs_back_nor_away(duration_s):
    with pytest.raises(InputError, match="0 s or more"):
        ManualClock().advance_s(duration_s)

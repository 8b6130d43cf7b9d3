import math

import pytest

from fullduplex.base.errors import ConfigError
from fullduplex.train.schedule import ScheduleConfig, schedule_fraction


def curve(num_steps, **settings):
    return [schedule_fraction(step, num_steps, ScheduleConfig(**settings)) for step in range(num_steps)]


def test_constant_after_warm_up():
    assert curve(5, kind="constant", warmup_steps=2) == [0.5, 1, 1, 1, 1]


def test_cosine_passes_through_its_known_points():
    values = curve(110, kind="cosine", warmup_steps=10, final_fraction=0.1)
    assert values[9] == values[10] == 1
    assert values[60] == pytest.approx(0.1 + 0.9 * 0.5)
    assert values[35] == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert values[109] > 0.1


def test_wsd_is_flat_then_straight():
    assert curve(8, kind="wsd", warmup_steps=1, decay_steps=4) == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("kind", ["constant", "cosine", "wsd"])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_no_step_is_taken_at_zero_or_above_the_peak(kind, num_steps):
    for warmup_steps in (0, 1, 3, 20):
        values = curve(num_steps, kind=kind, warmup_steps=warmup_steps, decay_steps=3)
        assert all(0 < value <= 1 for value in values)


def test_steps_beyond_the_end_stay_at_the_final_fraction():
    for kind in ("cosine", "wsd"):
        assert schedule_fraction(99, 10, ScheduleConfig(kind=kind, decay_steps=2, final_fraction=0.2)) == 0.2


@pytest.mark.parametrize(
    "settings", [{"kind": "linear"}, {"warmup_steps": -1}, {"decay_steps": -1}, {"final_fraction": 1.5}], ids=str
)
def test_impossible_schedules_are_refused(settings):
    with pytest.raises(ConfigError, match="expected"):
        ScheduleConfig(**settings)

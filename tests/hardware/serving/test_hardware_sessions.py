"""Full-duplex load: capacity is the largest number that holds, and what limits it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.device import System
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.serving.sessions import DuplexLoad, capacity, frame_times, most_bursts
from fullduplex.hardware.stage import Stage, stage_cost

PRESETS = load_presets()
GPU = System(device=PRESETS.find_device("gpu"))
DUPLEX = System(device=PRESETS.find_device("duplex"))
CALM = DuplexLoad(interruptions_per_min=0.0)


def test_a_session_hears_a_token_in_every_frame() -> None:
    assert CALM.context_tokens == pytest.approx(12.5 * 300)
    busy = DuplexLoad(interruptions_per_min=3.0, burst_tokens=100, conversation_s=60.0, steps_per_frame=2)
    assert busy.context_tokens == pytest.approx(60 * 12.5 * 2 + 3 * 100)


@pytest.mark.parametrize("deadline_s", [0.08, 0.012, 0.0085])
@pytest.mark.parametrize("name", ["llama3-8b", "mamba2-2.7b"])
def test_capacity_holds_and_one_more_does_not(name: str, deadline_s: float) -> None:
    model, load = PRESETS.find_model(name), DuplexLoad(deadline_s=deadline_s, interruptions_per_min=4.0)
    room = capacity(model, GPU, load)
    assert room.times is not None
    assert room.times.miss_rate <= load.miss_rate
    assert room.times.p50_s <= room.times.p99_s <= deadline_s
    if room.limited_by == "memory":
        assert room.sessions == room.memory_sessions
        assert (
            model.weight_bytes() + (room.sessions + 1) * model.session_bytes(load.context_tokens) > GPU.capacity_bytes
        )
    else:
        assert frame_times(model, GPU, load, room.sessions + 1).miss_rate > load.miss_rate


def test_a_quiet_frame_is_a_stage_for_each_step() -> None:
    model = PRESETS.find_model("llama3-8b")
    load = dataclasses.replace(CALM, steps_per_frame=3)
    found = frame_times(model, GPU, load, 10)
    once = stage_cost(model, GPU, Stage.of_lengths(10, load.context_tokens))
    assert found.quiet_s == found.p50_s == found.p99_s == pytest.approx(3 * once.seconds)
    assert found.joules_per_session_s == pytest.approx(3 * once.energy_j / 10 / 0.08)


def test_bursts_follow_the_binomial_law_of_a_simulation() -> None:
    load = DuplexLoad(interruptions_per_min=30.0)  # 4 % of frames
    drawn = np.random.default_rng(0).binomial(50, load.burst_chance, 400_000)
    bursts = most_bursts(50, load)
    assert (drawn > bursts).mean() <= 0.01 < (drawn > bursts - 1).mean()
    found = frame_times(PRESETS.find_model("llama3-8b"), GPU, load, 50)
    assert found.p99_s > found.p50_s > found.quiet_s * 0.999
    assert most_bursts(50, CALM) == 0


def test_the_share_of_late_frames_is_that_of_many_bursts() -> None:
    """A deadline between the frame with 3 and with 4 bursts is missed as often as there are more than 3."""
    model, load = PRESETS.find_model("llama3-8b"), DuplexLoad(interruptions_per_min=30.0, burst_tokens=256)
    deadlines = []
    for bursts in (3, 4):
        pairs = bursts * (256 * 256 / 2 + 256 * load.context_tokens)
        stage = Stage(
            decode=50, context_tokens=50 * load.context_tokens, prompts=bursts, prompt_tokens=bursts * 256,
            prompt_pairs=pairs,
        )  # fmt: skip
        deadlines.append(stage_cost(model, GPU, stage).seconds)
    load = dataclasses.replace(load, deadline_s=sum(deadlines) / 2)
    drawn = np.random.default_rng(1).binomial(50, load.burst_chance, 400_000)
    assert frame_times(model, GPU, load, 50).miss_rate == pytest.approx((drawn > 3).mean(), abs=0.002)


def test_a_state_space_holds_as_many_after_an_hour_and_attention_does_not() -> None:
    rows = {
        name: [
            capacity(PRESETS.find_model(name), GPU, dataclasses.replace(CALM, conversation_s=60.0 * minutes)).sessions
            for minutes in (1, 10, 60)
        ]
        for name in ("llama3-8b", "minicpm-2.4b", "mamba2-2.7b")
    }
    assert len(set(rows["mamba2-2.7b"])) == 1
    for name in ("llama3-8b", "minicpm-2.4b"):
        assert rows[name][0] > 5 * rows[name][1] > 25 * rows[name][2]


def test_units_in_memory_hold_more_when_time_and_not_memory_is_short() -> None:
    model, load = PRESETS.find_model("llama3-8b"), dataclasses.replace(CALM, deadline_s=0.012)
    gpu, duplex = capacity(model, GPU, load), capacity(model, DUPLEX, load)
    assert gpu.limited_by == "deadline"
    assert duplex.sessions > 2 * gpu.sessions
    assert gpu.memory_sessions == duplex.memory_sessions


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["llama3-8b", "minicpm-2.4b", "mamba2-2.7b"]), device=st.sampled_from(["gpu", "duplex"]),
    minutes=st.floats(0.5, 60), deadline_s=st.floats(0.005, 0.08), interruptions=st.floats(0, 10),
    burst=st.integers(0, 256), gain=st.floats(1, 4),
)  # fmt: skip
def test_capacity_only_grows_with_what_is_given_and_falls_with_what_is_asked(
    name: str, device: str, minutes: float, deadline_s: float, interruptions: float, burst: int, gain: float
) -> None:
    """More time, more bandwidth, more memory: never fewer sessions. Longer talks, more bursts: never more."""
    model, system = PRESETS.find_model(name), System(device=PRESETS.find_device(device))
    load = DuplexLoad(
        deadline_s=deadline_s, conversation_s=60 * minutes, interruptions_per_min=interruptions, burst_tokens=burst
    )
    try:
        here = capacity(model, system, load)
    except InputError:  # not one session fits: longer ones do not either
        with pytest.raises(InputError, match="do not fit"):
            capacity(model, system, dataclasses.replace(load, conversation_s=60 * minutes * gain))
        return
    assert 0 <= here.sessions <= here.memory_sessions

    def of(changed: System = system, **changes: float) -> int:
        try:
            return capacity(model, changed, dataclasses.replace(load, **changes)).sessions
        except InputError:
            return 0

    assert of(deadline_s=gain * deadline_s) >= here.sessions
    for field in ("bytes_per_s", "flops_per_s", "capacity_bytes"):
        better = dataclasses.replace(system.device, **{field: gain * getattr(system.device, field)})
        assert of(system.replaced(device=better)) >= here.sessions
    assert of(conversation_s=60 * minutes * gain) <= here.sessions
    assert of(miss_rate=0.05) >= here.sessions


def test_no_room_at_all() -> None:
    model = PRESETS.find_model("llama3-8b")
    late = capacity(model, GPU, dataclasses.replace(CALM, deadline_s=0.001))
    assert (late.sessions, late.limited_by, late.times) == (0, "deadline", None)
    with pytest.raises(InputError, match="do not fit"):
        capacity(PRESETS.find_model("mixtral"), GPU, CALM)


@pytest.mark.parametrize(
    ("field", "value"),
    [("frame_s", 0.0), ("deadline_s", float("nan")), ("steps_per_frame", 0), ("conversation_s", -1.0),
     ("interruptions_per_min", 1e4), ("burst_tokens", -1), ("miss_rate", 1.0)],
)  # fmt: skip
def test_a_load_refuses_impossible_numbers(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        DuplexLoad(**{field: value})


def test_no_sessions_is_refused() -> None:
    with pytest.raises(ConfigError, match="sessions"):
        frame_times(PRESETS.find_model("llama3-8b"), GPU, CALM, 0)

"""The same sound gives the same conversation: however it is cut, wherever it is stopped, whoever else is talking."""

import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import Bench
from fakes import FakeEar, say, silence
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.listening.frames import Framer
from fullduplex.dialogue.policies.tdm import TdmConfig, TdmPolicy
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Policy, Session
from fullduplex.dialogue.snapshot import decode, encode
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.runner import Runner
from scripts_of_calls import bench_for_busy_call, busy_call, texts, trace

POLICIES: list[Policy] = [TurnsPolicy(), TdmPolicy(TdmConfig(slice_s=0.32))]


def in_packets(pcm: np.ndarray, sizes: list[int]) -> Bench:
    """The call, arriving in packets of these sizes (repeated as often as needed)."""
    bench = bench_for_busy_call()
    framer, at, turn = Framer.empty(), 0, 0
    while at < pcm.size:
        size = sizes[turn % len(sizes)]
        frames, framer = framer.push(pcm[at : at + size])
        for frame in frames:
            bench.hear(frame)
        at, turn = at + size, turn + 1
    return bench


@pytest.fixture(scope="module")
def whole() -> list[str]:
    return texts(in_packets(busy_call(), [FRAME_SAMPLES]))


@pytest.mark.parametrize("sizes", [[16], [160], [333], [512], [1], [4001, 7], [16_000]], ids=str)
def test_any_packets_give_the_same_events(whole: list[str], sizes: list[int]) -> None:
    pcm = busy_call() if sizes != [1] else busy_call()[: 16_000 * 2]
    got = texts(in_packets(pcm, sizes))
    assert got == (whole if sizes != [1] else whole[: len(got)])
    assert got


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 16_000), min_size=1, max_size=12))
def test_irregular_packets_give_the_same_events(sizes: list[int]) -> None:
    assert texts(in_packets(busy_call(), sizes)) == texts(in_packets(busy_call(), [FRAME_SAMPLES]))


class PeekingEar(FakeEar):
    """An ear with a planted bug: it knows the next frame."""

    future: ClassVar[dict[int, np.ndarray]] = {}

    def step(self, pcm: np.ndarray, state: int) -> tuple[float, int]:
        return super().step(self.future.get(state + 1, pcm), state)


def events_up_to(pcm: np.ndarray, frame: int, *, peek: bool = False) -> list[str]:
    bench = bench_for_busy_call()
    if peek:
        PeekingEar.future = {
            i: pcm[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES] for i in range(pcm.size // FRAME_SAMPLES)
        }
        bench.runner.session = replace(bench.session, ear=PeekingEar())
    for i in range(frame + 1):
        bench.hear(pcm[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
    return texts(bench)


def changed_after(pcm: np.ndarray, frame: int) -> np.ndarray:
    """Silence becomes speech and speech silence from the frame after `frame` on."""
    changed = pcm.copy()
    rest = changed[(frame + 1) * FRAME_SAMPLES :]
    rest[:] = np.where(rest == 0, np.float32(0.2), np.float32(0))
    return changed


@pytest.mark.parametrize("frame", range(3, 150, 13))
def test_the_future_cannot_change_the_past(frame: int) -> None:
    pcm = busy_call()
    assert events_up_to(pcm, frame) == events_up_to(changed_after(pcm, frame), frame)


def test_that_check_finds_an_ear_that_looks_ahead() -> None:
    pcm = np.concatenate([silence(0.32), say("count"), silence(1.0)])
    found = [
        events_up_to(pcm, frame, peek=True) != events_up_to(changed_after(pcm, frame), frame, peek=True)
        for frame in range(4, 20)
    ]
    assert any(found)


def test_two_sessions_step_by_step_equal_their_solo_runs() -> None:
    one, other = busy_call(), np.concatenate([silence(0.5), say("tell me more"), silence(7.0), say("count")])
    solo = [texts(trace(bench_for_busy_call(), pcm, every=1000).bench) for pcm in (one, other)]
    benches = [bench_for_busy_call(), bench_for_busy_call()]
    for i in range(max(one.size, other.size) // FRAME_SAMPLES):
        for bench, pcm in zip(benches, (one, other), strict=True):
            frame = pcm[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES]
            if frame.size == FRAME_SAMPLES:
                bench.hear(frame)
    assert [texts(bench) for bench in benches] == solo


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_state_restored_from_text_at_any_frame_goes_on_identically(policy: Policy) -> None:
    run = trace(bench_for_busy_call(policy), busy_call(), every=5)
    frames = [decode(encode(frame)) for frame in run.bench.frames]
    session = Session(ear=FakeEar(), policy=policy, config=run.bench.session.config)
    for saved in run.states:
        state = decode(saved)
        assert encode(state) == saved
        first = state.frame_index
        events: list[str] = []
        for frame in frames[first:]:
            now, state = session.step(frame, state)
            events += [f"{frame.index} {encode(event)}" for event in now if not isinstance(event, ev.Ask | ev.Cancel)]
        assert events == [text for text in run.events if int(text.split()[0]) >= first]
        assert encode(state) == encode(run.bench.runner.state)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_driver_killed_at_any_frame_asks_again_and_nothing_is_lost_or_said_twice(policy: Policy) -> None:
    pcm = busy_call()
    for killed in range(0, pcm.size // FRAME_SAMPLES, 5):
        bench = bench_for_busy_call(policy)
        bench.hear(pcm[: killed * FRAME_SAMPLES]) if killed else None
        bench.lanes = SimulatedLanes(bench.ports.run, charge=lambda request, index: 0.02)
        bench.runner = Runner(bench.session, bench.lanes, state=decode(encode(bench.runner.state)))
        bench.hear(pcm[killed * FRAME_SAMPLES :])
        bench.hear(silence(3.0))
        assert bench.floor == "idle", killed
        assert bench.speaker.stale_samples == 0
        heard = [text for role, text in bench.items() if role == "assistant"]
        assert bench.heard == " ".join(heard), killed
        assert re.sub(r"\b(\w+) \1\b", "", bench.heard) == bench.heard, killed


def test_a_log_with_reactions_in_mid_frame_replays_to_the_bit() -> None:
    bench = bench_for_busy_call()
    pcm = busy_call()
    events: list[str] = []
    for i in range(pcm.size // FRAME_SAMPLES):
        at_s = bench.runner.now_s + 0.016
        events += [encode(event) for event in bench.runner.react(at_s)]
        before = len(bench.events)
        bench.hear(pcm[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
        events += [encode(event) for _, event in bench.events[before:]]
    state = bench.session.init()
    again: list[str] = []
    for frame in bench.frames:
        now, state = bench.session.step(frame, state)
        again += [encode(event) for event in now if not isinstance(event, ev.Ask | ev.Cancel)]
    assert any(frame.pcm.size == 0 for frame in bench.frames)
    assert again == events
    assert encode(state) == encode(bench.runner.state)

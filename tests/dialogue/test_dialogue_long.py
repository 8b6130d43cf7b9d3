"""An hour of it: nothing grows but the words, nothing drifts."""

import numpy as np
import psutil
import pytest

from bench import Bench
from fakes import FakeEar, FakePorts, say, silence
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.dialogue.snapshot import encode
from fullduplex.evaluate.measures import continuity

HOUR_FRAMES = 3600 * 16_000 // FRAME_SAMPLES


@pytest.mark.slow
def test_an_hour_of_turns_leaves_memory_flat_and_the_books_exact() -> None:
    bench = Bench(FakePorts({"count": "one two three", "mm-hm count": "one"}))
    sizes: list[int] = []
    memory: list[int] = []
    turn = np.concatenate([say("count"), silence(2.2), say("mm-hm"), silence(1.5), say("stop"), silence(2.3)])
    answers = 0
    process = psutil.Process()
    while bench.runner.state.frame_index < HOUR_FRAMES:
        bench.hear(turn)
        answers += len(bench.of(ev.ReplyDone))
        assert not bench.of(ev.DeadlineMissed) and not bench.of(ev.Failure)
        assert continuity(bench.pieces) == (0, 0)
        bench.forget()
        if bench.runner.state.frame_index % 4000 < turn.size // FRAME_SAMPLES:
            sizes.append(len(encode(bench.runner.state)))
            memory.append(process.memory_info().rss)
    state = bench.runner.state
    assert answers > 400
    assert bench.speaker.stale_samples == 0
    assert state.playback.heard == state.playback.sent  # acknowledgements and sound agree to the sample
    assert len(state.history.items) <= state.history.max_items
    half = len(sizes) // 2  # the history is full by then
    assert max(sizes[half:]) <= 1.05 * max(sizes[half // 2 : half]) + 20_000
    assert (
        max(memory[half:]) <= max(memory[half // 2 : half]) + 24_000_000
    )  # a frame that is kept is 2 kB: 100 MB by now


@pytest.mark.slow
def test_a_monologue_of_an_hour_keeps_the_words_and_not_the_sound() -> None:
    session = Session(ear=FakeEar(), policy=TurnsPolicy(), config=SessionConfig())
    state = session.init()
    pattern = np.concatenate([np.full(28 * FRAME_SAMPLES, 0.2, np.float32), np.zeros(4 * FRAME_SAMPLES, np.float32)])
    frames = pattern.reshape(-1, FRAME_SAMPLES)
    inputs: tuple[ev.Input, ...] = ()
    longest = kept = asked = 0
    for index in range(HOUR_FRAMES):
        events, state = session.step(ev.Frame(index=index, pcm=frames[index % 32], inputs=inputs), state)
        answers: list[ports.Result] = []
        for event in events:
            if isinstance(event, ev.Ask) and isinstance(event.request, ports.Recognise):
                words = f"w{index // 500} because" if event.request.pcm.size > 4000 else ""
                answers.append(ports.Recognised(ticket=event.request.ticket, text=words))
                longest, asked = max(longest, event.request.pcm.size), asked + 1
            elif isinstance(event, ev.Ask) and isinstance(event.request, ports.ScoreEnd):
                answers.append(ports.EndScored(ticket=event.request.ticket, probability=0.0001))
            elif isinstance(event, ev.Ask) and isinstance(event.request, ports.JudgeEnd):
                answers.append(ports.EndJudged(ticket=event.request.ticket, probability=0.0001))
            elif isinstance(event, ev.Ask) and isinstance(event.request, ports.Prefill):
                answers.append(ports.Prefilled(ticket=event.request.ticket))
        inputs = tuple(answers)
        kept = max(kept, len(state.hearing.frames))
    assert asked > 5100
    assert longest <= 520 * FRAME_SAMPLES
    assert kept <= 520
    assert len(state.pending) <= 4
    assert len(encode(state)) <= 8_000_000
    assert len(state.hearing.transcript.split()) > 600


def test_fifty_hums_in_a_row_never_add_up() -> None:
    long = " ".join(f"w{i}" for i in range(200))
    bench = Bench(FakePorts({"count": long}))
    bench.hear(say("count"))
    bench.hear(silence(1.0))
    for i in range(50):
        bench.hear(say(["mm-hm", "yeah", "okay", "right", "uh-huh", "you"][i % 6]))
        bench.hear(silence(0.9))
    bench.hear(silence(40.0))
    assert bench.heard == long
    assert continuity(bench.pieces) == (0, 0)
    assert bench.items() == [("user", "count"), ("assistant", long)]

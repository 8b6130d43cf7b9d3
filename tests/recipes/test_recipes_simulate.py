"""A scripted caller against parts without models: repeatable, accounted for, written down."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeEar, FakePorts, say
from fullduplex.base.record import hash_bytes
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.evaluate.caller import Act, Caller
from fullduplex.evaluate.clips import load_clip
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.kernels.decoder.library import decoder_library
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.replay import replay_sound
from fullduplex.recipes.report import event_line, labels_of, write_conversation
from fullduplex.recipes.runner import Runner
from fullduplex.recipes.simulate import Conversation, Pace, Simulation, simulate
from fullduplex.recipes.talk import TalkConfig, make_ports, make_runner, make_session
from fullduplex.speech.echo import NoEcho
from fullduplex.speech.voice import ToneVoice

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def act(role: str, text: str, when: str = "after_reply", delay_s: float = 0.4) -> Act:
    return Act(role=role, text=text, pcm=say(text), when=when, delay_s=delay_s)


SCRIPT = (
    act("turn", "count"),
    act("backchannel", "mm-hm", "into_reply", 0.7),
    act("interruption", "stop stop", "into_reply", 2.0),
    act("turn", "count"),
)


class Listening(FakePorts):
    """The room adds a little noise; the word code is read from the rounded sound."""

    def run(self, request, cancelled):
        if isinstance(request, ports.Recognise):
            level = np.round(request.pcm / 0.0005) * 0.0005
            request = ports.Recognise(ticket=request.ticket, pcm=level.astype(np.float32))
        yield from super().run(request, cancelled)


def conversation() -> Conversation:
    fakes = Listening({"count": LONG, "stop stop": "fine"})
    session = Session(ear=FakeEar(), policy=TurnsPolicy())
    runner = Runner(session, SimulatedLanes(fakes.run, charge=lambda request, index: 0.02))
    return simulate(SCRIPT, runner, NoEcho(), room=RoomConfig(noise_db=-200.0))


def test_an_apology_of_a_brain_that_fails_is_counted_as_such(one: Conversation) -> None:
    class Broken(Listening):
        def run(self, request, cancelled):
            if isinstance(request, ports.Generate):
                yield ports.Failed(ticket=request.ticket, message="no server")
            else:
                yield from super().run(request, cancelled)

    session = Session(ear=FakeEar(), policy=TurnsPolicy())
    runner = Runner(session, SimulatedLanes(Broken().run, charge=lambda request, index: 0.02))
    failed = simulate(SCRIPT[:1], runner, NoEcho(), room=RoomConfig(noise_db=-200.0)).figures
    assert failed["answered"] == 1  # with an apology
    assert failed["failures"] >= 1
    assert failed["first_failure"] == "brain: no server"
    assert (one.figures["failures"], one.figures["first_failure"]) == (0, None)


@pytest.fixture(scope="module")
def one() -> Conversation:
    return conversation()


def test_a_charged_simulation_repeats_to_the_bit(one: Conversation) -> None:
    other = conversation()
    for name in ("caller", "machine", "microphone"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.outcomes == other.outcomes
    changing = {"step_ms_p99"}
    assert {k: v for k, v in one.figures.items() if k not in changing} == {
        k: v for k, v in other.figures.items() if k not in changing
    }


def test_everything_is_answered_stopped_and_accounted_for(one: Conversation) -> None:
    figures = one.figures
    assert (figures["turns"], figures["answered"], figures["cut_ins"]) == (3, 3, 0)
    assert (figures["harmless_sounds"], figures["false_stops"]) == (1, 0)
    assert (figures["repeated_words"], figures["missing_words"], figures["stale_s"]) == (0, 0, 0.0)
    assert [outcome.repeated_words for outcome in one.outcomes] == [0, None, 0, 0]
    assert [outcome.missing_words for outcome in one.outcomes] == [0, None, 0, 0]
    assert 0.0 < figures["stop_s_median"] < 0.3
    assert 0.0 < figures["reply_gap_s_median"] < 1.0
    assert one.caller.size == one.machine.size == one.microphone.size == round(figures["duration_s"] * EAR_RATE_HZ)


def test_the_report_exists_and_can_be_read(one: Conversation, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("matplotlib")
    written = write_conversation(tmp_path / "out", one, title="a test")
    assert sorted(written) == ["events", "figures", "sound", "timeline"]
    sound, rate_hz = soundfile.read(written["sound"])
    assert rate_hz == EAR_RATE_HZ and sound.shape == (one.caller.size, 2)
    np.testing.assert_allclose(sound[:, 0], one.caller, atol=1 / 32_000)
    assert Path(written["timeline"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    lines = [json.loads(line) for line in Path(written["events"]).read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(one.events)
    assert {"TurnChanged", "AudioOut", "ReplyDone"} <= {line["event"] for line in lines}
    assert [line["at_s"] for line in lines] == sorted(line["at_s"] for line in lines)
    figures = json.loads(Path(written["figures"]).read_text(encoding="utf-8"))
    assert figures["figures"]["turns"] == 3 and len(figures["acts"]) == 4


def test_labels_say_what_was_understood_and_heard(one: Conversation) -> None:
    labels, floors = labels_of(one.events)
    assert [label.text for label in labels if label.lane == "caller"] == ["count", "stop stop", "count"]
    machine = [label.text for label in labels if label.lane == "machine"]
    assert machine[-1] == LONG and machine[0].endswith("—")
    assert {floor for _, floor in floors} >= {"listening", "thinking", "speaking", "overlap", "idle"}


def test_a_limit_ends_a_conversation() -> None:
    runner = Runner(
        Session(ear=FakeEar(), policy=TurnsPolicy()), SimulatedLanes(FakePorts().run, charge=lambda r, i: 0.02)
    )
    done = simulate(SCRIPT, runner, NoEcho(), pace=Pace(limit_s=1.0))
    assert done.figures["duration_s"] == pytest.approx(1.0, abs=0.04)


def test_the_fallbacks_hold_a_conversation(scripted: Parts) -> None:
    """No recogniser: nothing is understood, and nothing breaks."""
    runner = make_runner(scripted, TalkConfig())
    pcm = np.concatenate([np.zeros(8000, np.float32), say("hello there"), np.zeros(8000, np.float32)])
    done = replay_sound(pcm, runner, NoEcho())
    assert done.figures["turns"] == 1
    assert np.isfinite(done.machine).all()


@pytest.mark.slow
def test_two_conversations_over_the_same_real_models_equal_their_solo_runs(real: Parts) -> None:
    """All but the voice: Piper draws its breath from a generator that nobody can seed."""
    if decoder_library() is None:
        pytest.skip("llama.cpp's beliefs depend on where a conversation lies in its cache (docs/adr/0014)")
    parts = replace(real, voice=ToneVoice())
    scripts = [
        tuple(Act(role="turn", text=load_clip(name).text, pcm=load_clip(name).pcm) for name in names)
        for names in (("question-01", "question-03"), ("question-05", "question-16"))
    ]

    def begin(script: tuple[Act, ...], key: str) -> tuple[Simulation, Runner]:
        lanes = SimulatedLanes(make_ports(parts, key=key).run, charge=lambda request, index: 0.02)
        caller = Simulation(caller=Caller(acts=script), room=Room.make(RoomConfig()), echo=NoEcho())
        return caller, Runner(make_session(parts, TalkConfig()), lanes)

    def run(pairs: list[tuple[Simulation, Runner]]) -> list[list[str]]:
        while not all(simulation.caller.finished for simulation, _ in pairs):
            for simulation, runner in pairs:
                if not simulation.caller.finished:
                    simulation.frame(runner)
        return [[*map(whole_line, simulation.events)] for simulation, _ in pairs]

    def whole_line(pair: tuple[float, ev.Event]) -> str:
        sound = hash_bytes([pair[1].pcm.tobytes()]) if isinstance(pair[1], ev.AudioOut) else ""
        return event_line(*pair) + sound

    solo = [run([begin(script, f"solo {i}")])[0] for i, script in enumerate(scripts)]
    together = run([begin(script, f"together {i}") for i, script in enumerate(scripts)])
    assert sum("ReplyDone" in line for line in solo[0]) >= 2
    assert together == solo


@pytest.mark.slow
def test_two_real_turns_are_answered_and_what_the_history_holds_was_audible(real: Parts) -> None:
    """The machine's own track, read by the recogniser, holds the words that the history says were heard."""
    from fullduplex.dialogue.listening.transcript import words_of
    from fullduplex.evaluate.measures import audible_spans

    acts = tuple(
        Act(role="turn", text=clip.text, pcm=clip.pcm, delay_s=0.6)
        for clip in (load_clip("question-03"), load_clip("question-13"))
    )
    runner = make_runner(real, TalkConfig())
    done = simulate(acts, runner, NoEcho())
    assert done.figures["answered"] == 2
    assert done.figures["missing_words"] == done.figures["repeated_words"] == 0
    items = runner.state.history.items
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant"]
    assert real.recogniser is not None
    said = [word for item in items if item.role == "assistant" for word in words_of(item.text)]
    read: list[str] = []
    for start, end in audible_spans(done.machine, bridge_s=0.6):
        for low in range(max(start - 3200, 0), end, 12 * EAR_RATE_HZ):
            read += words_of(
                real.recogniser.recognise(done.machine[low : min(low + 12 * EAR_RATE_HZ, end + 3200)], ()).text
            )
    missing = [word for word in set(said) if len(word) > 3 and word not in read]
    assert len(missing) <= 0.3 * len({word for word in said if len(word) > 3}), (said, read)

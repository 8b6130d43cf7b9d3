"""The runner: requests to the lanes and back, a log that replays, a restored conversation that asks again."""

from pathlib import Path

import pytest

from bench import Bench, charge
from fakes import FakeEar, FakePorts, say, silence
from fullduplex.base.errors import FormatError
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.dialogue.policies.tdm import TdmConfig, TdmPolicy
from fullduplex.dialogue.session import Session
from fullduplex.dialogue.snapshot import decode, encode
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.replay import FrameLog, Setup, read_frames, read_log, replay_frames
from fullduplex.recipes.runner import Runner

LONG = "one two three four five six seven eight nine ten eleven twelve"


def test_the_world_outside_never_sees_requests() -> None:
    bench = Bench()
    bench.hear(say("hello"))
    bench.hear(silence(3.0))
    assert bench.events
    assert not any(isinstance(event, ev.Ask | ev.Cancel) for _, event in bench.events)


def test_an_answer_that_was_half_given_is_not_given_twice() -> None:
    bench = Bench(FakePorts({"count": LONG}))
    bench.lanes._charge = lambda request, index: 0.1
    bench.hear(say("count"))

    def pending() -> list[ports.Request]:
        return [r for r in bench.runner.state.pending if isinstance(r, ports.Generate)]

    while not (pending() and pending()[0].received_chars > 20):
        bench.hear(silence(0.032))
    bench.runner = Runner(
        bench.session, SimulatedLanes(bench.ports.run, charge=charge), state=decode(encode(bench.runner.state))
    )
    bench.hear(silence(8.0))
    assert bench.heard == LONG
    assert bench.items()[-1] == ("assistant", LONG)


def recorded(file: Path) -> Bench:
    bench = Bench(FakePorts({"count": LONG}))
    log = FrameLog(file)
    bench.runner._log = log
    bench.hear(say("count"))
    bench.hear(silence(1.5))
    bench.hear(say("stop"))
    bench.hear(silence(3.0))
    log.close()
    return bench


def test_a_frame_log_replays_to_the_bit(tmp_path: Path) -> None:
    bench = recorded(tmp_path / "frames.jsonl")
    replayed = replay_frames(read_frames(tmp_path / "frames.jsonl"), bench.session)
    assert encode(replayed.state) == encode(bench.runner.state)
    outside = [encode(event) for _, event in replayed.events if not isinstance(event, ev.Ask | ev.Cancel)]
    assert outside == [encode(event) for _, event in bench.events]


def test_a_log_says_how_to_replay_it(tmp_path: Path) -> None:
    """A duplex conversation in slices, with a system message of its own."""
    file = tmp_path / "frames.jsonl"
    policy = TdmPolicy(TdmConfig(slice_s=0.64, slice_tokens=4, layout="pairs"))
    config = SessionConfig(system="Be brief.", memory_words=35)
    bench = Bench(FakePorts({"count": LONG}), policy=policy, config=config)
    with FrameLog(file) as log:
        log.describe(Setup.of(bench.session, "energy"))
        bench.runner._log = log
        bench.hear(say("count"))
        bench.hear(silence(4.0))
    assert bench.heard
    setup, frames = read_log(file)
    assert setup is not None and setup == Setup(policy=policy, session=config, ear="energy")
    replayed = replay_frames(frames, Session(ear=FakeEar(), policy=setup.policy, config=setup.session))
    assert encode(replayed.state) == encode(bench.runner.state)


def test_a_log_without_a_setup_is_read_and_a_wrong_setup_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "frames.jsonl"
    recorded(file)
    assert read_log(file)[0] is None
    frames = file.read_text(encoding="utf-8")
    for first in ('{"$":"Setup","policy":1,"session":2,"ear":3}', '{"$":"Setup","policy":1}'):
        file.write_text(f"{first}\n{frames}", encoding="utf-8")
        with pytest.raises(FormatError, match="line 1"):
            read_log(file)


def test_a_log_whose_last_line_was_cut_loses_only_that_frame(tmp_path: Path) -> None:
    file = tmp_path / "frames.jsonl"
    recorded(file)
    whole = read_frames(file)
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: len(text) - 300], encoding="utf-8")
    cut = read_frames(file)
    assert [encode(frame) for frame in cut] == [encode(frame) for frame in whole[: len(cut)]]
    assert len(whole) - 2 <= len(cut) < len(whole)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"not json\n{}\n", b'{"$":"Heard","utterance":1,"samples":1,"epoch":0}\n', b"\xff\xfe\x00\n"],
    ids=["empty", "blank lines", "text", "no frame", "no text"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    with pytest.raises(FormatError):
        read_frames(file)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "absent.jsonl"):
        with pytest.raises(FormatError):
            read_frames(file)


def test_frames_of_another_conversation_are_refused(tmp_path: Path) -> None:
    bench = recorded(tmp_path / "frames.jsonl")
    frames = read_frames(tmp_path / "frames.jsonl")
    with pytest.raises(ValueError, match="expected frame 0"):
        replay_frames(frames[5:], bench.session)
    assert isinstance(bench.session.ear, FakeEar)

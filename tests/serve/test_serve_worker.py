"""One conversation without sockets: the clock is an argument, so seconds pass at once."""

import base64
import json
from itertools import pairwise

import numpy as np
import pytest

from fakes import FakeEar, FakePorts, read, say
from fullduplex.base.units import FRAME_S, VOICE_RATE_HZ
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.numerics.signal import pcm16_from_float, pcm_from_pcm16
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.runner import Runner
from fullduplex.serve.metrics import Metrics
from fullduplex.serve.realtime.settings import Offer
from fullduplex.serve.record import Recorder
from fullduplex.serve.worker import Worker

LONG = " ".join(f"w{i}" for i in range(40))
CHUNK = VOICE_RATE_HZ // 50


class Desk:
    """A worker, its clock, and what it has said."""

    def __init__(self, ports: FakePorts | None = None, **options: object) -> None:
        self.ports = ports or FakePorts()
        self.metrics = Metrics()
        lanes = SimulatedLanes(self.ports.run, charge=lambda request, index: 0.01)
        self.runner = Runner(Session(ear=FakeEar(), policy=TurnsPolicy()), lanes)
        self.now_s = 100.0
        self.worker = Worker(self.runner, key="k", offer=Offer(), metrics=self.metrics, now_s=self.now_s, **options)
        self.events: list[dict] = []
        self.turn()

    def turn(self) -> list[dict]:
        out = [json.loads(text) for text in self.worker.turn(self.now_s)]
        while self.worker.busy:
            out += [json.loads(text) for text in self.worker.turn(self.now_s)]
        self.events += out
        return out

    def send(self, kind: str, **fields: object) -> None:
        self.worker.offer(json.dumps({"type": kind, **fields}), self.now_s)

    def append(self, pcm: np.ndarray, **fields: object) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(pcm16_from_float(pcm)).decode(), **fields)

    def stream(self, pcm: np.ndarray) -> None:
        for i in range(0, pcm.size, CHUNK):
            self.now_s += CHUNK / VOICE_RATE_HZ
            self.append(pcm[i : i + CHUNK])
            self.turn()

    def say(self, text: str) -> None:
        self.stream(say(text, rate_hz=VOICE_RATE_HZ))

    def quiet(self, seconds: float) -> None:
        self.stream(np.zeros(round(seconds * VOICE_RATE_HZ), np.float32))

    def wait(self, seconds: float) -> None:
        """Time passes and the client sends nothing."""
        for _ in range(round(seconds / 0.016)):
            self.now_s += 0.016
            self.turn()

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    def count(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"fullduplex_{name}_total") or 0.0

    @property
    def floor(self) -> str:
        return self.runner.state.floor.value

    def items(self) -> list[tuple[str, str]]:
        return [(item.role, item.text) for item in self.runner.state.history.items]


def test_a_client_that_stops_sending_in_mid_air_is_answered() -> None:
    desk = Desk(FakePorts({"hello there": "good morning"}))
    desk.say("hello there")
    desk.wait(3.0)
    assert desk.items() == [("user", "hello there"), ("assistant", "good morning")]
    assert desk.of("response.done")[0]["response"]["status"] == "completed"


def test_no_time_passes_while_nothing_is_waited_for() -> None:
    desk = Desk()
    desk.wait(10.0)
    assert desk.runner.state.frame_index == 0
    assert desk.worker.wait_s > 0.1


def test_silence_passes_in_real_time_and_a_late_burst_pays_it_back() -> None:
    desk = Desk(FakePorts({"count": LONG}))
    desk.say("count")
    desk.quiet(1.0)
    assert desk.floor == "speaking"
    frames = desk.runner.state.frame_index
    began_s = desk.now_s
    desk.wait(1.0)
    passed = desk.runner.state.frame_index - frames
    assert passed * FRAME_S == pytest.approx(1.0 - 0.1, abs=0.1)
    assert desk.count("silent_frames") == passed
    # the second that was late comes at once: it is heard, but it is not a second of patience on top
    desk.append(np.zeros(VOICE_RATE_HZ, np.float32))
    desk.turn()
    frames = desk.runner.state.frame_index
    desk.wait(1.0)
    assert (desk.runner.state.frame_index - frames) * FRAME_S >= 0.75
    assert desk.now_s - began_s == pytest.approx(2.0, abs=0.05)


def test_jitter_of_a_fifth_of_a_second_does_not_cut_a_word() -> None:
    desk = Desk()
    sound = say("hello there", rate_hz=VOICE_RATE_HZ)
    for i in range(0, sound.size, 10 * CHUNK):  # in bursts of 200 ms
        desk.now_s += 0.2
        desk.append(sound[i : i + 10 * CHUNK])
        desk.turn()
        for _ in range(12):
            desk.now_s += 1e-6
            desk.turn()
    desk.quiet(0.8)
    assert desk.items()[0] == ("user", "hello there")
    assert desk.count("silent_frames") == 0


def test_a_long_recording_sent_at_once_is_read_whole() -> None:
    desk = Desk()
    words = " ".join(f"q{i}" for i in range(50))
    desk.append(say(words, rate_hz=VOICE_RATE_HZ))
    desk.turn()
    desk.wait(4.0)
    assert desk.items()[0] == ("user", words)
    assert desk.count("shed_frames") == 0


def test_a_machine_that_cannot_keep_up_sheds_the_oldest_and_says_so() -> None:
    desk = Desk()
    desk.send("session.update", session={"fullduplex": {"playback_acks": True}})
    desk.turn()
    for _ in range(200):  # four seconds in which no turn came
        desk.now_s += 0.02
        desk.append(np.zeros(CHUNK, np.float32))
    desk.turn()
    assert desk.count("shed_frames") * FRAME_S == pytest.approx(3.0, abs=0.1)
    assert desk.of("fullduplex.dropped")


def test_push_to_talk_of_text_and_sound() -> None:
    desk = Desk()
    desk.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
    desk.say("one thing")
    desk.wait(2.0)
    assert not desk.of("response.created")
    desk.send("input_audio_buffer.commit")
    desk.send("response.create")
    desk.wait(3.0)
    assert desk.items()[0] == ("user", "one thing")
    assert desk.of("response.done")[0]["response"]["status"] == "completed"
    frames = desk.runner.state.frame_index
    desk.wait(5.0)
    assert desk.runner.state.frame_index == frames


def test_a_commit_over_the_reply_takes_the_floor() -> None:
    desk = Desk(FakePorts({"count": LONG, "yeah": "you did say yeah"}))
    desk.say("count")
    desk.quiet(1.2)
    desk.say("yeah")
    desk.send("input_audio_buffer.commit")
    desk.wait(3.0)
    assert [item for item in desk.items() if item[0] == "user"] == [("user", "count"), ("user", "yeah")]
    statuses = [event["response"]["status"] for event in desk.of("response.done")]
    assert statuses == ["cancelled", "completed"]


class Speaker:
    """A client with the extension: plays, answers flushes, reports with every piece of sound."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.speaker = ls.Loudspeaker()
        self.items: list[str] = []
        self.played: list[np.ndarray] = []
        self.taken = 0

    def run(self, pcm: np.ndarray, *, echo: float = 0.0) -> None:
        for i in range(0, pcm.size, CHUNK):
            self._take()
            out, self.speaker, _ = ls.pull(self.speaker, CHUNK)
            self.played.append(out)
            near = pcm[i : i + CHUNK] + echo * out[: pcm[i : i + CHUNK].size]
            mark = {}
            if self.speaker.utterance:
                item = self.items[self.speaker.utterance - 1]
                mark = {
                    "fullduplex": {"item_id": item, "epoch": self.speaker.epoch, "played_samples": self.speaker.played}
                }
            self.desk.now_s += CHUNK / VOICE_RATE_HZ
            self.desk.append(near, **mark)
            self.desk.turn()

    def _take(self) -> None:
        for event in self.desk.events[self.taken :]:
            if event["type"] == "response.output_audio.delta":
                if event["item_id"] not in self.items:
                    self.items.append(event["item_id"])
                where = event["fullduplex"]
                pcm = pcm_from_pcm16(base64.b64decode(event["delta"]))
                number = self.items.index(event["item_id"]) + 1
                self.speaker = ls.play(self.speaker, number, where["epoch"], where["start"], pcm)
            elif event["type"] == "fullduplex.flush":
                self.speaker, report = ls.flush(self.speaker, self.speaker.utterance, event["epoch"])
                self.desk.send(
                    "fullduplex.playback",
                    item_id=event["item_id"],
                    epoch=report.epoch,
                    played_samples=report.samples,
                )
        self.taken = len(self.desk.events)


class Subtract:
    """A perfect echo canceller for a loop gain of one half: what is left must be silence."""

    echo_share = 0.0

    def __init__(self) -> None:
        self.rest: list[np.ndarray] = []

    def process(self, near_pcm: np.ndarray, far_pcm: np.ndarray) -> np.ndarray:
        self.rest.append(near_pcm - np.float32(0.5) * far_pcm)
        return self.rest[-1]


def quiet(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * VOICE_RATE_HZ), np.float32)


def test_the_reference_of_the_echo_canceller_is_aligned_to_the_sample() -> None:
    echo = Subtract()
    desk = Desk(FakePorts({"count": LONG, "no stop it": "fine"}), echo=echo)
    desk.send("session.update", session={"fullduplex": {"playback_acks": True, "echo_cancellation": True}})
    client = Speaker(desk)
    client.run(say("count", rate_hz=VOICE_RATE_HZ))
    client.run(quiet(3.0), echo=0.5)
    assert desk.floor == "speaking"  # it hears itself at half its level and is not disturbed
    rest = np.concatenate(echo.rest)[16_000:]
    assert np.abs(rest).max() < 1e-3
    client.run(say("no stop it", rate_hz=VOICE_RATE_HZ), echo=0.5)
    client.run(quiet(2.0), echo=0.5)
    assert desk.floor == "idle"
    assert [role for role, _ in desk.items()] == ["user", "assistant", "user", "assistant"]
    assert desk.items()[2] == ("user", "no stop it")
    heard = np.concatenate(client.played)
    assert read(heard[heard > 0.01], rate_hz=VOICE_RATE_HZ) == f"{desk.items()[1][1]} fine"


def test_what_is_mostly_echo_interrupts_nobody() -> None:
    class Useless:
        """Removes nothing and knows it."""

        echo_share = 1.0

        def process(self, near_pcm: np.ndarray, far_pcm: np.ndarray) -> np.ndarray:
            return near_pcm

    desk = Desk(FakePorts({"count": LONG}), echo=Useless())
    client = Speaker(desk)
    desk.send("session.update", session={"fullduplex": {"playback_acks": True}})
    client.run(say("count", rate_hz=VOICE_RATE_HZ))
    client.run(quiet(1.0))
    desk.send("session.update", session={"fullduplex": {"playback_acks": True, "echo_cancellation": True}})
    client.run(quiet(3.0), echo=0.9)
    assert desk.floor == "speaking"
    assert not desk.of("fullduplex.flush")


def test_acknowledgements_are_exact_and_progress_is_told() -> None:
    desk = Desk(FakePorts({"count": LONG}))
    desk.send("session.update", session={"fullduplex": {"playback_acks": True}})
    client = Speaker(desk)
    client.run(say("count", rate_hz=VOICE_RATE_HZ))
    client.run(quiet(1.5))
    client.run(say("yeah", rate_hz=VOICE_RATE_HZ))
    client.run(quiet(1.0))
    flush = desk.of("fullduplex.flush")[0]
    resumed = desk.of("fullduplex.resumed")[0]
    after = [e for e in desk.of("response.output_audio.delta") if e["fullduplex"]["epoch"] == flush["epoch"]]
    assert after[0]["fullduplex"]["start"] == resumed["start"]
    heard = [event["text"] for event in desk.of("fullduplex.heard")]
    assert all(later.startswith(earlier) for earlier, later in pairwise(heard))
    stops = [event["stop_ms"] for event in desk.of("fullduplex.latency") if "stop_ms" in event]
    assert stops == [64]
    desk.send("response.cancel")
    client.run(quiet(0.2))
    assert len(desk.of("fullduplex.flush")) == 2
    assert len([event for event in desk.of("fullduplex.latency") if "stop_ms" in event]) == 1  # that was a button
    gaps = [event["reply_gap_ms"] for event in desk.of("fullduplex.latency") if "reply_gap_ms" in event]
    assert 0 < gaps[0] < 500


def test_acknowledgements_without_the_extension_are_refused() -> None:
    desk = Desk()
    desk.send("fullduplex.playback", item_id="x", epoch=0, played_samples=0)
    desk.turn()
    assert desk.of("error")[0]["error"]["code"] == "unsupported_operation"


def test_a_recording_has_both_sides_and_every_message(tmp_path) -> None:
    soundfile = pytest.importorskip("soundfile")
    desk = Desk(FakePorts({"hello": "good morning"}), recorder=Recorder(tmp_path, "one"))
    desk.say("hello")
    desk.quiet(2.0)
    desk.worker.close()
    sound, rate = soundfile.read(tmp_path / "one.flac", dtype="float32")
    assert (rate, sound.shape[1]) == (16_000, 2)
    assert np.abs(sound[:2000, 0]).max() > 0.05
    assert np.abs(sound[:, 1]).max() > 0.05
    lines = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    kinds = {line["type"] for line in lines}
    assert {"session.created", "response.done"} <= kinds
    assert not any("delta" in line for line in lines if line["type"] == "response.output_audio.delta")
    assert [line["t_s"] for line in lines] == sorted(line["t_s"] for line in lines)


def test_a_closed_worker_has_closed_its_session() -> None:
    desk = Desk()
    desk.worker.close()
    assert desk.floor == "closed"
    desk.wait(1.0)
    assert desk.floor == "closed"


@pytest.mark.parametrize("jump_s", [3600.0, -5.0, -3600.0])
@pytest.mark.parametrize("when", ["idle", "listening", "speaking"])
def test_a_clock_that_jumps_loses_no_word_and_makes_up_no_silence(jump_s: float, when: str) -> None:
    desk = Desk(FakePorts({"count": LONG, "hello there": "good morning"}))
    if when == "speaking":
        desk.say("count")
        desk.quiet(1.0)
    elif when == "listening":
        desk.say("hello")
    assert desk.floor == when
    frames = desk.runner.state.frame_index
    desk.now_s += jump_s
    desk.turn()
    assert (desk.runner.state.frame_index - frames) * FRAME_S < 2.0
    if when == "speaking":
        desk.say("no stop it")
    desk.quiet(3.0)
    desk.say("hello there")
    desk.quiet(3.0)
    assert desk.items()[-2:] == [("user", "hello there"), ("assistant", "good morning")]


def test_a_rate_that_changes_in_mid_stream_is_refused_and_the_stream_goes_on() -> None:
    desk = Desk(FakePorts({"hello there": "good morning"}))
    sound = say("hello there", rate_hz=VOICE_RATE_HZ)
    desk.stream(sound[: sound.size // 2])
    other = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    desk.send("session.update", session={"type": "realtime", **other})
    desk.turn()
    (error,) = desk.of("error")
    assert "16000" in error["error"]["message"] and "format" in error["error"]["param"]
    desk.stream(sound[sound.size // 2 :])
    desk.quiet(2.0)
    assert desk.items() == [("user", "hello there"), ("assistant", "good morning")]

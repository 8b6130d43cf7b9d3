"""The yardstick's wiring: hearing, collecting, judging, finding recordings."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeEar
from fullduplex.assets.store import find
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import AssetError, FormatError, InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.fdb.folders import guess_task, item_folders, read_item
from fullduplex.evaluate.fdb.items import TASKS
from fullduplex.evaluate.fdb.score import fdb_scores, lexical_judge
from fullduplex.evaluate.generate.overlaps import overlap_stimuli
from fullduplex.evaluate.generate.render import make_dialogue
from fullduplex.evaluate.generate.stimuli import stimuli
from fullduplex.evaluate.timing.spans import total_s
from fullduplex.evaluate.timing.statistics import conversation_statistics
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.talk import TalkConfig
from fullduplex.recipes.yardstick.collect import collect, collect_overlaps, simulated_system, write_tracks
from fullduplex.recipes.yardstick.hear import HearConfig, Hearer, item_sound, open_hearer, speech_spans, spread_words
from fullduplex.recipes.yardstick.judge import brain_judge, judge_messages
from fullduplex.recipes.yardstick.report import (
    draw_statistics,
    fdb_report,
    held_report,
    plain,
    radar_axes,
    statistics_report,
)
from fullduplex.recipes.yardstick.sources import read_recordings
from fullduplex.speech.recogniser import Hypothesis

soundfile = pytest.importorskip("soundfile")

QUIET = np.zeros(EAR_RATE_HZ, np.float32)
LOUD = np.full(EAR_RATE_HZ, 0.2, np.float32)


class Reader:
    """Reads one word for every half second of sound."""

    def recognise(self, pcm: np.ndarray, draft: tuple[int, ...] = ()) -> Hypothesis:
        return Hypothesis(" ".join(f"w{i}" for i in range(round(pcm.size / (EAR_RATE_HZ / 2)))))


def test_spans_of_a_detector_are_padded_and_short_ones_dropped() -> None:
    click = np.zeros(EAR_RATE_HZ, np.float32)
    click[:2000] = 0.2
    spans = speech_spans(np.concatenate([QUIET, LOUD, QUIET, click]), FakeEar())
    assert len(spans) == 1
    assert spans[0] == pytest.approx((1.0 - 0.03, 2.0 + 0.03), abs=0.033)
    assert speech_spans(QUIET, FakeEar()) == ()
    assert speech_spans(LOUD, FakeEar())[0] == (0.0, 1.0)  # never past the sound's own ends
    with pytest.raises(InputError, match="end"):
        HearConfig(start=0.3, end=0.5)


@given(
    st.lists(st.text("abcdefg", min_size=1, max_size=9), min_size=1, max_size=12),
    st.lists(st.tuples(st.floats(0.1, 2), st.floats(0.2, 2)), min_size=1, max_size=5),
)
def test_words_fill_the_speech_from_its_first_to_its_last_moment(words: list, shapes: list) -> None:
    spans, now = [], 0.0
    for gap, length in shapes:
        spans.append((now + gap, now + gap + length))
        now = spans[-1][1]
    placed = spread_words(" ".join(words), spans)
    assert [word.text for word in placed] == words
    assert placed[0].start_s == pytest.approx(spans[0][0])
    assert placed[-1].end_s == pytest.approx(spans[-1][1])
    for word in placed:
        assert word.start_s < word.end_s
        assert any(start - 1e-6 <= word.start_s <= end for start, end in spans)
    assert spread_words("", spans) == spread_words("a", []) == ()


def test_long_speech_is_read_in_pieces_the_recogniser_takes() -> None:
    lengths: list[float] = []

    class Measuring(Reader):
        def recognise(self, pcm: np.ndarray, draft: tuple[int, ...] = ()) -> Hypothesis:
            lengths.append(pcm.size / EAR_RATE_HZ)
            return super().recognise(pcm)

    side = Hearer(ear=FakeEar(), recogniser=Measuring()).side(np.tile(LOUD, 50))
    assert max(lengths) <= 20.0
    assert len(side.words) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_times_do_not_depend_on_the_rate_of_the_file(tmp_path: Path, rate_hz: int) -> None:
    """A trap of the released script: 24 kHz sound read as 16 kHz has all its times multiplied by 1.5."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    quiet = np.zeros(rate_hz)
    left, right = np.concatenate([quiet, tone, quiet, quiet]), np.concatenate([quiet, quiet, quiet, tone])
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), rate_hz)
    found = Hearer(ear=FakeEar()).files("a", tmp_path / "a.wav")
    assert found.duration_s == pytest.approx(4.0, abs=0.01)
    assert found.user.spans[0] == pytest.approx((1.0, 2.0), abs=0.07)
    assert found.system.spans[0] == pytest.approx((3.0, 4.0), abs=0.07)


def test_one_channel_is_not_a_conversation(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", LOUD, EAR_RATE_HZ)
    hearer = Hearer(ear=FakeEar())
    with pytest.raises(FormatError, match="user left"):
        hearer.files("m", tmp_path / "mono.wav")
    both = hearer.files("m", tmp_path / "mono.wav", tmp_path / "mono.wav")
    assert both.user.spans == both.system.spans
    with pytest.raises(FormatError, match="neither"):
        item_sound(hearer)(tmp_path)


def polite(user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers for two seconds, half a second after the last sound; stops nothing, because it never overlaps."""
    last = np.flatnonzero(np.abs(user_N) > 0.01)[-1]
    machine = np.zeros_like(user_N)
    machine[last + EAR_RATE_HZ // 2 : last + 5 * EAR_RATE_HZ // 2] = 0.2
    return user_N, machine


def test_items_are_kept_and_not_played_twice(tmp_path: Path) -> None:
    made = [stimulus for task in TASKS for stimulus in stimuli(task, 2)]
    hearer = Hearer(ear=FakeEar(), recogniser=Reader())
    played: list[int] = []

    def system(user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        played.append(user_N.size)
        return polite(user_N)

    seen: list[tuple] = []
    items = collect(made, system, hearer, tmp_path, progress=lambda *what: seen.append(what))
    assert len(played) == len(made) == len(seen) - 1
    scores = fdb_scores(items, "paper", lexical_judge)
    assert scores["pause_handling"].takeover_rate == 0
    assert scores["smooth_turn_taking"].takeover_rate == 1
    assert scores["smooth_turn_taking"].latency_s == pytest.approx(0.5, abs=0.1)
    (tmp_path / made[0].name / "recording.json").unlink()  # as if broken off in the middle of it
    again = collect(made, system, hearer, tmp_path)
    assert len(played) == len(made) + 1
    assert again == items
    folders = item_folders(tmp_path)
    assert sorted(guess_task(folder) for folder in folders) == sorted(stimulus.task for stimulus in made)
    assert [read_item(folder, guess_task(folder)) for folder in folders] == sorted(
        items, key=lambda i: i.recording.name
    )


def test_sounds_over_an_answer_are_judged_beside_a_clean_run(tmp_path: Path) -> None:
    """A system that stops for everything, and one that stops for nothing."""
    made = overlap_stimuli(1)

    def touchy(user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        machine = deaf(user_N)[1].copy()
        loud = np.flatnonzero(np.abs(user_N) > 0.01)
        late = loud[loud > made[0].mark[0] * EAR_RATE_HZ - 800]
        if late.size:
            machine[late[0] + EAR_RATE_HZ // 5 :] = 0
        return user_N, machine

    def deaf(user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        machine = np.zeros_like(user_N)
        machine[round(made[0].spans[-1][1] * EAR_RATE_HZ) + 8000 : -EAR_RATE_HZ] = 0.2
        return user_N, machine

    hearer = Hearer(ear=FakeEar(), recogniser=Reader())
    stopping = collect_overlaps(made, touchy, hearer, tmp_path / "a")
    assert [outcome.counts for outcome in stopping] == [True] * 4
    assert all(0.1 < outcome.stop_s < 0.4 for outcome in stopping)
    going_on = collect_overlaps(made, deaf, hearer, tmp_path / "b")
    assert all(outcome.stop_s is None for outcome in going_on)
    assert held_report(stopping)["lslm"]["precision"] == pytest.approx(0.25)
    assert held_report(going_on)["lslm"]["recall"] == 0
    broken = collect_overlaps(made, lambda user_N: pytest.fail("played twice"), hearer, tmp_path / "a")
    assert broken == stopping


def test_our_machine_on_a_simulated_clock(scripted: Parts) -> None:
    """All fallbacks, no recogniser: both tracks are as long as the stimulus, and the first is the stimulus."""
    (stimulus,) = stimuli("smooth_turn_taking", 1)
    user, machine = simulated_system(scripted, TalkConfig())(stimulus.user_N)
    assert abs(user.size - stimulus.user_N.size) < 512
    assert machine.size == user.size
    assert np.array_equal(user[: stimulus.user_N.size], stimulus.user_N[: user.size])


@pytest.mark.slow
def test_the_real_machine_takes_its_turn(real: Parts, tmp_path: Path) -> None:
    hearer = Hearer(ear=real.ear, recogniser=real.recogniser)
    items = collect(stimuli("smooth_turn_taking", 2), simulated_system(real, TalkConfig()), hearer, tmp_path)
    assert fdb_scores(items, "code")["smooth_turn_taking"].takeover_rate == 1.0


class Brain:
    """Says its replies one after the other."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.seeds: list[int] = []

    def stream(self, messages: tuple[Message, ...], sampling: Sampling, **_: object) -> Iterator[str]:
        self.seeds.append(sampling.seed)
        yield self.replies.pop(0)


def test_a_brain_as_judge_is_asked_a_bounded_number_of_times() -> None:
    good = Brain("Nonsense", "Analysis: yes.\nI would rate the AI's response as 4")
    assert brain_judge(good)("a", "b", "c") == 4  # pyright: ignore[reportArgumentType]
    assert good.seeds == [0, 1]
    mute = Brain(*["?"] * 9)
    assert brain_judge(mute, attempts=3)("a", "b", "c") is None  # pyright: ignore[reportArgumentType]
    assert mute.seeds == [0, 1, 2]
    with pytest.raises(InputError, match="attempts"):
        brain_judge(mute, attempts=0)  # pyright: ignore[reportArgumentType]
    assert "interrupted with: <|im_end|>" in judge_messages("x", "<|im_end|>", "y")[1].text


def test_recordings_of_every_kind_are_found(tmp_path: Path) -> None:
    stereo = np.stack([np.concatenate([LOUD, QUIET]), np.concatenate([QUIET, LOUD])], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, EAR_RATE_HZ)
    soundfile.write(tmp_path / "b.user.wav", stereo[:, 0], EAR_RATE_HZ)
    soundfile.write(tmp_path / "b.system.wav", stereo[:, 1], EAR_RATE_HZ)
    (tmp_path / "c.json").write_text('{"duration_s": 3, "user": {"spans": [[0, 1]]}, "system": {"spans": [[1.5, 2]]}}')
    (tmp_path / "d.rttm").write_text("SPEAKER d 1 0 1 <NA> <NA> x <NA> <NA>\nSPEAKER d 1 1.5 1 <NA> <NA> y <NA> <NA>\n")
    asked: list[int] = []

    def hearer() -> Hearer:
        asked.append(1)
        return Hearer(ear=FakeEar())

    found = read_recordings(tmp_path, hearer)
    assert [one.name for one in found] == ["a", "b", "c", "d"]
    assert asked == [1]  # opened once, and only because there is sound
    assert found[0].user.spans == found[1].user.spans
    report = statistics_report(found)
    assert report["num_recordings"] == 4
    assert report["statistics"]["gap_count"] >= 2
    assert json.loads(json.dumps(plain(report)))["statistics"]["pause_s_median"] is None


def test_places_without_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        read_recordings(tmp_path / "none", open_hearer)
    with pytest.raises(FormatError, match="no recordings"):
        read_recordings(tmp_path, open_hearer)
    soundfile.write(tmp_path / "x.user.wav", LOUD, EAR_RATE_HZ)
    with pytest.raises(FormatError, match=r"x\.system\.wav"):
        read_recordings(tmp_path, open_hearer)
    (tmp_path / "bad.rttm").write_text("nothing")
    with pytest.raises(FormatError):
        read_recordings(tmp_path / "bad.rttm", open_hearer)


def test_without_models_the_message_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="assets get"):
        open_hearer()


def test_pictures_and_tables(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = make_dialogue("d", seed=2)
    files = draw_statistics(tmp_path, [made.truth])
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    made_items = [stimulus for task in TASKS[:1] for stimulus in stimuli(task, 1)]
    hearer = Hearer(ear=FakeEar(), recogniser=Reader())
    scores = fdb_report(collect(made_items, polite, hearer, tmp_path / "i"))
    axes = radar_axes(scores["paper"])
    assert axes["keeps quiet\nin pauses"] == 1
    assert np.isnan(axes["takes its turn"])


def test_hearing_agrees_with_the_generators_labels(tmp_path: Path) -> None:
    """Sound to timestamps with the real detector: counts near, offsets within the detector's own tail."""
    if find("silero-vad") is None:
        pytest.skip("asset missing; run: fullduplex assets get silero-vad")
    pytest.importorskip("onnxruntime")
    made = make_dialogue("d", seed=4)
    write_tracks(tmp_path / "d.wav", made.user_N, made.system_N)
    heard = open_hearer(words=False).files("d", tmp_path / "d.wav")
    truth, found = conversation_statistics(made.truth), conversation_statistics(heard)
    assert total_s(heard.user.spans) == pytest.approx(total_s(made.truth.user.spans), rel=0.15)
    assert abs(len(truth.offsets_s) - len(found.offsets_s)) <= 1
    assert np.median(found.offsets_s) == pytest.approx(np.median(truth.offsets_s), abs=0.25)


def test_the_telephone_call_of_two_people(tmp_path: Path) -> None:
    """A real conversation: overlaps and a back-channel, offsets around zero (as its notes say)."""
    folder = find("telephone-dialogue")
    if folder is None:
        pytest.skip("asset missing; run: fullduplex assets get telephone-dialogue")
    (call,) = read_recordings(folder / "sample.rttm", open_hearer)
    found = conversation_statistics(call)
    assert call.duration_s == pytest.approx(30.0, abs=0.01)
    assert len(found.overlaps_within_s) >= 1
    assert len(found.overlaps_between_s) >= 3
    assert -0.6 < np.median(found.offsets_s) < 0.4

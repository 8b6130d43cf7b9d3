"""Room, loudspeaker, caller and clips against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.evaluate.caller import Act, Caller, is_audible
from fullduplex.evaluate.clips import NOISES, clip_names, load_clip, noise, with_pause
from fullduplex.evaluate.room import Room, RoomConfig, echo_path, television
from fullduplex.evaluate.scenarios import SCENARIOS, scenario

SILENT = np.zeros(FRAME_SAMPLES, np.float32)


@pytest.mark.parametrize("gain", [0.0, 0.1, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("tail_s", [0.0, 0.12])
def test_the_echo_path_has_the_energy_of_its_gain_after_its_delay(gain: float, tail_s: float) -> None:
    path = echo_path(RoomConfig(echo_gain=gain, echo_delay_s=0.04, echo_tail_s=tail_s))
    assert np.sqrt(np.sum(path.astype(np.float64) ** 2)) == pytest.approx(gain, rel=1e-6)
    assert not path[: int(0.04 * EAR_RATE_HZ)].any()


@pytest.mark.parametrize("gain", [-0.1, 4.1, float("nan")])
def test_impossible_gains_are_refused(gain: float) -> None:
    with pytest.raises(InputError):
        echo_path(RoomConfig(echo_gain=gain))


def test_echo_frame_by_frame_is_one_convolution_and_white_sound_keeps_its_level() -> None:
    config = RoomConfig(echo_gain=0.5, noise_db=-200.0)
    white = (0.1 * np.random.default_rng(1).standard_normal(FRAME_SAMPLES * 120)).astype(np.float32)
    room, out = Room.make(config), []
    for i in range(120):
        mixed, room = room.mix(SILENT, white[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
        out.append(mixed)
    heard = np.concatenate(out)
    whole = np.convolve(white.astype(np.float64), echo_path(config))[: heard.size]
    np.testing.assert_allclose(heard, whole, atol=1e-6)
    assert heard[3000:].std() / white.std() == pytest.approx(0.5, rel=0.05)


def test_noise_has_its_level_and_a_headset_changes_nothing_else() -> None:
    room = Room.make(RoomConfig(noise_db=-30.0))
    out = []
    for _ in range(200):
        mixed, room = room.mix(SILENT, SILENT + 0.9)
        out.append(mixed)
    assert 20 * np.log10(np.concatenate(out).std()) == pytest.approx(-30.0, abs=0.1)
    quiet, _ = Room.make(RoomConfig(noise_db=-200.0)).mix(SILENT + 0.25, SILENT + 0.9)
    np.testing.assert_allclose(quiet, 0.25, atol=1e-6)


def test_a_television_talks_without_end_at_its_level() -> None:
    def heard(room: Room, frames: int) -> np.ndarray:
        out = []
        for _ in range(frames):
            mixed, room = room.mix(SILENT, SILENT)
            out.append(mixed)
        return np.concatenate(out)

    config = RoomConfig(noise_db=-200.0, television_db=-41.0)
    spoken = heard(Room.make(config), 3000)  # longer than what it has to say: it begins again
    once = television(config)
    assert spoken.size > 1.5 * once.size
    np.testing.assert_allclose(spoken[once.size : 2 * once.size], once[: spoken.size - once.size], atol=1e-6)
    assert 10 * np.log10(np.mean(np.square(once[once != 0], dtype=np.float64))) == pytest.approx(-41.0, abs=0.1)
    quiet = np.convolve(np.abs(once) < 1e-5, np.ones(EAR_RATE_HZ), mode="valid")
    assert quiet.max() < 0.9 * EAR_RATE_HZ  # no second of silence
    assert not np.array_equal(once, television(RoomConfig(television_db=-41.0, seed=1)))
    assert television(RoomConfig()).size == 0


@pytest.mark.parametrize("level_db", [0.1, float("nan")])
def test_a_television_cannot_be_louder_than_full_scale(level_db: float) -> None:
    with pytest.raises(InputError, match="television_db"):
        RoomConfig(television_db=level_db)


def test_rooms_of_one_seed_are_one_room() -> None:
    def sound(seed: int) -> np.ndarray:
        return Room.make(RoomConfig(noise_db=-30.0, seed=seed)).mix(SILENT, SILENT)[0]

    np.testing.assert_array_equal(sound(3), sound(3))
    assert not np.array_equal(sound(3), sound(4))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 900), st.just("flush")), max_size=40), st.integers(1, 400))
def test_the_loudspeaker_accounts_for_every_sample(steps: list[int | str], pull: int) -> None:
    speaker, sent, epoch = ls.Loudspeaker(), 0, 0
    played: list[tuple[int, int, int]] = []
    for step in steps:
        if step == "flush":
            epoch += 1
            speaker, report = ls.flush(speaker, 1, epoch)
            assert report.samples == sum(stop - start for _, start, stop in played)
            assert not speaker.queue
            sent = report.samples
        else:
            pcm = np.arange(sent, sent + int(step), dtype=np.float32) + 1
            speaker, sent = ls.play(speaker, 1, epoch, sent, pcm), sent + int(step)
        out, speaker, report = ls.pull(speaker, pull)
        assert out.size == pull
        if report is not None:
            played += report.pieces
            assert report.samples == played[-1][2]
            count = sum(stop - start for _, start, stop in report.pieces)
            np.testing.assert_array_equal(out[:count], np.arange(report.samples - count, report.samples) + 1)
            assert not out[count:].any()
    assert [start for _, start, _ in played[1:]] == [stop for _, _, stop in played[:-1]]


def test_sound_that_comes_after_its_flush_is_counted_and_never_played() -> None:
    speaker, _ = ls.flush(ls.play(ls.Loudspeaker(), 1, 0, 0, SILENT + 0.5), 1, 1)
    speaker = ls.play(speaker, 1, 0, 512, SILENT + 0.5)
    assert speaker.stale_samples == FRAME_SAMPLES
    out, _, report = ls.pull(speaker, 100)
    assert not out.any() and report is None


def act(when: str, delay_s: float, frames: int = 3) -> Act:
    return Act(role="turn", text="x", pcm=np.full(frames * FRAME_SAMPLES, 0.3, np.float32), when=when, delay_s=delay_s)


def drive(caller: Caller, machine: list[bool]) -> tuple[list[bool], Caller]:
    spoke = []
    for loud in machine:
        out, caller = caller.step(SILENT + 0.2 if loud else SILENT)
        spoke.append(is_audible(out))
    return spoke, caller


def test_the_caller_waits_for_the_end_of_the_reply() -> None:
    caller = Caller(acts=(act("after_reply", 0.0), act("after_reply", 0.32)), quiet_s=0.64)
    machine = [False] * 10 + [True] * 20 + [False] * 80
    spoke, caller = drive(caller, machine)
    assert spoke[:3] == [True] * 3
    assert spoke.index(True, 4) == 30 + 20  # the reply's last sound, and 0.64 s of quiet
    assert len(caller.said) == 2 and not caller.said[1].machine_spoke


def test_the_caller_interrupts_after_its_delay_and_knows_that_the_machine_spoke() -> None:
    caller = Caller(acts=(act("after_reply", 0.0), act("into_reply", 0.32)))
    spoke, caller = drive(caller, [False] * 10 + [True] * 60)
    assert spoke.index(True, 4) == 10 + 10
    assert caller.said[1].machine_spoke


def test_the_caller_loses_patience_with_a_silent_machine() -> None:
    caller = Caller(acts=(act("after_reply", 0.0), act("into_reply", 0.5)), patience_s=1.0)
    spoke, caller = drive(caller, [False] * 200)
    assert spoke.count(True) == 6
    assert caller.finished


def test_a_script_needs_an_act() -> None:
    with pytest.raises(InputError):
        Caller(acts=())


@pytest.mark.parametrize("name", clip_names())
def test_every_clip_is_sound_speech_and_trimmed(name: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    clip = load_clip(name)
    assert clip.pcm.dtype == np.float32 and clip.pcm.ndim == 1
    assert 0.1 * EAR_RATE_HZ < clip.pcm.size < 12 * EAR_RATE_HZ
    assert 0.05 < np.abs(clip.pcm).max() <= 1.0
    assert clip.text.strip() == clip.text != ""
    edge = int(0.15 * EAR_RATE_HZ)
    for end in (clip.pcm[:edge], clip.pcm[-edge:]):
        assert np.abs(end).max() > 0.003  # no long silence at either end
    from importlib import resources

    with resources.as_file(resources.files("fullduplex.evaluate").joinpath(f"clips/{name}.flac")) as file:
        assert soundfile.info(file).samplerate == EAR_RATE_HZ


def test_unknown_clips_noises_and_scenarios_are_refused_by_name() -> None:
    for ask in (lambda: load_clip("nope"), lambda: noise("nope"), lambda: scenario("nope")):
        with pytest.raises(InputError, match="there are"):
            ask()


@pytest.mark.parametrize("ask", [lambda: scenario("demo", seed=-1), lambda: RoomConfig(seed=-1)])
def test_seeds_below_0_are_refused(ask: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="seed is -1; expected 0 or more"):
        ask()


@pytest.mark.parametrize("kind", NOISES)
def test_noises_have_their_level_and_repeat(kind: str) -> None:
    sound = noise(kind, level_db=-20.0, seed=2)
    np.testing.assert_array_equal(sound, noise(kind, level_db=-20.0, seed=2))
    hop = EAR_RATE_HZ // 20
    loudest = np.sqrt(np.max(np.mean(sound[: sound.size // hop * hop].reshape(-1, hop) ** 2.0, axis=1)))
    assert 20 * np.log10(loudest) == pytest.approx(-20.0, abs=0.3)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_scenarios_repeat_and_can_be_said(name: str) -> None:
    pytest.importorskip("soundfile")
    first, second = scenario(name, seed=1), scenario(name, seed=1)
    assert [(a.text, a.delay_s, a.when) for a in first] == [(a.text, a.delay_s, a.when) for a in second]
    assert first[0].when == "after_reply"
    assert all(np.isfinite(a.pcm).all() and a.pcm.size for a in first)


def test_a_paused_turn_is_its_halves_and_the_silence() -> None:
    pytest.importorskip("soundfile")
    first, second = load_clip("paused-01a"), load_clip("paused-01b")
    both = with_pause(first, second, 0.5)
    assert both.pcm.size == first.pcm.size + second.pcm.size + EAR_RATE_HZ // 2
    assert both.text == f"{first.text} {second.text}"

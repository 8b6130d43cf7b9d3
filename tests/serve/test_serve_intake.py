"""Sound in time: frames, lateness, and silence in the place of what does not come."""

import numpy as np
import pytest

from fullduplex.base.units import FRAME_S, FRAME_SAMPLES
from fullduplex.numerics.resample import resample
from fullduplex.serve.intake import Intake, IntakeConfig, Tempo


def drain(intake: Intake, now_s: float) -> tuple[list[np.ndarray], int]:
    frames, shed = [], 0
    while True:
        sound, lost = intake.take(now_s)
        if sound is None:
            return frames, shed
        shed += lost
        frames.append(sound.near)


@pytest.mark.parametrize("size", [1, 240, 479, 480, 5000])
def test_any_cutting_gives_the_same_frames(size: int) -> None:
    sound = np.sin(np.arange(24_000) * 0.05).astype(np.float32)
    intake = Intake(IntakeConfig(), 0.0)
    for i in range(0, sound.size, size):
        intake.offer(sound[i : i + size], sound[i : i + size], i / 24_000)
    frames, shed = drain(intake, 1.0)
    joined = np.concatenate(frames)
    assert shed == 0
    assert np.allclose(joined, resample(sound, 24_000, 16_000)[: joined.size], atol=1e-5)


def test_what_waits_too_long_is_shed_and_a_burst_is_not() -> None:
    second = np.zeros(24_000, np.float32)
    intake = Intake(IntakeConfig(), 0.0)
    for _ in range(20):
        intake.offer(second, second, 1.0)  # twenty seconds at once
    frames, shed = drain(intake, 2.0)
    assert (len(frames), shed) == (20 * 16_000 // FRAME_SAMPLES - 1, 0)
    live = Intake(IntakeConfig(), 0.0)
    piece = np.zeros(480, np.float32)
    for i in range(500):
        live.offer(piece, piece, (i + 1) * 0.02)
    frames, shed = drain(live, 10.0)  # nobody took a frame for ten seconds
    assert shed * FRAME_S == pytest.approx(9.0, abs=0.1)
    assert len(frames) * FRAME_S == pytest.approx(1.0, abs=0.1)


def test_the_backlog_is_bounded() -> None:
    intake = Intake(IntakeConfig(max_backlog_s=2.0), 0.0)
    for _ in range(5):
        intake.offer(np.zeros(24_000, np.float32), np.zeros(24_000, np.float32), 0.0)
    assert intake.waiting * FRAME_S <= 2.0
    assert drain(intake, 0.0)[1] > 90


def test_silence_is_due_after_patience_and_longer_in_speech() -> None:
    intake = Intake(IntakeConfig(), 0.0)
    assert not intake.silence_due(0.1, speech=False)
    assert intake.silence_due(0.11, speech=False)
    assert not intake.silence_due(0.39, speech=True)
    assert intake.silence_due(0.41, speech=True)


def test_a_burst_pays_back_the_silence_that_passed_in_its_place() -> None:
    tempo = Tempo(0.0, 0.5)
    for i in range(30):
        tempo.silence(FRAME_S, 0.1 + (i + 1) * FRAME_S, 0.1)
    assert tempo.debt_s == pytest.approx(0.96)
    tempo.sound(1.0, 1.1)
    assert tempo.until_s == pytest.approx(1.1, abs=0.05)
    other = Tempo(0.0, 0.5)
    other.sound(5.0, 0.1)
    assert other.until_s == pytest.approx(0.6)  # a burst buys half a second, not five

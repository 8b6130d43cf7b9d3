"""The same search on sound: talkers, simulated lines, recorded arrays, and what cannot be heard."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.cli.main import main
from fullduplex.links.beam.microphones import Line, arrive, find_talker, loudest_tone, scan

RATE_HZ = 16_000
SPEECH = Path(__file__).parents[3] / "src" / "fullduplex" / "evaluate" / "clips" / "interruption-01-m1.flac"


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise_talker() -> np.ndarray:
    return draw().standard_normal(RATE_HZ).astype(np.float32)


@pytest.mark.parametrize("direction", [-0.86, -0.2, 0.0, 0.43, 1.0])
def test_a_talker_is_found_by_ear(direction: float) -> None:
    line = Line(microphones=16, spacing_m=0.04)
    heard = arrive(noise_talker(), line, direction, RATE_HZ, noise_db=20, seed=1)
    step = 1.0 / line.surface(2500).size
    found = find_talker(heard, line, RATE_HZ, frequency_hz=2500, budget=150, seed=2)
    assert abs(found - direction) <= step
    grid, power = scan(heard, line, RATE_HZ, frequency_hz=2500)
    assert abs(grid[power.argmax()] - direction) <= step
    assert 0 < power.max() <= 1 + 1e-9


@pytest.mark.parametrize("direction", [-0.7, -0.31, 0.02, 0.3, 0.5])
def test_a_talker_between_two_beams_is_placed_there(direction: float) -> None:
    line = Line(microphones=16, spacing_m=0.04)
    heard = arrive(noise_talker(), line, direction, RATE_HZ, noise_db=20, seed=1)
    found = find_talker(heard, line, RATE_HZ, frequency_hz=2100, budget=150, seed=2, refine=True)
    assert abs(found - direction) <= 0.15 / line.surface(2100).size


def test_arrival_is_a_delay() -> None:
    """Broadside all microphones hear the same; endfire each hears the next one's sound spacing / c later."""
    line = Line(microphones=4, spacing_m=343.0 / RATE_HZ)
    sound = noise_talker()
    ahead = arrive(sound, line, 0.0, RATE_HZ, noise_db=300, seed=0)
    np.testing.assert_allclose(ahead, np.tile(sound, (4, 1)), atol=1e-5)
    side = arrive(sound, line, 1.0, RATE_HZ, noise_db=300, seed=0)
    np.testing.assert_allclose(side[0, 10:], side[1, 9:-1], atol=0.2)
    np.testing.assert_allclose(side[0, 2000:-2000], side[1, 1999:-2001], atol=1e-2)


def test_the_tone_is_the_loudest_the_line_resolves() -> None:
    line, time_s = Line(microphones=16, spacing_m=0.04), np.arange(RATE_HZ) / RATE_HZ
    tones = (
        5 * np.sin(2 * np.pi * 500 * time_s) + np.sin(2 * np.pi * 1500 * time_s) + 5 * np.sin(2 * np.pi * 6000 * time_s)
    )
    assert loudest_tone(np.tile(tones, (16, 1)).astype(np.float32), line, RATE_HZ) == pytest.approx(1500, abs=20)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda ones: find_talker(ones(16), Line(), RATE_HZ, frequency_hz=9000, budget=50), "frequency_hz is 9000"),
        (lambda ones: find_talker(ones(16), Line(spacing_m=0.05), RATE_HZ, frequency_hz=6000, budget=50), "two peaks"),
        (lambda ones: find_talker(ones(16), Line(spacing_m=0.04), RATE_HZ, frequency_hz=4000, budget=50), "quarter"),
        (lambda ones: find_talker(ones(16), Line(), RATE_HZ, frequency_hz=90, budget=50), "too low"),
        (lambda ones: find_talker(ones(16), Line(), RATE_HZ, frequency_hz=math.nan, budget=50), "frequency_hz"),
        (lambda ones: find_talker(ones(3), Line(), RATE_HZ, frequency_hz=2000, budget=50), "16 microphones"),
        (lambda ones: find_talker(ones(16), Line(), RATE_HZ, frequency_hz=2000, budget=0), "budget is 0"),
        (lambda ones: find_talker(ones(16)[:, :99], Line(), RATE_HZ, frequency_hz=2000, budget=9), "99 samples"),
        (lambda ones: find_talker(0 * ones(16), Line(), RATE_HZ, frequency_hz=2000, budget=9), "hear nothing"),
        (lambda ones: loudest_tone(ones(3), Line(), RATE_HZ), "16 microphones"),
        (lambda ones: loudest_tone(ones(2), Line(microphones=2, spacing_m=0.01), RATE_HZ), "resolve nothing"),
        (lambda ones: arrive(0 * ones(1)[0], Line(), 0.0, RATE_HZ, noise_db=20, seed=0), "silent"),
        (lambda ones: arrive(ones(1)[0], Line(), 1.5, RATE_HZ, noise_db=20, seed=0), "sine"),
    ],
)
def test_sound_that_makes_no_sense_is_refused(wrong, says: str) -> None:
    with pytest.raises(InputError, match=says):
        wrong(lambda count: np.ones((count, RATE_HZ), np.float32))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["link", "beam", "listen", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("degrees", [-50.0, 0.0, 25.0])
def test_the_command_finds_a_voice_from_a_file(
    degrees: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("matplotlib")
    told = asked(capsys, str(SPEECH), "--degrees", str(degrees), "--out", str(tmp_path))
    half_step = 343.0 / (16 * 0.04 * told["frequency_hz"]) / 2
    for key in ("degrees", "everywhere_degrees"):
        assert abs(math.sin(math.radians(told[key])) - math.sin(math.radians(degrees))) <= half_step * 1.1
    assert (tmp_path / "listen.png").stat().st_size > 5_000


def test_a_recorded_array_is_heard_channel_by_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile = pytest.importorskip("soundfile")
    voice, rate_hz = soundfile.read(SPEECH, dtype="float32")
    line = Line(microphones=8, spacing_m=0.05)
    heard = arrive(voice, line, -0.5, rate_hz, noise_db=25, seed=0)
    soundfile.write(tmp_path / "array.wav", 0.5 * heard.T / np.abs(heard).max(), rate_hz, subtype="PCM_16")
    setting = ("--recorded", "--microphones", "8", "--spacing-m", "0.05", "--budget", "80")
    told = asked(capsys, str(tmp_path / "array.wav"), *setting)
    assert abs(math.sin(math.radians(told["degrees"])) + 0.5) <= 343.0 / (8 * 0.05 * told["frequency_hz"])
    assert main(["link", "beam", "listen", str(tmp_path / "array.wav"), "--recorded"]) == 2  # 16 are not there
    assert "no channel 8" in capsys.readouterr().err


def test_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "beam", "listen", str(SPEECH), "--degrees", "120"]) == 2
    assert "--degrees is 120" in capsys.readouterr().err
    assert main(["link", "beam", "listen", "none.wav", "--degrees", "0"]) == 2
    assert "none.wav" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["link", "beam", "listen", str(SPEECH)])

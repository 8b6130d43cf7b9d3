"""The figures of the comparison of echo cancellers: each on a case worked out by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

_FILE = Path(__file__).parents[2] / "benchmarks" / "echo" / "figures.py"
_SPEC = importlib.util.spec_from_file_location("echo_figures", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
figures = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(figures)


@pytest.fixture
def white() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(48_000).astype(np.float32)


@pytest.mark.parametrize("delay", [-700, 0, 1, 999])
def test_a_delay_is_found_and_taken_out(white: np.ndarray, delay: int) -> None:
    heard = figures.shifted(white, -delay, white.size)
    assert figures.delay_samples(heard, white, most=1000) == delay
    back = figures.shifted(heard, delay, white.size)
    kept = slice(1000, -1000)
    np.testing.assert_array_equal(back[kept], white[kept])


def test_attenuation_is_of_power(white: np.ndarray) -> None:
    assert figures.attenuation_db(white, 0.1 * white) == pytest.approx(20.0, abs=1e-4)
    assert figures.attenuation_db(white, white) == 0.0


def test_one_slipped_second_is_seen(white: np.ndarray) -> None:
    rounded = white + np.float32(1e-3)
    assert figures.steadiness_db(white, rounded) > 50
    slipped = rounded.copy()
    slipped[16_000:32_000] = rounded[15_000:31_000]
    assert figures.steadiness_db(white, slipped) < 0


def test_speech_begins_after_two_believed_frames_and_ends_with_one_that_is_not() -> None:
    probability = [0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.4, 0.9, 0.9]
    believed = [True, True, True, False, True, True, True, True, True]
    active = figures.active_frames(probability, believed, enter=0.5, run=2)
    assert active == [False, False, False, False, False, True, False, False, True]
    assert figures.onsets(active) == [5, 8]
    assert figures.onset_of(active, 5 * 512, 7 * 512) == (5, False)
    assert figures.onset_of(active, 6 * 512, 8 * 512) == (None, True)
    assert figures.onset_of(active, 0, 512) == (None, False)


def test_a_short_filter_is_no_distortion_but_another_sound_is(white: np.ndarray) -> None:
    other = np.random.default_rng(1).standard_normal(white.size).astype(np.float32)
    filtered = np.convolve(white, [0.0, 0.5, 0.2, -0.1])[: white.size].astype(np.float32)
    assert figures.sdr_db(filtered, white) > 50
    assert figures.sdr_db(white + 0.1 * other, white) == pytest.approx(20.0, abs=0.5)
    late = white + other * (np.arange(white.size) >= 24_000)
    assert figures.sdr_db(late, white, first_s=1.0) > figures.sdr_db(late, white) + 10


@pytest.mark.parametrize(
    ("said", "understood", "errors"),
    [("a b c", "a b c", 0), ("a b c", "a x c d", 2), ("a b c", "", 3), ("", "a", 1), ("stop it now", "it now", 1)],
)
def test_word_errors_are_the_cheapest_alignment(said: str, understood: str, errors: int) -> None:
    assert figures.word_errors(said.split(), understood.split()) == errors

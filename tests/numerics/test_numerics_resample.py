"""Resampling: exact time, no aliases, any chunking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.numerics.resample import make, resample

PAIRS = [(22_050, 24_000), (48_000, 16_000), (24_000, 16_000), (16_000, 24_000), (44_100, 16_000), (8_000, 16_000)]


def tone(hz: float, rate_hz: int, num: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(num) / rate_hz).astype(np.float32)


def amplitude_db(pcm: np.ndarray) -> float:
    return 20 * np.log10(np.sqrt(2 * np.mean(np.square(pcm, dtype=np.float64))) + 1e-12)


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_a_tone_keeps_its_time_and_amplitude(in_hz: int, out_hz: int) -> None:
    for hz in (100.0, 1000.0, 0.42 * min(in_hz, out_hz)):
        out = resample(tone(hz, in_hz, in_hz // 2), in_hz, out_hz)
        assert out.size == -(-(in_hz // 2) * out_hz // in_hz)
        np.testing.assert_allclose(out[400:-400], tone(hz, out_hz, out.size)[400:-400], atol=2e-4)


@pytest.mark.parametrize(("in_hz", "out_hz"), [pair for pair in PAIRS if pair[0] > pair[1]])
@pytest.mark.parametrize("times_nyquist", [1.005, 1.1, 1.3])
def test_what_would_alias_is_60_db_down(in_hz: int, out_hz: int, times_nyquist: float) -> None:
    out = resample(tone(times_nyquist * out_hz / 2, in_hz, in_hz // 2), in_hz, out_hz)
    assert amplitude_db(out[400:-400]) < -60


def test_images_are_60_db_down() -> None:
    out = resample(tone(5000, 16_000, 16_000), 16_000, 48_000)
    spectrum = np.abs(np.fft.rfft(out[4800:-4800] * np.hanning(out.size - 9600)))
    hz = np.fft.rfftfreq(out.size - 9600, 1 / 48_000)
    assert spectrum[hz > 8000].max() < 1e-3 * spectrum.max()


@settings(deadline=None, max_examples=40)
@given(pair=st.sampled_from(PAIRS), seed=st.integers(0, 2**31), sizes=st.lists(st.integers(0, 700), max_size=12))
def test_any_chunking_gives_the_same_samples(pair: tuple[int, int], seed: int, sizes: list[int]) -> None:
    pcm = np.random.default_rng(seed).standard_normal(sum(sizes) + 1).astype(np.float32)
    design = make(*pair)
    state = design.init()
    out = []
    start = 0
    for size in [*sizes, pcm.size - sum(sizes)]:
        chunk, state = design.step(pcm[start : start + size], state)
        out.append(chunk)
        start += size
    tail, state = design.flush(state)
    np.testing.assert_allclose(np.concatenate([*out, tail]), resample(pcm, *pair), atol=1e-6)
    assert state.consumed == 0


def test_the_old_state_still_stands_after_a_step() -> None:
    design = make(48_000, 16_000)
    noise = np.random.default_rng(1).standard_normal(960).astype(np.float32)
    _, kept = design.step(noise, design.init())
    first, _ = design.step(noise, kept)
    design.step(-noise, kept)
    again, _ = design.step(noise, kept)
    np.testing.assert_array_equal(first, again)


def test_equal_rates_change_nothing() -> None:
    pcm = np.random.default_rng(2).standard_normal(100).astype(np.float32)
    np.testing.assert_array_equal(resample(pcm, 16_000, 16_000), pcm)


def test_the_future_is_awaited_no_longer_than_declared() -> None:
    design = make(24_000, 16_000)
    out, _ = design.step(np.zeros(2400, np.float32), design.init())
    assert out.size >= (2400 - design.latency_samples) * 2 // 3


@pytest.mark.parametrize(("in_hz", "out_hz"), [(0, 16_000), (16_000, -1), (16_000, 10**6)])
def test_impossible_rates_are_refused(in_hz: int, out_hz: int) -> None:
    with pytest.raises(InputError, match="expected a rate"):
        make(in_hz, out_hz)


def test_bad_samples_are_refused() -> None:
    with pytest.raises(InputError, match="nan"):
        resample(np.array([0.0, np.nan], np.float32), 48_000, 16_000)
    with pytest.raises(InputError, match="empty"):
        resample(np.zeros(0, np.float32), 48_000, 16_000)

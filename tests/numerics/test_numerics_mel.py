"""Log-mel: the published scale, the edges, and closed forms."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.numerics.mel import NUM_BANDS, log_mel, mel_bands, standardise


def test_bands_follow_slaneys_scale() -> None:
    bands = mel_bands()
    assert bands.shape == (80, 201)
    # Unit area a hertz (away from the lowest bands, where 40 Hz bins are coarse).
    np.testing.assert_allclose(bands[60:].sum(axis=1) * 40, 1.0, atol=0.02)
    # Whisper's published filters (openai/whisper, mel_80): first band 0 at DC, 0.02486 at 40 Hz.
    assert bands[0, 0] == 0.0
    assert bands[0, 1] == pytest.approx(0.024862593, abs=1e-7)
    # 8 kHz is the outer edge of the last band.
    assert bands[-1, -1] == pytest.approx(0.0, abs=1e-12)
    assert not bands.flags.writeable


def test_a_tone_lights_the_band_it_lies_in() -> None:
    time_s = np.arange(16_000) / 16_000
    for hz in (300, 1000, 3000, 6000):
        features = log_mel(np.sin(2 * np.pi * hz * time_s).astype(np.float32))
        assert features.shape == (NUM_BANDS, 100)
        assert features.dtype == np.float32
        centre_hz = (mel_bands() * np.linspace(0, 8000, 201)).sum(axis=1) / mel_bands().sum(axis=1)
        band = int(features[:, 50].argmax())
        assert abs(centre_hz[band] - hz) < 0.06 * hz + 20


def test_silence_is_the_floor_and_ten_times_the_amplitude_is_half_a_step() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(1600, np.float32)), (-10 + 4) / 4)
    noise = np.random.default_rng(0).standard_normal(1600).astype(np.float32)
    # log10 of power, divided by 4: 20 dB are 0.5, everywhere.
    np.testing.assert_allclose(log_mel(10 * noise) - log_mel(noise), 0.5, atol=1e-5)


def test_standardise_has_mean_0_and_variance_1_and_leaves_silence() -> None:
    noise = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 3 + 1
    out = standardise(noise)
    assert abs(out.mean()) < 1e-5
    assert out.var() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_array_equal(standardise(np.zeros(10, np.float32)), 0.0)


def test_too_short_and_bad_sounds_are_refused() -> None:
    with pytest.raises(InputError, match="200 samples"):
        log_mel(np.zeros(200, np.float32))
    with pytest.raises(InputError, match="inf"):
        log_mel(np.full(400, np.inf, np.float32))

"""Sound files of every kind, and files that are none."""

from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.recipes.sound_files import read_mono

soundfile = pytest.importorskip("soundfile")


def tone(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440.0 * np.arange(int(rate_hz * seconds)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT"])
def test_any_rate_and_depth_becomes_one_track(tmp_path: Path, rate_hz: int, subtype: str) -> None:
    soundfile.write(tmp_path / "x.wav", tone(rate_hz), rate_hz, subtype=subtype)
    pcm = read_mono(tmp_path / "x.wav")
    assert pcm.dtype == np.float32 and pcm.ndim == 1
    assert pcm.size == pytest.approx(EAR_RATE_HZ, abs=2)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(pcm.size)))
    assert np.argmax(spectrum) * EAR_RATE_HZ / pcm.size == pytest.approx(440.0, abs=2.0)
    assert np.sqrt(np.mean(pcm[2000:-2000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_channels_are_mixed_or_chosen(tmp_path: Path) -> None:
    left = tone(EAR_RATE_HZ)
    soundfile.write(tmp_path / "x.flac", np.stack([left, np.zeros_like(left)], axis=1), EAR_RATE_HZ)
    np.testing.assert_allclose(read_mono(tmp_path / "x.flac", channel=0), left, atol=1e-4)
    np.testing.assert_allclose(read_mono(tmp_path / "x.flac"), left / 2, atol=1e-4)
    assert not read_mono(tmp_path / "x.flac", channel=1).any()
    for channel in (2, -1):
        with pytest.raises(InputError, match="channel"):
            read_mono(tmp_path / "x.flac", channel=channel)


def test_files_without_sound_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), EAR_RATE_HZ)
    (tmp_path / "text.wav").write_text("this is no sound at all, only words " * 40, encoding="utf-8")
    (tmp_path / "zero.wav").write_bytes(b"")
    soundfile.write(tmp_path / "whole.flac", tone(EAR_RATE_HZ, 4.0), EAR_RATE_HZ)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:30])
    for name in ("empty.wav", "text.wav", "zero.wav", "cut.flac", "absent.wav", "."):
        with pytest.raises(FormatError):
            read_mono(tmp_path / name)


def test_files_that_are_not_there_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"absent\.wav is not there; give a WAV"):
        read_mono(tmp_path / "absent.wav")
    with pytest.raises(FormatError, match=r"is a folder; give a WAV"):
        read_mono(tmp_path)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_that_is_whole_or_of_unknown_length_is_not_warned_of(
    subtype: str, channels: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.wav"
    soundfile.write(file, np.stack([tone(44_100)] * channels, axis=1), 44_100, subtype=subtype)
    read_mono(file)
    content = bytearray(file.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    file.write_bytes(content)
    assert read_mono(file).size == pytest.approx(EAR_RATE_HZ, rel=0.05)
    assert not caplog.text


def test_a_wav_that_was_cut_off_gives_what_it_holds_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "whole.wav", tone(EAR_RATE_HZ, 2.0), EAR_RATE_HZ)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:20_000])
    pcm = read_mono(tmp_path / "cut.wav")
    assert 0 < pcm.size < 2 * EAR_RATE_HZ
    assert f"cut.wav promises 2.00 s of sound and holds {pcm.size / EAR_RATE_HZ:.2f} s" in caplog.text


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    sound = tone(EAR_RATE_HZ)
    sound[100] = bad
    soundfile.write(tmp_path / "x.wav", sound, EAR_RATE_HZ, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN"):
        read_mono(tmp_path / "x.wav")


@pytest.mark.parametrize("rate_hz", [4_000, 384_000])
def test_rates_nobody_speaks_at_are_refused(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "x.wav", tone(rate_hz, 0.1), rate_hz)
    with pytest.raises(InputError, match="rate"):
        read_mono(tmp_path / "x.wav")


def test_loud_files_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 4.0 * tone(EAR_RATE_HZ), EAR_RATE_HZ, subtype="FLOAT")
    assert np.abs(read_mono(tmp_path / "x.wav")).max() == 1.0

"""PCM: what is accepted, what is refused, and exact conversions."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import as_pcm, fade, level_db, pcm16_from_float, pcm_from_pcm16, rms


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((2, 3), np.float32), "shape"),
        (np.zeros(3, np.int16), "int16"),
        (np.zeros(3, np.complex64), "complex64"),
        (np.zeros(0, np.float32), "empty"),
        (np.array([0, np.nan], np.float32), "sample 1"),
        (np.array([-np.inf], np.float32), "inf"),
        (np.float32(1), "shape"),
        ([1, 2, 3], "int"),
    ],
)
def test_what_is_no_pcm_is_refused_by_name(bad: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        as_pcm(bad, "microphone")  # pyright: ignore[reportArgumentType]
    assert "microphone" in str(caught.value)


def test_good_pcm_is_returned_as_it_is_and_strided_or_double_is_copied() -> None:
    pcm = np.linspace(-1, 1, 10, dtype=np.float32)
    assert as_pcm(pcm) is pcm
    strided = as_pcm(np.linspace(-1, 1, 20)[::2])
    assert strided.dtype == np.float32
    assert strided.flags.c_contiguous
    assert as_pcm(np.zeros(0), allow_empty=True).size == 0


def test_pcm16_is_little_endian_with_clipping_and_round_trips() -> None:
    assert (
        pcm16_from_float(np.array([0.0, 0.5, -1.0, 1.0, 2.0, -2.0]))
        == b"\x00\x00\x00\x40\x00\x80\xff\x7f\xff\x7f\x00\x80"
    )
    every = np.arange(-32768, 32768, dtype=np.int16)
    assert pcm16_from_float(pcm_from_pcm16(every)) == every.astype("<i2").tobytes()
    np.testing.assert_array_equal(pcm_from_pcm16(b"\x00\x80\x00\x40"), [-1.0, 0.5])


def test_half_a_sample_and_wrong_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="3 bytes"):
        pcm_from_pcm16(b"abc")
    with pytest.raises(InputError, match="int32"):
        pcm_from_pcm16(np.zeros(4, np.int32))  # pyright: ignore[reportArgumentType]


def test_levels_have_closed_forms() -> None:
    sine = np.sin(2 * np.pi * np.arange(16_000) / 160).astype(np.float32)
    assert level_db(sine) == pytest.approx(-3.0103, abs=1e-3)
    assert level_db(np.zeros(10, np.float32)) == -120.0
    assert rms(np.zeros(0, np.float32)) == 0.0
    assert rms(np.full(5, -0.25, np.float32)) == pytest.approx(0.25)


def test_fade_touches_only_the_ends_and_copies() -> None:
    pcm = np.ones(100, np.float32)
    faded = fade(pcm, 10)
    assert pcm.min() == 1.0
    assert faded[0] < 0.01
    assert (np.diff(faded[:10]) > 0).all()
    np.testing.assert_array_equal(faded[10:-10], 1.0)
    np.testing.assert_allclose(faded, faded[::-1])
    assert fade(np.ones(1, np.float32), 10)[0] == 1.0

"""End of turn: the window's left padding, and judgements on whole and cut sentences."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.turn_end import SmartTurn, window


def test_the_sound_ends_at_the_right_edge() -> None:
    pcm = np.arange(1, 1001, dtype=np.float32)
    padded = window(pcm)
    assert padded.size == 128_000
    np.testing.assert_array_equal(padded[-1000:], pcm)
    assert not padded[:-1000].any()
    long = np.arange(130_000, dtype=np.float32)
    np.testing.assert_array_equal(window(long), long[-128_000:])


def test_right_padding_would_read_as_finished(smart_turn: SmartTurn, read_speech: Pcm) -> None:
    """The trap the window avoids: the same cut-off words, once ended by the cut and once by seconds of silence."""
    cut = read_speech[:40_000]  # "It was the best of times. It was the"
    padded_right = np.pad(cut, (0, 128_000 - cut.size))
    assert smart_turn.judge(padded_right) > 0.5 > smart_turn.judge(cut)


def test_a_probability_whatever_the_length(smart_turn: SmartTurn, read_speech: Pcm) -> None:
    for num in (1, 500, 16_000, read_speech.size):
        assert 0.0 <= smart_turn.judge(read_speech[:num]) <= 1.0


def test_bad_sounds_are_refused(smart_turn: SmartTurn) -> None:
    with pytest.raises(InputError, match="empty"):
        smart_turn.judge(np.zeros(0, np.float32))
    with pytest.raises(InputError, match="inf"):
        smart_turn.judge(np.full(100, np.inf, np.float32))

"""Moonshine on read speech: the words, the draft, the guards."""

import re

import numpy as np
import pytest

from fullduplex.base.errors import AssetError, InputError
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.recogniser import Hypothesis, Moonshine, token_budget


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z ]", "", text.lower()).split()


def test_read_speech_is_understood(moonshine: Moonshine, read_speech: Pcm) -> None:
    # The first words of the book.
    heard = words(moonshine.recognise(read_speech).text)
    assert heard[:12] == "it was the best of times it was the worst of times".split()


def test_drafts_and_the_slow_twin_agree_on_the_words(moonshine: Moonshine, read_speech: Pcm) -> None:
    """The export's activations are quantised by pass, so near ties may differ: nine of ten cuts must be equal."""
    draft: tuple[int, ...] = ()
    agree = []
    for seconds in np.arange(1.0, 7.0, 0.5):
        pcm = read_speech[: int(seconds * 16_000)]
        hypothesis = moonshine.recognise(pcm, draft)
        agree.append(words(hypothesis.text) == words(moonshine.recognise_ref(pcm).text))
        draft = hypothesis.tokens
    assert np.mean(agree) >= 0.8


def test_a_draft_from_another_sound_does_no_harm(moonshine: Moonshine, read_speech: Pcm) -> None:
    pcm = read_speech[:48_000]
    plain = moonshine.recognise(pcm)
    assert words(moonshine.recognise(pcm, tuple(reversed(plain.tokens))).text) == words(plain.text)


def test_silence_says_nothing_and_short_or_strange_sounds_stay_within_budget(moonshine: Moonshine) -> None:
    assert moonshine.recognise(np.zeros(16_000, np.float32)) == Hypothesis("")
    for pcm in (np.ones(1), np.sin(np.arange(32_000) * 0.1), 0.1 * np.random.default_rng(0).standard_normal(48_000)):
        assert len(moonshine.recognise(pcm.astype(np.float32)).tokens) <= token_budget(pcm.size)


def test_the_budget_grows_with_the_sound() -> None:
    assert token_budget(1) == 6
    assert token_budget(160_000) == 65


def test_bad_sounds_and_drafts_are_refused(moonshine: Moonshine) -> None:
    with pytest.raises(InputError, match="cut it at a pause"):
        moonshine.recognise(np.zeros(16_000 * 21, np.float32))
    with pytest.raises(InputError, match="empty"):
        moonshine.recognise(np.zeros(0, np.float32))
    with pytest.raises(InputError, match="nan"):
        moonshine.recognise(np.full(16_000, np.nan, np.float32))
    with pytest.raises(InputError, match="token -1"):
        moonshine.recognise(np.zeros(16_000, np.float32), (-1,))


def test_damaged_files_are_asset_errors(tmp_path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(AssetError, match="no tokenizer"):
        Moonshine(tmp_path / "e", tmp_path / "d", tmp_path / "tokenizer.json")
    with pytest.raises(AssetError, match="not a file"):
        Moonshine(tmp_path / "e", tmp_path / "d", tmp_path / "absent.json")

"""Voices: level, silence, order of words, determinism, and that what is said is understood."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import AssetError, InputError
from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import level_db
from fullduplex.speech.english.lexicon import Lexicon
from fullduplex.speech.kokoro import KokoroVoice
from fullduplex.speech.onnx.graph import cut, with_output
from fullduplex.speech.piper import PiperVoice
from fullduplex.speech.recogniser import Moonshine
from fullduplex.speech.voice import Speech, TimedWord, ToneVoice, Voice, VoiceInPieces, finish

TEXTS = ("Sure.", "I can help you plan a trip, if you like.", "It costs $5 😀 today!")


def check(speech: Speech, text: str) -> None:
    """What every voice promises."""
    assert [word.text for word in speech.words] == text.split()
    assert speech.pcm_N.dtype == np.float32
    assert np.isfinite(speech.pcm_N).all()
    assert np.abs(speech.pcm_N).max() <= 1.0
    at = 0
    for word in speech.words:
        assert at <= word.start_samples <= word.end_samples <= speech.pcm_N.size
        at = word.end_samples
    assert np.abs(speech.pcm_N[[0, -1]]).max() < 0.01
    spoken = [word for word in speech.words if any(c.isalnum() for c in word.text)]
    assert all(word.end_samples > word.start_samples for word in spoken)


@pytest.mark.parametrize("text", TEXTS)
def test_tones_promise_what_voices_promise(text: str) -> None:
    speech = ToneVoice().speak(text)
    check(speech, text)
    np.testing.assert_array_equal(speech.pcm_N, ToneVoice().speak(text).pcm_N)


@pytest.mark.parametrize("text", TEXTS)
def test_piper_promises_what_voices_promise(joe: PiperVoice, text: str) -> None:
    speech = joe.speak(text)
    check(speech, text)
    assert -26 < level_db(speech.pcm_N) < -18
    np.testing.assert_array_equal(speech.pcm_N, joe.speak(text).pcm_N)  # noise is 0 here
    assert np.abs(speech.pcm_N[: VOICE_RATE_HZ // 20]).max() > 0.01  # heard within 50 ms


def test_kokoro_promises_what_voices_promise(asset, lexicon: Lexicon) -> None:
    folder = asset("kokoro-82m")
    voice = KokoroVoice(folder / "kokoro-v1.0.int8.onnx", folder / "af_heart.bin", folder / "vocab.json", lexicon)
    check(voice.speak(TEXTS[0]), TEXTS[0])
    with pytest.raises(InputError, match="speed"):
        KokoroVoice(folder / "kokoro-v1.0.int8.onnx", folder / "af_heart.bin", folder / "vocab.json", lexicon, speed=9)


@pytest.mark.parametrize("text", ["", "   ", "😀", "..."])
def test_nothing_to_say_is_silence(joe: PiperVoice, text: str) -> None:
    for voice in (joe, ToneVoice()):
        speech = voice.speak(text)
        assert speech.pcm_N.size == 0
        assert len(speech.words) == len(text.split())


def test_other_scripts_are_silent_beside_english(joe: PiperVoice) -> None:
    speech = joe.speak("Hello مرحبا 你好 friend.")
    silent = [word.end_samples == word.start_samples for word in speech.words]
    assert silent == [False, True, True, False]


def test_piper_is_understood(joe: PiperVoice, moonshine: Moonshine) -> None:
    text = "I can help you plan a trip to the mountains."
    pcm = resample(joe.speak(text).pcm_N, VOICE_RATE_HZ, 16_000)
    heard = moonshine.recognise(np.pad(pcm, (1600, 4800))).text
    assert re.sub(r"\W", "", heard).lower() == re.sub(r"\W", "", text).lower()


def test_word_places_are_where_the_recogniser_hears_the_words(joe: PiperVoice, moonshine: Moonshine) -> None:
    """Sound up to the end of a word holds that word, sound up to its start does not."""
    speech = joe.speak("Please bring seven oranges tomorrow.")
    word = speech.words[2]
    for end, present in ((word.end_samples + 1200, True), (word.start_samples, False)):
        pcm = resample(speech.pcm_N[:end], VOICE_RATE_HZ, 16_000)
        heard = moonshine.recognise(np.pad(pcm, (1600, 4800))).text.lower()
        assert (("seven" in heard) or ("7" in heard)) is present


@pytest.mark.parametrize("voice", [ToneVoice()])
def test_long_and_wrong_texts_are_refused(voice: Voice) -> None:
    with pytest.raises(InputError, match="cut it into clauses"):
        voice.speak("word " * 200)
    with pytest.raises(InputError, match="expected str"):
        voice.speak(None)  # pyright: ignore[reportArgumentType]


def test_finish_trims_levels_and_moves_the_words_along() -> None:
    rate_hz = 22_050
    sound = 0.01 * np.sin(2 * np.pi * 200 * np.arange(rate_hz) / rate_hz).astype(np.float32)
    pcm = np.concatenate([np.zeros(rate_hz, np.float32), sound, np.zeros(rate_hz, np.float32)])
    speech = finish(pcm, rate_hz, [TimedWord("hum", 1.0, 2.0)])
    assert speech.pcm_N.size / VOICE_RATE_HZ == pytest.approx(1.07, abs=0.02)
    assert speech.words[0].start_samples / VOICE_RATE_HZ == pytest.approx(0.01, abs=0.005)
    assert speech.words[0].end_samples / VOICE_RATE_HZ == pytest.approx(1.01, abs=0.005)
    assert level_db(speech.pcm_N[2400:21_600]) == pytest.approx(-20, abs=0.5)


def test_a_peak_never_clips() -> None:
    pcm = np.full(24_000, 0.001, np.float32)
    pcm[12_000] = 0.9
    assert np.abs(finish(pcm, VOICE_RATE_HZ, []).pcm_N).max() <= 0.971


def test_damaged_voices_are_asset_errors(tmp_path: Path, lexicon: Lexicon) -> None:
    config, model = tmp_path / "voice.json", tmp_path / "voice.onnx"
    model.write_bytes(b"not a model")
    for text in ("{", "{}", '{"audio": {"sample_rate": 22050}, "phoneme_id_map": {"_": []}}'):
        config.write_text(text)
        with pytest.raises(AssetError, match="describe a Piper voice"):
            PiperVoice(model, config, lexicon)
    config.write_text(json.dumps({"audio": {"sample_rate": 22050}, "phoneme_id_map": {"_": [0], "^": [1], "$": [2]}}))
    with pytest.raises(AssetError, match="ONNX"):
        PiperVoice(model, config, lexicon)
    (tmp_path / "style.bin").write_bytes(b"\0" * 100)
    with pytest.raises(AssetError, match="25 numbers"):
        KokoroVoice(model, tmp_path / "style.bin", config, lexicon)


def test_an_output_is_added_as_protobuf_merges_it() -> None:
    """ModelProto.graph is field 7, GraphProto.output field 12, ValueInfoProto.name field 1; lengths are varints."""
    assert with_output(b"", "ab") == b"\x3a\x06\x62\x04\x0a\x02ab"
    long = with_output(b"x", "n" * 300)
    assert long[:1] == b"x"
    assert long[1:4] == b"\x3a\xb2\x02"


@pytest.mark.parametrize("text", ["I can help you plan", "Sure, that is easy:", "It costs $5 😀 today!"])
def test_two_pieces_are_the_whole(joe: PiperVoice, text: str) -> None:
    whole = joe.speak(text)
    (first, more), (rest, done) = joe.pieces(text)
    assert (more, done) == (False, True)
    assert 0.2 * VOICE_RATE_HZ < first.pcm_N.size < 0.45 * VOICE_RATE_HZ
    joined = np.concatenate([first.pcm_N, rest.pcm_N])
    assert (
        abs(joined.size - whole.pcm_N.size) < 0.02 * VOICE_RATE_HZ
    )  # silence is judged against another loudest moment
    assert rest.words[-1].end_samples <= joined.size
    assert [word.text for word in first.words] == [word.text for word in rest.words] == text.split()
    lag = min(range(-480, 481), key=lambda k: -float(np.dot(joined[600:9600], whole.pcm_N[600 + k : 9600 + k])))
    shared = min(joined.size, whole.pcm_N.size - lag) - 200
    ratio = joined[600:shared] / np.where(
        whole.pcm_N[600 + lag : shared + lag] == 0, 1, whole.pcm_N[600 + lag : shared + lag]
    )
    loud = np.abs(whole.pcm_N[600 + lag : shared + lag]) > 0.02
    smooth = np.abs(np.diff(np.log(np.abs(ratio[loud]))))
    assert np.quantile(smooth, 0.99) < 0.02  # the same sound but for a gain that glides: no click at the joint


def test_a_short_word_comes_in_one_piece_and_silence_too(joe: PiperVoice) -> None:
    assert isinstance(joe, VoiceInPieces)
    for text in ("Oh.", "", "..."):
        ((speech, done),) = joe.pieces(text)
        assert done
        np.testing.assert_array_equal(speech.pcm_N, joe.speak(text).pcm_N)


def test_a_graph_that_is_damaged_or_another_is_refused() -> None:
    for damaged in (b"", b"\x3a\x7f", b"\xff" * 20, b"\x3a\x02\x0a\x00"):
        with pytest.raises(AssetError, match=r"ONNX"):
            cut(damaged, "x", 3)

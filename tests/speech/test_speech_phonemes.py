"""Pronunciation: dictionary, context, suffixes, guesses, and espeak's notation."""

import re
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import AssetError
from fullduplex.speech.english.guess import Guess
from fullduplex.speech.english.lexicon import Lexicon
from fullduplex.speech.english.phonemes import espeak_ipa, phonemise


@pytest.mark.parametrize(
    ("text", "ipa"),
    [
        # espeak-ng 1.52 en-us, as piper-tts writes it.
        ("The quick brown fox jumps", "ðə kwˈɪk bɹˈaʊn fˈɑːks dʒˈʌmps"),
        ("Hello, how", "həlˈoʊ hˌaʊ"),
        ("turn bird furry", "tˈɜːn bˈɜːd fˈɜːɹi"),
        ("better water", "bˈɛɾɚ wˈɔːɾɚ"),
        ("see city maybe", "sˈiː sˈɪɾi mˈeɪbiː"),
        ("about a trip", "ɐbˈaʊt ɐ tɹˈɪp"),
        ("my house", "maɪ hˈaʊs"),
    ],
)
def test_common_words_are_as_espeak_says_them(lexicon: Lexicon, text: str, ipa: str) -> None:
    said = " ".join(word.phonemes for word in phonemise(text, lexicon, espeak_ipa))
    soft = str.maketrans("", "", "ˈˌː")  # stress and length may differ by dialect
    assert said.translate(soft) == ipa.translate(soft)


def test_context_picks_the_pronunciation(lexicon: Lexicon) -> None:
    assert lexicon.pronounce("use", before="to").endswith("z")
    assert lexicon.pronounce("use", before="the").endswith("s")
    assert lexicon.pronounce("the", after="apple") != lexicon.pronounce("the", after="pear")
    assert lexicon.pronounce("read", before="have") != lexicon.pronounce("read", before="to")


@pytest.mark.parametrize(("word", "ending"), [("cats", "s"), ("bagels", "z"), ("churches", "ᵻz"), ("dog's", "z")])
def test_suffixes(lexicon: Lexicon, word: str, ending: str) -> None:
    assert lexicon.pronounce(word).endswith(ending)


def test_letters_names_and_unknown_words(lexicon: Lexicon) -> None:
    assert re.sub("[ˈˌ]", "", lexicon.pronounce("GPU")) == "ʤipiju"
    assert lexicon.pronounce("A") == "ˈA"
    assert lexicon.pronounce("a") == lexicon.pronounce("A", after="dog") == "ə"
    assert lexicon.pronounce("café").startswith("k")
    assert lexicon.pronounce("Kubernetes").startswith("k")
    assert lexicon.pronounce("你好") == ""


def test_the_guess_knows_regular_words(asset) -> None:
    """CMUdict's own pronunciations of regular words (AE1 K T AH0 V EY1 SH AH0 N IH0 S T is g2p_en's published one)."""
    guess = Guess(asset("english-lexicon") / "checkpoint20.npz")
    assert guess("cat") == "kˈæt"
    assert guess("stopping") == "stˈɑpɪŋ"
    assert re.sub("[ˈˌ]", "", guess("activationist")) == "æktɪvAʃənɪst"


def test_silent_words_are_counted(lexicon: Lexicon) -> None:
    items = phonemise("Yes 😀 no.", lexicon, espeak_ipa)
    assert [item.text for item in items] == ["Yes", "😀", "no."]
    assert items[1].phonemes == ""
    assert items[2].pause == "."


def test_notation_without_any_dictionary() -> None:
    assert espeak_ipa("bˈɛɾəɹ") == "bˈɛɾɚ"
    assert espeak_ipa("tˈɜɹn") == "tˈɜːn"
    assert espeak_ipa("əbˈWt", "about") == "ɐbˈaʊt"
    assert espeak_ipa("ʤˈʌʤ") == "dʒˈʌdʒ"
    assert espeak_ipa("sˈɪɾi") == "sˈɪɾi"
    assert espeak_ipa("si") == "siː"


def test_damaged_files_are_asset_errors(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"cat": "kˈæt"}', encoding="utf-8")
    bad.write_text('{"cat": ', encoding="utf-8")
    with pytest.raises(AssetError, match="no pronunciation dictionary"):
        Lexicon(good, bad, str).load()
    with pytest.raises(AssetError, match="not a file"):
        Lexicon(good, tmp_path / "absent.json", str)
    assert Lexicon(good, good, str).pronounce("cats") == "kˈæts"
    for broken in (b"PK\x03\x04cut", b""):
        bad.write_bytes(broken)
        with pytest.raises(AssetError, match="checkpoint"):
            Guess(bad)("cat")
    np.savez(tmp_path / "few.npz", fc_w=np.zeros((3, 3)))
    with pytest.raises(AssetError, match="3 phonemes"):
        Guess(tmp_path / "few.npz")("cat")

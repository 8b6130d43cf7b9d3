"""Text as it is read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.speech.english.numbers import cardinal, decimal, digits, ordinal, plural, year
from fullduplex.speech.english.words import plain, spoken


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It costs $5.50, or $1.", "it costs five dollars and fifty cents or one dollar"),
        ("$3 million and $5k and -£2", "three million dollars and five thousand dollars and minus two pounds"),
        ("at 10:30 p.m. or 7:05am or 10:00", "at ten thirty p m or seven oh five a m or ten o'clock"),
        ("on Dec. 3, 2024", "on december third twenty twenty four"),
        ("2024-12-03 and 3/4/1999", "december third twenty twenty four and march fourth nineteen ninety nine"),
        ("Dr. Smith's 5 km run", "doctor smith's five kilometers run"),
        ("-5°C, 72°F, 1 kg, 12kg, 3.14%", "minus five degrees celsius seventy two degrees fahrenheit one kilogram twelve "
         "kilograms three point one four percent"),
        ("the 1990s and the 21st", "the nineteen nineties and the twenty first"),
        ("1/2, 3/4, 24/7, 50/50", "one half three quarters twenty four seven fifty fifty"),
        ("1,234,567.89", "one million two hundred thirty four thousand five hundred sixty seven point eight nine"),
        ("007", "zero zero seven"),
        ("call 555-1234", "call five five five one two three four"),
        ("pages 10-20, 1990-1995", "pages ten to twenty nineteen ninety to nineteen ninety five"),
        ("C++ & e.g. Wi-Fi", "c plus plus and for example wi fi"),
        ("me@example.com", "me at example dot com"),
        ("the U.S.A. and GPT-4", "the u s a and gpt four"),
        ("5 in a row", "five in a row"),
        ("I’m “fine” (really)…", "i'm fine really"),
        ("😀 🏳️‍🌈 ✓", ""),
    ],
)  # fmt: skip
def test_readings(text: str, said: str) -> None:
    assert plain(text) == said


def test_written_words_and_pauses_are_kept() -> None:
    items = spoken("Well, Dr. Lee said: “yes!” 😀")
    assert [item.text for item in items] == ["Well,", "Dr.", "Lee", "said:", "“yes!”", "😀"]
    assert [item.pause for item in items] == [",", "", "", ":", "!", ""]
    assert items[-1].words == ()


@given(st.text(max_size=80))
def test_any_text_has_a_reading(text: str) -> None:
    for item in spoken(text):
        assert all(word and not word.isspace() for word in item.words)
        assert item.pause in ("", ",", ".", "?", "!", ";", ":")


@given(st.text(alphabet="0123456789.,:/-$€%'sthndrk °C ½²٣", max_size=24))
def test_any_mess_of_digits_has_a_reading(text: str) -> None:
    assert not set(plain(text)) & set("0123456789$%")


def test_lone_surrogates_and_other_scripts_do_no_harm() -> None:
    plain("\ud800 abc \udfff")
    plain("مرحبا بالعالم 你好 привет")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (1_000_001, "one million one"),
        (-7, "minus seven"),
    ],
)
def test_cardinals(value: int, words: str) -> None:
    assert " ".join(cardinal(value)) == words


def test_other_numbers() -> None:
    assert cardinal(10**15) == digits("1" + "0" * 15)
    assert [ordinal(value)[-1] for value in (1, 2, 3, 5, 8, 9, 12, 20, 100)] == (
        "first second third fifth eighth ninth twelfth twentieth hundredth".split()
    )
    assert " ".join(year(1905)) == "nineteen oh five"
    assert " ".join(year(2007)) == "two thousand seven"
    assert " ".join(year(1900)) == "nineteen hundred"
    assert decimal("", "5") == ["zero", "point", "five"]
    assert plural(["six"]) == ["sixes"]

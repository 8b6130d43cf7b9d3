"""Words, agreement of two readings, and what is only a hum."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.dialogue.listening.transcript import DEFAULT_LEXICON, Lexicon, agreed_prefix, same_words, words_of


@pytest.mark.parametrize(
    ("previous", "current", "agreed"),
    [
        ("", "hello", ""),
        ("hello", "hello there", "hello"),
        ("Hello, there", "hello there my", "hello there"),
        ("hello their", "hello there", "hello"),
        ("a b c", "x b c", ""),
        ("don’t go", "don't go on", "don't go"),
        ("one two three", "one two", "one two"),
    ],
)
def test_the_stable_part_is_what_two_readings_agree_on(previous: str, current: str, agreed: str) -> None:
    assert current[: agreed_prefix(previous, current)] == agreed


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_agreement_is_a_prefix_of_both_in_words(previous: str, current: str) -> None:
    stable = words_of(current[: agreed_prefix(previous, current)])
    assert words_of(previous)[: len(stable)] == stable
    assert words_of(current)[: len(stable)] == stable


def test_case_and_punctuation_do_not_make_other_words() -> None:
    assert same_words("Yes, I know.", "yes i know")
    assert not same_words("yes I know", "yes I do")
    assert same_words("Ah, and I live in Berlin.", "And I live in Berlin")
    assert not same_words("uh", "um") and not same_words("uh", "")
    assert words_of("mm-hm, don’t… 3.5") == ("mm-hm", "don't", "3", "5")


@pytest.mark.parametrize("text", ["mm-hm", "Yeah.", "oh I see", "okay, right", "uh huh uh huh", "That makes sense!"])
def test_hums_hold_no_content(text: str) -> None:
    assert DEFAULT_LEXICON.is_backchannel(text)
    assert DEFAULT_LEXICON.content_words(text) == ()


@pytest.mark.parametrize("text", ["yeah but wait", "stop", "I see a dog", "what", "right turn here"])
def test_content_among_hums_is_found(text: str) -> None:
    assert not DEFAULT_LEXICON.is_backchannel(text)
    assert DEFAULT_LEXICON.content_words(text)


def test_nothing_is_a_phantom_and_no_hum() -> None:
    for text in ("", "  ", "...", "?!"):
        assert DEFAULT_LEXICON.is_phantom(text)
        assert not DEFAULT_LEXICON.is_backchannel(text)


def test_the_longest_phrase_wins_and_another_language_needs_only_words() -> None:
    lexicon = Lexicon(
        backchannels=frozenset({"ja", "ach so", "so"}), stops=frozenset({"halt"}), phantoms=frozenset({"äh"})
    )
    assert lexicon.content_words("ach so ja") == ()
    assert lexicon.content_words("ach nein") == ("ach", "nein")
    assert lexicon.takes_floor("Halt, warte")
    assert lexicon.is_phantom("Äh…")

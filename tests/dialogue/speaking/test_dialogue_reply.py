"""Clauses: where text is cut for the voice, and that nothing is lost by cutting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.dialogue.ports import Synthesised, WordSpan
from fullduplex.dialogue.speaking.reply import (
    Clause,
    ClauseConfig,
    Reply,
    add_text,
    audio_between,
    heard_text,
    spoken,
    take_clause,
    unspoken,
    word_ranges,
)

CONFIG = ClauseConfig()
EMPTY = Reply(utterance=1, answers="", generate_ticket=1)


def stream(text: str, size: int) -> Reply:
    reply = EMPTY
    for i in range(0, len(text), size):
        reply = add_text(reply, text[i : i + size], CONFIG, done=False)
    return add_text(reply, "", CONFIG, done=True)


@settings(derandomize=True, max_examples=120, deadline=None)
@given(st.text(alphabet="ab c,.!?;:\n'3é ", max_size=120), st.integers(1, 9))
def test_clauses_joined_are_the_text_whatever_the_pieces(text: str, size: int) -> None:
    finished = f"{text} end."
    assert " ".join(" ".join(clause.text for clause in stream(finished, size).clauses).split()) == " ".join(
        finished.split()
    )


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "whole",
    ["3.5", "1,000.50", "e.g.", "i.e.", "Dr. Smith", "Mrs. Jones", "J. R. Tolkien", "U.S.", "10:30", "www.example.org"],
)
def test_numbers_and_abbreviations_are_never_cut(whole: str, size: int) -> None:
    text = f"I think that {whole} is a very good choice for all of us today."
    clauses = [clause.text for clause in stream(text, size).clauses]
    head, *rest = whole.split()
    assert any(head in clause.split() for clause in clauses)
    assert not any(clause.endswith(whole) for clause in clauses if "." in whole[-1:])
    for word in rest:
        assert any(f"{head} {word}" in clause or word in clause for clause in clauses)


def test_an_abbreviation_does_not_end_the_first_clause_early() -> None:
    taken = take_clause("Dr. Smith is here. And", ClauseConfig(first_words=1), first=True, done=False)
    assert taken is not None
    assert taken[0] == "Dr. Smith is here."


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("The sky is as blue as", "The sky is as"),
        ("Understanding photosynthesis means a lot to", "Understanding photosynthesis means"),
        ("Romeo and Juliette were two", "Romeo and Juliette"),
        ("Professor J. Smith is here", "Professor J. Smith"),
    ],
)
def test_the_first_clause_is_short_in_words_and_in_letters(text: str, first: str) -> None:
    taken = take_clause(text, CONFIG, first=True, done=False)
    assert taken is not None
    assert taken[0] == first


@pytest.mark.parametrize("text", ["No. I do not think so", "Yes. It is", "It was 1984. Then"])
def test_short_sentences_do_end(text: str) -> None:
    taken = take_clause(text + " more", CONFIG, first=True, done=False)
    assert taken is not None
    assert taken[0] == text.split(".")[0] + "."


def test_a_list_number_belongs_to_its_item() -> None:
    taken = take_clause("1. Take apples. 2. Eat", ClauseConfig(first_words=1), first=True, done=False)
    assert taken is not None
    assert taken[0] == "1. Take apples."


def test_the_first_clause_is_short_and_later_ones_are_not_endless() -> None:
    words = [f"w{i}" for i in range(60)]
    reply = stream(" ".join(words), 7)
    sizes = [len(clause.text.split()) for clause in reply.clauses]
    assert sizes[0] <= CONFIG.first_max_words
    assert max(sizes) <= CONFIG.max_words
    assert " ".join(clause.text for clause in reply.clauses).split() == words[: sum(sizes)]


def test_an_unfinished_last_sentence_is_dropped_but_never_the_only_one() -> None:
    reply = add_text(EMPTY, "It is seven. The bus comes at", CONFIG, done=True)
    assert [clause.text for clause in reply.clauses] == ["It is seven."]
    reply = add_text(EMPTY, "The bus comes at", CONFIG, done=True)
    assert reply.text == "The bus comes at"
    assert reply.text_done


def two_clauses() -> Reply:
    """Asked for, and silent so far."""
    clauses = (Clause(text="one two,", ticket=7), Clause(text="three four", ticket=8))
    return Reply(utterance=1, answers="", generate_ticket=None, clauses=clauses, text_done=True)


def sounded() -> Reply:
    """Two clauses of 100 and 60 samples, four words, a pause after the first."""
    reply, first = two_clauses(), (WordSpan("one", 0, 50), WordSpan("two,", 50, 100))
    second = (WordSpan("three", 0, 30), WordSpan("four", 30, 60))
    config = ClauseConfig(clause_pause_s=40 / 24_000)
    reply = spoken(reply, Synthesised(ticket=7, pcm=np.arange(100, dtype=np.float32), words=first), config)
    return spoken(reply, Synthesised(ticket=8, pcm=np.arange(60, dtype=np.float32), words=second), config)


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (0, ""),
        (25, ""),
        (26, "one"),
        (76, "one two,"),
        (140, "one two,"),
        (156, "one two, three"),
        (200, "one two, three four"),
    ],
)
def test_a_word_counts_as_heard_when_half_of_it_was_played(samples: int, heard: str) -> None:
    assert heard_text(sounded(), samples) == heard


def test_sound_is_continuous_over_clauses() -> None:
    reply = sounded()
    assert reply.available_samples == 200
    assert reply.complete
    whole = audio_between(reply, 0, 200)
    assert whole.size == 200
    pieces = [audio_between(reply, i, min(i + 33, 200)) for i in range(0, 200, 33)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert word_ranges(reply) == [(0, 50), (50, 100), (140, 170), (170, 200)]


def test_sound_that_nobody_asked_for_is_not_taken() -> None:
    before = sounded()
    after = spoken(before, Synthesised(ticket=99, pcm=np.ones(10, np.float32), words=()), CONFIG)
    assert after.available_samples == before.available_samples


def test_a_missing_clause_holds_back_what_follows() -> None:
    reply = sounded()
    first, second = reply.clauses
    gap = Reply(
        utterance=1, answers="", generate_ticket=None, clauses=(Clause(text="zero"), first, second), text_done=True
    )
    assert gap.available_samples == 0
    assert heard_text(gap, 10**6) == ""
    assert not gap.complete


PIECES = (WordSpan("one", 0, 50), WordSpan("two,", 50, 100))


def begun() -> Reply:
    """The first 60 samples of the first clause."""
    return spoken(two_clauses(), Synthesised(ticket=7, pcm=np.ones(60, np.float32), words=PIECES, done=False), CONFIG)


def test_the_beginning_of_a_clause_can_be_played_before_the_rest_is_there() -> None:
    reply = begun()
    assert reply.available_samples == 60
    assert not reply.clauses[0].whole
    assert heard_text(reply, 60) == "one"
    rest = Synthesised(ticket=7, pcm=np.full(40, 2, np.float32), words=PIECES, start=60)
    reply = spoken(reply, rest, ClauseConfig(clause_pause_s=0.0))
    np.testing.assert_array_equal(audio_between(reply, 50, 70), [1.0] * 10 + [2.0] * 10)
    assert reply.available_samples == 100
    assert heard_text(reply, 100) == "one two,"


def test_a_later_clause_is_not_played_before_the_first_is_whole() -> None:
    reply = spoken(begun(), Synthesised(ticket=8, pcm=np.ones(500, np.float32), words=()), CONFIG)
    assert reply.available_samples == 60
    assert not reply.complete


def test_a_voice_that_begins_again_replaces_what_it_said() -> None:
    again = Synthesised(ticket=7, pcm=np.full(30, 3, np.float32), words=PIECES, done=False)
    np.testing.assert_array_equal(spoken(begun(), again, CONFIG).clauses[0].pcm, [3.0] * 30)


def test_a_voice_that_fails_in_the_middle_leaves_what_it_said() -> None:
    reply = unspoken(begun(), 7, ClauseConfig(clause_pause_s=0.0))
    assert reply.clauses[0].whole
    assert reply.available_samples == 60
    assert heard_text(reply, 60) == "one"
    assert unspoken(begun(), 8, CONFIG).clauses[1].text == "three four"

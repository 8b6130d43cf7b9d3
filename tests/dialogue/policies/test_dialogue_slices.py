"""Slices as data: compaction, layouts, and cutting an answer down to what was heard."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.dialogue.policies.slices import (
    IDLE,
    SlicePair,
    as_heard,
    compact,
    extended,
    merged_messages,
    pair_messages,
    unanswered,
)

WORDS = st.sampled_from(["", "", "hello", "how are you", "<idle>", "<|im_end|>", "fine thanks"])
PAIRS = st.lists(st.builds(SlicePair, WORDS, WORDS.filter(lambda w: "<" not in w)), max_size=20).map(tuple)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(PAIRS)
def test_compacting_as_one_goes_equals_compacting_at_the_end(pairs: tuple[SlicePair, ...]) -> None:
    running: tuple[SlicePair, ...] = ()
    for pair in pairs:
        running = compact((*running, pair))
    assert running == compact(pairs)
    assert compact(running) == running


@settings(derandomize=True, max_examples=100, deadline=None)
@given(PAIRS, WORDS)
def test_only_the_layout_writes_control_strings(pairs: tuple[SlicePair, ...], user: str) -> None:
    for message in pair_messages("s", pairs, user)[1:]:
        assert message.text == IDLE or "<" not in message.text
    for message in merged_messages("s", pairs, user)[1:]:
        assert "<" not in message.text


@settings(derandomize=True, max_examples=100, deadline=None)
@given(PAIRS, WORDS)
def test_layouts_alternate_and_say_the_same_words(pairs: tuple[SlicePair, ...], user: str) -> None:
    by_slice = pair_messages("", pairs, user)
    assert [m.role for m in by_slice] == ["user", "assistant"] * (len(by_slice) // 2) + ["user"]
    merged = merged_messages("", pairs, user)
    assert all(a.role != b.role for a, b in pairwise(merged))
    for role in ("user", "assistant"):
        told = "".join(m.text for m in by_slice if m.role == role and m.text != IDLE)
        assert "".join(told.split()) == "".join("".join(m.text.split()) for m in merged if m.role == role)


def test_the_paper_s_layout_by_hand() -> None:
    pairs = (SlicePair("tell me", ""), SlicePair("", ""), SlicePair("a story", "once upon"), SlicePair("", " a time"))
    assert [(m.role, m.text) for m in pair_messages("be kind", pairs, "")] == [
        ("system", "be kind"),
        ("user", "tell me"),
        ("assistant", IDLE),
        ("user", "a story"),
        ("assistant", "once upon"),
        ("user", IDLE),
        ("assistant", " a time"),
        ("user", IDLE),
    ]
    assert [(m.role, m.text) for m in merged_messages("", pairs, "")] == [
        ("user", "tell me a story"),
        ("assistant", "once upon a time"),
    ]


def test_an_answer_cut_inside_a_word_is_joined_again() -> None:
    pairs = extended((SlicePair("go", ""),), "I under", fresh=True)
    pairs = extended(pairs, "stand you", fresh=False)
    assert merged_messages("", pairs, "")[-1].text == "I understand you"
    assert as_heard(pairs, "I", slices=2) == (SlicePair("go", "I"),)
    assert as_heard(pairs, "I understand", slices=2) == (SlicePair("go", "I under"), SlicePair("", "stand"))


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        ("", (SlicePair("hi", ""), SlicePair("stop", ""))),
        ("a", (SlicePair("hi", "a"), SlicePair("stop", ""))),
        ("a b c", (SlicePair("hi", "a b"), SlicePair("", " c"), SlicePair("stop", ""))),
        ("a b c d", (SlicePair("hi", "a b"), SlicePair("", " c d"), SlicePair("stop", ""))),
        ("more words than there are here", (SlicePair("hi", "a b"), SlicePair("", " c d"), SlicePair("stop", ""))),
    ],
)
def test_what_was_heard_is_kept_and_new_words_stay(heard: str, kept: tuple[SlicePair, ...]) -> None:
    earlier = (SlicePair("before", "that"),)
    pairs = (*earlier, SlicePair("hi", "a b"), SlicePair("", " c d"), SlicePair("stop", ""))
    assert as_heard(pairs, heard, slices=2) == (*earlier, *kept)


def test_who_spoke_last() -> None:
    assert not unanswered(())
    assert unanswered((SlicePair("x", ""),))
    assert not unanswered((SlicePair("x", "y"),))
    assert not unanswered((SlicePair("x", ""), SlicePair("", "y")))

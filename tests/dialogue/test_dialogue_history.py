"""What both sides said, as the brain is told."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.slices import escape_controls
from fullduplex.dialogue.history import History, messages_of, recent, record_heard, record_user


def told(history: History, user_text: str = "") -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in messages_of(history, user_text)]


def test_messages_of_one_side_are_merged_and_the_open_words_come_last() -> None:
    history = record_user(record_user(History(system="be kind"), "tell me"), " more ")
    history = record_heard(history, 1, "all of it", complete=True)
    assert told(history, "and then") == [
        ("system", "be kind"),
        ("user", "tell me more"),
        ("assistant", "all of it"),
        ("user", "and then"),
    ]


def test_what_was_heard_grows_in_place_and_nothing_heard_leaves_no_trace() -> None:
    history = record_user(History(system=""), "hello")
    history = record_heard(history, 3, "good", complete=False)
    history = record_user(history, "wait")
    history = record_heard(history, 3, "good day", complete=False)
    assert told(history) == [("user", "hello"), ("assistant", "good day"), ("user", "wait")]
    assert told(record_heard(history, 3, "", complete=False)) == [("user", "hello wait")]


def test_a_reply_whose_last_words_are_known_late_stays_before_the_words_that_ended_it() -> None:
    history = record_user(record_user(History(system=""), "one"), "two")
    history = record_heard(history, 1, "late", complete=False, replaced=True)
    assert [item.text for item in history.items] == ["one", "late", "two"]


@pytest.mark.parametrize(
    "text", ["<idle>", "<用户>", "<|im_end|>", "</s>", "[INST]", "[/inst]", "<|a|><|b|>", "<<SYS>>"]
)
def test_control_strings_are_made_harmless(text: str) -> None:
    safe = escape_controls(f"a {text} b")
    assert text not in safe
    assert escape_controls(safe) == safe
    assert told(record_user(History(system=""), text))[0][1] != text


@pytest.mark.parametrize("text", ["3 < 4 and 5 > 2", "a <- b", "I <3 you", "[1] a list", "🙂 مرحبا", "x<y"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape_controls(text) == text


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.text(alphabet="ab <>", max_size=9)), max_size=40), st.integers(1, 12))
def test_roles_alternate_and_length_is_bounded(turns: list[tuple[bool, str]], most: int) -> None:
    history = History(system="", max_items=most)
    for i, (user, text) in enumerate(turns):
        history = record_user(history, text) if user else record_heard(history, i + 1, text, complete=True)
        assert len(history.items) <= most
    roles = [role for role, _ in told(history)]
    assert all(a != b for a, b in pairwise(roles))


def test_the_brain_is_shown_a_bounded_end_that_begins_with_the_user() -> None:
    history = History(system="", memory_words=30)
    for i in range(40):
        history = record_heard(
            record_user(history, f"question number {i}"), i + 1, "some words in reply", complete=True
        )
        shown = recent(history.items, 30)
        assert sum(len(item.text.split()) for item in shown) <= 30
        assert shown[-1] == history.items[-1]
        assert shown[0].role == "user"

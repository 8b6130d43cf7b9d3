"""What is left out of a conversation that is too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.chat import Message
from fullduplex.base.errors import InputError
from fullduplex.lm.budget import fit


def count(messages: tuple[Message, ...]) -> int:
    return sum(len(message.text.split()) + 2 for message in messages)


def chat(turns: int) -> tuple[Message, ...]:
    talk = [Message("user" if turn % 2 == 0 else "assistant", f"word {turn}") for turn in range(turns)]
    return (Message("system", "be brief"), *talk)


def test_all_is_kept_when_it_fits() -> None:
    assert fit(chat(9), 40, count).messages == chat(9)


def test_the_oldest_go_first_in_blocks_of_four() -> None:
    fitted = fit(chat(9), 36, count)
    assert fitted.dropped_messages == 4
    assert fitted.messages == (chat(9)[0], *chat(9)[5:])


def test_the_beginning_stays_the_same_for_several_turns() -> None:
    starts = [fit(chat(turns), 36, count).messages[1] for turns in (9, 11, 12)]
    assert len(set(starts)) == 1


def test_what_must_stay_and_is_too_long_is_an_error() -> None:
    with pytest.raises(InputError, match="8 tokens, 7 are available"):
        fit(chat(9), 7, count)


@given(st.integers(1, 30), st.integers(8, 130))
def test_always_fits_and_keeps_the_ends(turns: int, budget: int) -> None:
    fitted = fit(chat(turns), budget, count)
    assert count(fitted.messages) <= budget
    assert fitted.messages[0] == chat(turns)[0]
    assert fitted.messages[-1] == chat(turns)[-1]
    assert len(fitted.messages) + fitted.dropped_messages == turns + 1

"""Slots: least recently used goes first, and a long common beginning is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError
from fullduplex.lm.slots import SlotTable, common_prefix


def test_least_recently_used_goes_first() -> None:
    table = SlotTable(2)
    table.claim("a")
    table.claim("b")
    assert table.full
    table.touch("a")
    assert table.oldest() == "b"
    assert table.oldest(besides="b") == "a"
    freed = table.release("b")
    assert freed is not None
    assert table.claim("c").sequence == freed.sequence
    assert table.keys() == ("a", "c")
    assert "b" not in table


def test_sequences_are_never_shared() -> None:
    table = SlotTable(3)
    assert {table.claim(key).sequence for key in "abc"} == {0, 1, 2}


def test_donor_has_the_longest_common_beginning() -> None:
    table = SlotTable(2)
    table.claim("a").tokens[:] = [1, 2, 3]
    table.claim("b").tokens[:] = [1, 2, 4, 5]
    donor, shared = table.donor([1, 2, 4, 6])
    assert donor is table.touch("b")
    assert shared == 3
    assert table.donor([9]) == (None, 0)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_prefix(first: list[int], second: list[int]) -> None:
    length = common_prefix(first, second)
    assert first[:length] == second[:length]
    assert first[length : length + 1] != second[length : length + 1] or length == min(len(first), len(second))


def test_no_slots_is_an_error() -> None:
    with pytest.raises(ConfigError):
        SlotTable(0)


def test_releasing_the_unknown_is_fine() -> None:
    assert SlotTable(1).release("nobody") is None

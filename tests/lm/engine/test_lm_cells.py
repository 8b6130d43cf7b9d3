"""Cells of the cache: never two owners that did not share, never lost, whatever the order of calls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.lm.engine.cells import Cells

COUNT, SEQUENCES = 12, 3
CALLS = st.lists(
    st.tuples(
        st.sampled_from(("extend", "truncate", "share")), st.integers(0, 2), st.integers(0, 2), st.integers(0, 6)
    ),
    max_size=40,
)


def held(cells: Cells, sequence: int) -> list[int]:
    return cells.of(sequence)[: cells.length(sequence)].tolist()


@given(CALLS)
def test_cells_are_kept_as_lists_of_values_would_be(calls: list[tuple[str, int, int, int]]) -> None:
    """Every cell is given a new value when it is taken; a sequence must read the values a plain list would hold."""
    cells, values = Cells(COUNT, SEQUENCES), np.zeros(COUNT, np.int64)
    model: list[list[int]] = [[] for _ in range(SEQUENCES)]
    for serial, (call, first, second, number) in enumerate(calls):
        if call == "extend":
            used = {cell for each in range(SEQUENCES) for cell in held(cells, each)}
            taken = cells.extend(first, number)
            assert taken is (number <= COUNT - len(used))
            if taken:
                fresh = held(cells, first)[len(model[first]) :]
                assert not used & set(fresh) and len(set(fresh)) == number
                values[fresh] = 100 * serial + np.arange(number)
                model[first] += values[fresh].tolist()
        elif call == "truncate":
            cells.truncate(first, number)
            del model[first][number:]
        elif first == second or number > len(model[first]):
            with pytest.raises(InputError, match="cannot share"):
                cells.share(first, second, number)
        else:
            cells.share(first, second, number)
            model[second] = model[first][:number]
        assert [values[held(cells, each)].tolist() for each in range(SEQUENCES)] == model


def test_a_cell_is_free_when_its_last_user_has_gone() -> None:
    cells = Cells(4, 2)
    assert cells.extend(0, 4) and not cells.extend(1, 1)
    cells.share(0, 1, 3)
    cells.truncate(0, 0)
    assert not cells.extend(0, 2) and cells.extend(0, 1)
    cells.truncate(1, 0)
    assert cells.extend(1, 3)
    for count, sequences in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="at least 1"):
            Cells(count, sequences)

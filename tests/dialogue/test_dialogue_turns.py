"""The table of floors and cues."""

import itertools

import pytest

from fullduplex.base.errors import InputError
from fullduplex.dialogue.turns import Cue, Floor, advance


@pytest.mark.parametrize(("floor", "cue"), list(itertools.product(Floor, Cue)), ids=lambda value: value.name)
def test_every_pair_is_listed_or_refused_by_name(floor: Floor, cue: Cue) -> None:
    try:
        after = advance(floor, cue)
    except InputError as error:
        assert cue.name in str(error) and floor.name in str(error) and "CLOSE" in str(error)
    else:
        assert isinstance(after, Floor)


def test_closing_is_always_possible_and_final() -> None:
    assert {advance(floor, Cue.CLOSE) for floor in Floor} == {Floor.CLOSED}
    for cue in set(Cue) - {Cue.CLOSE}:
        with pytest.raises(InputError):
            advance(Floor.CLOSED, cue)


def test_every_open_floor_can_reach_silence_and_every_floor_is_reachable() -> None:
    moves = {floor: set() for floor in Floor}
    for floor, cue in itertools.product(Floor, Cue):
        try:
            moves[floor].add(advance(floor, cue))
        except InputError:
            continue
    for start in set(Floor) - {Floor.CLOSED}:
        seen, todo = {start}, [start]
        while todo:
            for after in moves[todo.pop()] - seen:
                seen.add(after)
                todo.append(after)
        assert Floor.IDLE in seen
    assert set().union(*moves.values()) == set(Floor)

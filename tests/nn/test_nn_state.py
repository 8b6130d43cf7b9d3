from dataclasses import dataclass

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.nn.state import Stateless, detach, fork, leaves, map_leaves, state_select_rows, state_size_bytes


@dataclass(frozen=True)
class Inner:
    h_BD: torch.Tensor


@dataclass(frozen=True)
class Outer:
    count_B: torch.Tensor
    parts: tuple[object, ...]


@dataclass
class Thawed:
    h_BD: torch.Tensor


def nested():
    h_BD = torch.arange(6.0).reshape(3, 2)
    return Outer(torch.tensor([1, 2, 3]), (Inner(h_BD), Stateless(), (Inner(h_BD + 10),)))


def test_leaves_are_named_in_a_fixed_order():
    assert [name for name, _ in leaves(nested())] == ["count_B", "parts.0.h_BD", "parts.2.0.h_BD"]


def test_size_counts_bytes_of_each_dtype():
    assert state_size_bytes(nested()) == 3 * 8 + 6 * 4 + 6 * 4
    assert state_size_bytes(Stateless()) == 0


def test_map_keeps_the_form_and_the_original():
    state = nested()
    doubled = map_leaves(lambda name, leaf: leaf * 2, state)
    assert torch.equal(doubled.parts[2][0].h_BD, state.parts[2][0].h_BD * 2)
    assert isinstance(doubled.parts[1], Stateless)
    assert state.count_B.tolist() == [1, 2, 3]


def test_fork_is_the_same_value():
    state = nested()
    assert fork(state) is state


def test_detach_ends_the_history():
    weight = torch.ones(3, 2, requires_grad=True)
    assert not detach(Inner(weight * 2)).h_BD.requires_grad


@pytest.mark.parametrize(
    ("rows_B", "expected"),
    [
        (torch.tensor([2, 0, 2]), [3, 1, 3]),
        (torch.tensor([True, False, True]), [1, 3]),
        (torch.tensor([], dtype=torch.int64), []),
    ],
    ids=["index", "mask", "none"],
)
def test_rows_are_selected_in_every_leaf(rows_B, expected):
    chosen = state_select_rows(nested(), rows_B)
    assert chosen.count_B.tolist() == expected
    assert chosen.parts[0].h_BD.shape == (len(expected), 2)


@pytest.mark.parametrize(
    "rows_B",
    [torch.tensor([3]), torch.tensor([-1]), torch.tensor([True]), torch.tensor(1), torch.tensor([1.0])],
    ids=["beyond", "negative", "short mask", "scalar", "float"],
)
def test_rows_that_do_not_exist_are_refused(rows_B):
    with pytest.raises(InputError, match="rows"):
        state_select_rows(nested(), rows_B)


@pytest.mark.parametrize("state", [Thawed(torch.zeros(1, 2)), {"h": torch.zeros(1)}, [1], Inner], ids=str)
def test_what_is_no_state_is_refused(state):
    with pytest.raises(InputError, match=r"state .*(frozen|holds)"):
        state_size_bytes(state)

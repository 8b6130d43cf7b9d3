"""Draft-verified greedy decoding against its slow twin, on a model whose scores are exact."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.speech.greedy import cut_loop, decode, decode_ref

END, SIZE = 0, 12


class Chain:
    """A model whose next token depends on the whole prefix; counts its passes and checks its cache."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.passes = 0

    def _scores(self, prefix: Sequence[int]) -> np.ndarray:
        scores = np.random.default_rng([self.seed, *prefix]).standard_normal(SIZE).astype(np.float32)
        scores[END] += 0.1 * len(prefix)
        return scores

    def first(self, tokens: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
        self.passes += 1
        return np.stack([self._scores(tokens[:i]) for i in range(len(tokens) + 1)]), tuple(tokens)

    def next(self, token: int, cache: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
        self.passes += 1
        return self._scores([*cache, token]), (*cache, token)

    def keep(self, cache: tuple[int, ...], num_tokens: int) -> tuple[int, ...]:
        return cache[:num_tokens]


@given(
    seed=st.integers(0, 10_000),
    budget=st.integers(1, 30),
    wrong_at=st.integers(0, 30),
    tail=st.lists(st.integers(0, SIZE - 1), max_size=8),
)
def test_any_draft_gives_the_greedy_tokens(seed: int, budget: int, wrong_at: int, tail: list[int]) -> None:
    truth = decode_ref(Chain(seed), END, budget)
    assert decode(Chain(seed), END, budget) == truth
    assert decode(Chain(seed), END, budget, [*truth[:wrong_at], *tail]) == truth


def test_a_right_draft_costs_one_pass() -> None:
    model, truth = next((model, truth) for model in map(Chain, range(99)) if len(truth := decode(model, END, 40)) > 3)
    assert model.passes == len(truth) + 1
    model.passes = 0
    assert decode(model, END, 40, truth) == truth
    assert model.passes == 1


@pytest.mark.parametrize(
    ("tokens", "cut"),
    [
        ([5] * 6, [5]),
        ([5] * 5, None),
        ([1, 2] * 4, [1, 2]),
        ([9, 1, 2, 1, 2, 1, 2], None),
        ([9, *[1, 2, 3] * 4], [9, 1, 2, 3]),
        ([], None),
    ],
)
def test_loops_are_cut_to_one_copy(tokens: list[int], cut: list[int] | None) -> None:
    assert cut_loop(tokens) == cut

"""Draws: their shares are those of the formula, they follow the seed, and greedy is the likeliest."""

import numpy as np
import pytest

from fullduplex.base.chat import Sampling
from fullduplex.base.errors import InputError
from fullduplex.lm.engine.sampling import TOP_K, Sampler

LOGITS = np.random.default_rng(0).normal(0, 2, 500).astype(np.float32)


def shares(temperature: float, top_p: float) -> np.ndarray:
    """The same by sorting everything."""
    order = np.argsort(-LOGITS)[:TOP_K]
    share = np.exp(LOGITS[order].astype(np.float64))
    share /= share.sum()
    kept = order[: int(np.searchsorted(np.cumsum(share), top_p)) + 1]
    weight = np.exp(LOGITS[kept].astype(np.float64) / temperature)
    found = np.zeros(LOGITS.size)
    found[kept] = weight / weight.sum()
    return found


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.9), (0.5, 0.5), (2.0, 1.0)])
def test_shares_of_draws(temperature: float, top_p: float) -> None:
    sampler, expected = Sampler(Sampling(temperature=temperature, top_p=top_p, seed=1)), shares(temperature, top_p)
    count = 20_000
    drawn = np.bincount([sampler.draw(LOGITS) for _ in range(count)], minlength=LOGITS.size)
    assert not drawn[expected == 0].any()
    spread = np.sqrt(count * expected * (1 - expected)) + 1
    assert (np.abs(drawn - count * expected) < 5 * spread).all()


def test_draws_follow_the_seed() -> None:
    drawn = [
        [Sampler(Sampling(temperature=1.0, seed=seed)).draw(LOGITS + i) for i in range(3)] for seed in (1, 1, 2, 3, 4)
    ]
    assert drawn[0] == drawn[1]
    assert len({each[0] for each in drawn}) > 1


def test_greedy_and_few_tokens() -> None:
    assert Sampler(Sampling()).draw(LOGITS) == int(LOGITS.argmax())
    assert Sampler(Sampling(temperature=1.0, top_p=1e-6)).draw(LOGITS) == int(LOGITS.argmax())
    assert Sampler(Sampling(temperature=1.0)).draw(np.array([-50.0, 0.0], np.float32)) == 1


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_what_is_no_sampling(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="top_p"):
        Sampler(Sampling(**wrong))

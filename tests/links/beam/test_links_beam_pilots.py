"""Every pilot counted where it is sent: no method, whatever it says it used, sends more than it may."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.links.beam.align import METHODS, AlignConfig, align
from fullduplex.links.beam.noise import Float, Noise
from fullduplex.links.beam.search import SEARCHES
from fullduplex.links.beam.surface import Surface


@dataclass
class Counted:
    """A law of noise that counts: arms times pilots of every report, in each trial."""

    law: str = "physical"
    sigma: float = 0.1
    sent: list[int] = field(default_factory=list[int])

    def observe(self, amplitude: Float, pilots: int, draw: np.random.Generator) -> Float:
        self.sent.append(max(0, pilots) * (amplitude.shape[1] if amplitude.ndim == 2 else 1))
        return Noise(law="physical", sigma=self.sigma).observe(amplitude, pilots, draw)


budgets = st.one_of(st.integers(1, 60), st.integers(1, 100_000))


@given(st.sampled_from(sorted(SEARCHES)), budgets, st.integers(1, 80))
def test_no_search_sends_more_than_its_budget(name: str, budget: int, arms: int) -> None:
    counted = Counted()
    found = SEARCHES[name](np.ones((2, arms)), budget, counted, np.random.default_rng(0))  # type: ignore[arg-type]
    assert sum(counted.sent) == found.pilots <= budget
    if budget < min(arms, 4):
        assert found.starved


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(budgets, st.sampled_from([1.0, 1.5, 4.0]), st.booleans(), st.floats(0.05, 0.95))
def test_no_alignment_sends_more_than_its_budget(
    method: str, budget: int, size: float, refine: bool, first_share: float
) -> None:
    surface, counted = Surface(size=size), Counted()
    config = AlignConfig(
        first=surface,
        second=surface,
        budget=budget,
        noise=counted,  # type: ignore[arg-type]
        refine=refine,
        first_share=first_share,
    )
    found = align(config, method, np.zeros((2, 2)), seed=0)  # type: ignore[arg-type]
    assert sum(counted.sent) == found.pilots <= budget
    if budget < 4:
        assert found.starved

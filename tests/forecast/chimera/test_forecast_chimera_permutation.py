"""The pooled mean knows no order to the last bit."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.forecast.chimera.core import pool


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 999))
def test_the_mean_over_variates_is_the_same_bits_in_any_order(num_variates, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, num_variates, 2, 2, generator=generator) * 10.0 ** torch.randint(
        -6, 6, (1,), generator=generator
    )
    order = torch.randperm(num_variates, generator=generator)
    assert torch.equal(pool(x), pool(x[:, :, order]))
    torch.testing.assert_close(pool(x), x.mean(2, keepdim=True), rtol=1e-5, atol=1e-6 * x.abs().max().item())

"""Cauchy sums against the plain table, by their values and their gradients."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels import cauchy
from fullduplex.kernels.cauchy import cauchy_sums, cauchy_sums_ref
from kernels.paths import choose_path


def numbers(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def case(lead=(3,), sums=4, modes=5, nodes=11, seed=0, dtype=torch.complex128):
    z = torch.polar(torch.tensor(0.95, dtype=torch.float64), torch.linspace(0, 3.1, nodes, dtype=torch.float64))
    mu = -numbers(*lead, modes, seed=seed).abs() + 1j * numbers(*lead, modes, seed=seed + 1).real
    return [each.to(dtype) for each in (numbers(*lead, sums, modes, seed=seed + 2), mu, 1 - z, (1 + z) / 2)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex64, 2e-5), (torch.complex128, 1e-13)])
@pytest.mark.parametrize("block", [1, 40, 2**16])
@pytest.mark.parametrize("sums", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("path", ["compiled", "torch"])
def test_both_paths_give_the_plain_table(dtype, tolerance, block, sums, path, monkeypatch):
    choose_path(path, monkeypatch)
    monkeypatch.setattr(cauchy, "_BLOCK_NUMBERS", block)
    v, mu, alpha, beta = case(sums=sums, dtype=dtype)
    leaves = [v.clone().requires_grad_(), mu.clone().requires_grad_()]
    twins = [v.clone().requires_grad_(), mu.clone().requires_grad_()]
    got, expected = cauchy_sums(*leaves, alpha, beta), cauchy_sums_ref(*twins, alpha, beta)
    assert (got - expected).abs().max() <= tolerance * expected.abs().max()
    weights = numbers(*got.shape, seed=9, dtype=dtype)
    (got * weights).real.sum().backward()
    (expected * weights).real.sum().backward()
    for leaf, twin in zip(leaves, twins, strict=True):
        assert (leaf.grad - twin.grad).abs().max() <= tolerance * twin.grad.abs().max()


@settings(max_examples=30, deadline=None)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    sums=st.integers(1, 3),
    modes=st.integers(1, 6),
    nodes=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_shape(lead, sums, modes, nodes, seed):
    arguments = case(lead, sums, modes, nodes, seed)
    got, expected = cauchy_sums(*arguments), cauchy_sums_ref(*arguments)
    assert got.shape == (*lead, sums, nodes)
    assert (got - expected).abs().max() <= 1e-12 * (1 + expected.abs().max())


@pytest.mark.parametrize("path", ["compiled", "torch"])
def test_gradients_match_finite_differences(path, monkeypatch):
    choose_path(path, monkeypatch)
    v, mu, alpha, beta = case((2,), 5, 3, 19)
    leaves = (v.requires_grad_(), mu.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: cauchy_sums(a, b, alpha, beta), leaves)


def test_conjugate_views_and_strides_are_read_as_they_are():
    v, mu, alpha, beta = case((2, 3), 2, 4, 17)
    turned = v.mT.contiguous().mT
    expected = cauchy_sums_ref(v.conj(), mu.conj(), alpha.conj(), beta)
    assert (cauchy_sums(turned.conj(), mu.conj(), alpha.conj(), beta) - expected).abs().max() < 1e-12


def test_the_gradient_can_be_differentiated_again():
    v, mu, alpha, beta = case((1,), 2, 2, 3)
    leaves = (v.requires_grad_(), mu.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda a, b: cauchy_sums(a, b, alpha, beta), leaves)


def test_a_sum_by_hand_and_a_pole():
    one = torch.ones(1, 1, dtype=torch.complex128)
    got = cauchy_sums(one, -one[0], torch.tensor([1.0 + 0j, -1]).to(one.dtype), torch.ones(2, dtype=one.dtype))
    assert got[0, 0] == 0.5
    assert not torch.isfinite(got[0, 1].abs())


@pytest.mark.parametrize(
    "bad",
    [
        lambda v, mu, a, b: (v[0, 0], mu, a, b),
        lambda v, mu, a, b: (v, mu[..., :-1], a, b),
        lambda v, mu, a, b: (v, mu, a[:-1], b),
        lambda v, mu, a, b: (v, mu, a[None], b[None]),
        lambda v, mu, a, b: (v.real, mu, a, b),
        lambda v, mu, a, b: (v, mu.to(torch.complex64), a, b),
        lambda v, mu, a, b: (v, mu, a.to("meta"), b),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError, match="cauchy_sums"):
        cauchy_sums(*bad(*case()))

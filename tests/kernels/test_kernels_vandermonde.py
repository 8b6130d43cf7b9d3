"""Sums of powers, fast and plain."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fullduplex.base.errors import InputError
from fullduplex.kernels.vandermonde import (
    gather_powers,
    gather_powers_ref,
    power_table,
    unroll_powers,
    unroll_powers_ref,
)


def draw(*shape, seed=0, dtype=torch.complex128):
    """Bases in the unit disc; some on its rim, some zero."""
    generator = torch.Generator().manual_seed(seed)
    radius, angle = (torch.rand(*shape, generator=generator, dtype=torch.float64) for _ in range(2))
    radius = torch.where(radius < 0.1, 0, torch.where(radius > 0.9, 1, radius))
    weights = torch.randn(*shape, generator=generator, dtype=torch.complex128)
    return weights.to(dtype), torch.polar(radius, 6.3 * angle).to(dtype)


def relative_error(got, expected):
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item() if got.numel() else 0.0


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 4, 5, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("num_modes", [1, 32, 33, 70])
def test_unroll_equals_reference(num_modes, num_steps):
    c, a = draw(3, num_modes)
    assert relative_error(unroll_powers(c, a, num_steps), unroll_powers_ref(c, a, num_steps)) <= 1e-12


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 5, 63, 64, 65, 500])
@pytest.mark.parametrize("num_modes", [1, 33])
def test_gather_equals_reference(num_modes, num_steps):
    _, a = draw(3, num_modes)
    u = torch.randn(2, 3, num_steps, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([gather_powers_ref(row, a) for row in u])
    assert relative_error(gather_powers(u, a), expected) <= 1e-13


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 40), st.integers(0, 200), st.integers(0, 99))
def test_any_shape(rows, width, num_modes, num_steps, seed):
    c, a = draw(width, num_modes, seed=seed)
    c = c.expand(rows, width, num_modes)
    assert relative_error(unroll_powers(c, a, num_steps), unroll_powers_ref(c, a, num_steps)) <= 1e-12
    u = torch.ones(rows, width, num_steps, dtype=torch.float64)
    assert gather_powers(u, a).shape == (rows, width, num_modes)


def test_single_precision_loses_nothing_in_long_powers():
    # The modes of a memory of a thousand steps that turn fast; the exact sum in double precision is the reference.
    a = torch.exp(1e-3 * (-0.5 + 1j * torch.linspace(0, 1300, 32, dtype=torch.float64))).expand(4, 32)
    c = torch.randn(4, 32, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    exact = unroll_powers(c, a, 16384)
    error = (unroll_powers(c.to(torch.complex64), a, 16384) - exact).abs().max() / exact.abs().max()
    assert error.item() <= 1e-6


def test_closed_form_of_a_geometric_series():
    a = torch.tensor([[0.9 + 0.1j]], dtype=torch.complex128)
    got = gather_powers(torch.ones(1, 300, dtype=torch.float64), a)
    torch.testing.assert_close(got, (1 - a**300) / (1 - a), rtol=1e-13, atol=0)


def test_zero_to_the_power_zero_is_one():
    c, a = torch.ones(1, 1, dtype=torch.complex128), torch.zeros(1, 1, dtype=torch.complex128)
    assert unroll_powers(c, a, 10).tolist() == [[2.0] + [0.0] * 9]
    assert gather_powers(torch.arange(5.0, dtype=torch.float64)[None], a).tolist() == [[4.0]]


def test_power_table_counts():
    a = torch.tensor([0.5 + 0.5j], dtype=torch.complex128)
    for count in range(1, 20):
        table, top = power_table(a, count)
        torch.testing.assert_close(table[0], a ** torch.arange(count), rtol=1e-14, atol=0)
        torch.testing.assert_close(top, a**count, rtol=1e-14, atol=0)


def test_gradients_against_finite_differences():
    c, a = (tensor.requires_grad_() for tensor in draw(2, 3, seed=3))
    u = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, a: unroll_powers(c, a, 7), (c, a))
    assert torch.autograd.gradcheck(gather_powers, (u, a))


class LargestTensor(TorchDispatchMode):
    """The size of the largest tensor any operation made."""

    num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self.num_bytes = max(self.num_bytes, each.numel() * each.element_size())
        return out


@pytest.mark.parametrize("num_modes", [32, 256])
def test_nothing_larger_than_the_result_is_ever_made(num_modes):
    width, num_steps = 4, 65536
    c, a = draw(width, num_modes, dtype=torch.complex64)
    with LargestTensor() as unrolled:
        kernel = unroll_powers(c, a, num_steps)
    with LargestTensor() as gathered:
        gather_powers(kernel, a)
    # The table of all powers would be 8 width num_modes num_steps bytes: 67 MB and 537 MB.
    allowed = 4 * kernel.numel() * kernel.element_size()
    assert unrolled.num_bytes <= allowed
    assert gathered.num_bytes <= allowed


@pytest.mark.parametrize(
    "bad",
    [
        lambda c, a: unroll_powers(c.real, a, 5),
        lambda c, a: unroll_powers(c, a.real, 5),
        lambda c, a: unroll_powers(c[:, :2], a, 5),
        lambda c, a: unroll_powers(c, a[:1].expand(3, -1), 5),
        lambda c, a: unroll_powers(c, a, -1),
        lambda c, a: unroll_powers(c[0, 0], a, 5),
        lambda c, a: unroll_powers(c, a.to("meta"), 5),
        lambda c, a: gather_powers(c, a),
        lambda c, a: gather_powers(c.real.to("meta"), a),
        lambda c, a: gather_powers(c.real[0, 0], a),
        lambda c, a: gather_powers(c.real[:1].expand(3, -1), a),
        lambda c, a: gather_powers(c.real, a.real),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad(*draw(2, 4))

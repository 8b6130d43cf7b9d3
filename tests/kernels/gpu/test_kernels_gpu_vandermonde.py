"""Sums of powers in Triton, both ways."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.kernels.vandermonde import gather_powers_ref, unroll_powers_ref
from kernels.gpu.device import DEVICE, need_device

need_device()

from fullduplex.kernels.gpu.vandermonde import gather_gpu, unroll_gpu  # noqa: E402

# One of everything, one block less or more than whole, more than one block of modes and of steps.
SHAPES = pytest.mark.parametrize(
    ("shape", "num_steps"),
    [((1,), 1), ((2, 1), 2), ((2,), 64), ((1, 2, 17), 65), ((3,), 1023), ((2,), 1024), ((2, 2), 2050)],
    ids=str,
)
KINDS = pytest.mark.parametrize("kind", [torch.complex64, torch.complex128], ids=str)


def draw(*shape):
    """Weights, and bases in the unit disc: some on its rim, some zero."""
    generator = torch.Generator().manual_seed(0)
    radius, angle = (torch.rand(*shape, generator=generator, dtype=torch.float64) for _ in range(2))
    radius = torch.where(radius < 0.1, 0, torch.where(radius > 0.9, 1, radius))
    weights = torch.randn(*shape, generator=generator, dtype=torch.complex128)
    return weights.to(DEVICE), torch.polar(radius, 6.3 * angle).to(DEVICE)


def assert_near(found, expected, kind):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        limit = (1e-6 if kind == torch.complex64 else 1e-12) * other.abs().max().clamp(min=1).item()
        torch.testing.assert_close(one.to(other.dtype), other, rtol=0, atol=limit)


@KINDS
@SHAPES
def test_unrolled_powers_equal_reference_both_ways(shape, num_steps, kind):
    c, a = draw(*shape)
    c, a = c.to(kind).requires_grad_(), a.requires_grad_()
    expected = unroll_powers_ref(c.to(a.dtype), a, num_steps)
    got = unroll_gpu(c, a, num_steps)
    assert got.dtype == c.real.dtype
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    wanted = torch.autograd.grad(expected, (c, a), weight.to(expected))
    found = torch.autograd.grad(got, (c, a), weight.to(got))
    assert_near((got, *found), (expected, *wanted), kind)


@KINDS
@SHAPES
def test_gathered_powers_equal_reference_both_ways(shape, num_steps, kind):
    _, a = draw(*shape)
    u = torch.randn(*shape[:-1], num_steps, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(DEVICE)
    u, a = u.to(kind.to_real()).requires_grad_(), a.requires_grad_()
    expected = gather_powers_ref(u.double(), a)
    got = gather_gpu(u, a)
    assert got.dtype == kind
    weight, _ = draw(*shape)
    wanted = torch.autograd.grad(expected, (u, a), weight, allow_unused=True, materialize_grads=True)
    found = torch.autograd.grad(got, (u, a), weight.to(kind))
    assert_near((got, *found), (expected, *wanted), kind)


@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128], ids=str)
def test_bases_in_single_precision_and_read_through_views(kind):
    c, a = draw(2, 8)
    c, a = c.to(kind)[:, ::2].conj(), a.to(kind)[:, ::2].conj()
    assert_near([unroll_gpu(c, a, 100)], [unroll_powers_ref(c.to(torch.complex128), a.to(torch.complex128), 100)], kind)
    u = torch.randn(100, 2, generator=torch.Generator().manual_seed(3)).to(DEVICE).to(kind.to_real()).T
    assert_near([gather_gpu(u, a)], [gather_powers_ref(u.double(), a.to(torch.complex128))], kind)


def test_zero_to_the_power_zero_is_one():
    a, c = (make(1, 1, dtype=torch.complex128, device=DEVICE) for make in (torch.zeros, torch.ones))
    assert unroll_gpu(c, a, 5).tolist() == [[2.0, 0.0, 0.0, 0.0, 0.0]]
    assert gather_gpu(torch.arange(5.0, dtype=torch.float64, device=DEVICE)[None], a).tolist() == [[4.0]]


def test_a_long_power_loses_nothing_in_single_precision():
    # e^(1e-3 (-1/2 + 1300i)) to the power 8191, summed over the modes of a memory of a thousand steps; closed form in double.
    turn = 1e-3 * (-0.5 + 1j * torch.linspace(650, 1300, 2, dtype=torch.float64)).to(DEVICE)
    c, _ = draw(2)
    exact = 2 * (c * torch.exp(turn * torch.arange(8192, device=DEVICE)[:, None])).sum(-1).real
    error = (unroll_gpu(c.to(torch.complex64), torch.exp(turn), 8192) - exact).abs().max() / exact.abs().max()
    assert error.item() <= 1e-6

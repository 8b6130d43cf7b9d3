"""Diagonal systems in discrete time, against closed forms."""

import cmath

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.kernels.discretise import discretise

A = torch.tensor([[-0.5 + 3j, -1.0 + 0j, -2 - 40j], [-0.1 + 0j, -0.5 + 1303j, -5 + 5j]], dtype=torch.complex128)
B = torch.tensor([[1 + 0j, 2 - 1j, 0.5j], [1 + 1j, 3 + 0j, -1 + 0j]], dtype=torch.complex128)
STEP = torch.tensor([0.01, 0.3], dtype=torch.float64)


def test_zoh_is_the_integral_of_the_exponential():
    # x(s) = e^(s a) x(0) + b times the integral of e^(t a) from 0 to s.
    got_a, got_b = discretise(A, B, STEP, "zoh")
    for row, step in enumerate(STEP.tolist()):
        for mode, (a, b) in enumerate(zip(A[row].tolist(), B[row].tolist(), strict=True)):
            assert got_a[row, mode].item() == pytest.approx(cmath.exp(step * a), rel=1e-13)
            assert got_b[row, mode].item() == pytest.approx(b * (cmath.exp(step * a) - 1) / a, rel=1e-12)


def test_bilinear_obeys_the_trapezium_rule():
    # x1 - x0 = s (a (x1 + x0) / 2 + b u), for any x0 and u.
    got_a, got_b = discretise(A, B, STEP, "bilinear")
    x0, u, s = 0.7 - 0.2j, 1.3, STEP[:, None]
    x1 = got_a * x0 + got_b * u
    torch.testing.assert_close(x1 - x0, s * (A * (x1 + x0) / 2 + B * u), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_standing_modes_and_tiny_steps_are_exact(rule):
    a = torch.zeros(1, 2, dtype=torch.complex128, requires_grad=True)
    got_a, got_b = discretise(a, torch.ones_like(a), torch.tensor([0.25], dtype=torch.float64), rule)
    assert got_a.tolist() == [[1, 1]]
    assert got_b.tolist() == [[0.25, 0.25]]
    got_b.real.sum().backward()
    assert torch.isfinite(torch.view_as_real(a.grad)).all()
    tiny = torch.tensor([1e-8, 1e-8], dtype=torch.float64)
    _, small_b = discretise(A, B, tiny, rule)
    torch.testing.assert_close(small_b / 1e-8, B, rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [9e-5, 9.99e-5, 1.01e-4, 1e-3])
def test_no_jump_where_the_series_takes_over(size):
    a = torch.tensor([[size * 1j, -size + 0j]], dtype=torch.complex128)
    _, b = discretise(a, torch.ones_like(a), torch.ones(1, dtype=torch.float64), "zoh")
    series = sum(a**k / float(torch.lgamma(torch.tensor(k + 2.0, dtype=torch.float64)).exp()) for k in range(8))
    torch.testing.assert_close(b, series, rtol=1e-15 * 100, atol=0)


def test_unknown_rule():
    with pytest.raises(InputError, match="euler"):
        discretise(A, B, STEP, "euler")

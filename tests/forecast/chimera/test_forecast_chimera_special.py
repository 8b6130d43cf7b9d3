"""Special cases as equalities: AR(p), closed loop, smoothing, S4ND, the scalar dual form; and the rank theorem."""

from fractions import Fraction

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.core import GridCore
from fullduplex.forecast.chimera.special import (
    autoregression,
    close_loop,
    companion,
    exact_kernel,
    exact_rank,
    exponential_smoothing,
    separable,
    unroll,
)
from fullduplex.kernels.scan2d import grid_kernel
from fullduplex.nn.mamba.exact import StepStart


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ar_with_roots(roots):
    """phi of x_t = sum phi_i x_{t-i} whose polynomial z^p - sum phi_i z^(p-i) has these roots."""
    return torch.from_numpy(-np.poly(roots)[1:].real.copy())


STABLE = [0.97 * np.exp(0.3j), 0.97 * np.exp(-0.3j), 0.9, -0.5]


def test_the_companion_matrix_has_the_roots_of_its_polynomial():
    phi = ar_with_roots(STABLE)
    for matrix in (companion(phi.flip(0)), close_loop(autoregression(phi))):
        got = np.sort_complex(torch.linalg.eigvals(matrix).numpy())
        np.testing.assert_allclose(got, np.sort_complex(np.array(STABLE, dtype=complex)), rtol=0, atol=1e-13)


def test_a_shift_register_is_an_autoregression_open_and_closed_for_500_steps():
    phi, past = ar_with_roots(STABLE), noise(2, 20, 3)
    system = autoregression(phi)
    open_BTV, _ = system.scan(past, system.init(2, 3))
    for t in range(4, 20):
        expected = sum(phi[i] * past[:, t - i] for i in range(4))
        torch.testing.assert_close(open_BTV[:, t], expected, rtol=1e-13, atol=1e-13)
    history = list(past.unbind(1))
    for _ in range(500):
        history.append(sum(phi[i] * history[-1 - i] for i in range(4)))
    closed = unroll(system, past, 500)
    torch.testing.assert_close(closed, torch.stack(history[20:], 1), rtol=1e-10, atol=1e-12)
    # SpaceTime's closed form: y_{n+h} = C (A + B K)^h h_n.
    h_BVN = past[:, -4:].flip(1).permute(0, 2, 1)
    power = torch.linalg.matrix_power(close_loop(system), 499)
    torch.testing.assert_close(closed[:, 499], h_BVN @ power.T @ phi, rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1.0), st.integers(0, 99))
def test_one_state_is_exponential_smoothing(alpha, seed):
    x = noise(1, 30, 2, seed=seed)
    got, _ = exponential_smoothing(alpha).scan(x, exponential_smoothing(alpha).init(1, 2))
    weights = alpha * (1 - alpha) ** torch.arange(30, dtype=torch.float64)
    expected = torch.stack([(weights[: t + 1].flip(0)[:, None] * x[0, : t + 1]).sum(0) for t in range(30)])
    torch.testing.assert_close(got[0], expected, rtol=1e-12, atol=1e-13)


def test_exponential_smoothing_equals_statsmodels():
    holtwinters = pytest.importorskip("statsmodels.tsa.holtwinters")
    x = noise(1, 40, 1, seed=2)
    fitted = holtwinters.SimpleExpSmoothing(x[0, :, 0].numpy(), initialization_method="known", initial_level=0.0).fit(
        smoothing_level=0.3, optimized=False
    )
    got, _ = exponential_smoothing(0.3).scan(x, exponential_smoothing(0.3).init(1, 1))
    np.testing.assert_allclose(got[0, :-1, 0], fitted.fittedvalues[1:], rtol=1e-12, atol=1e-13)


def test_s4nd_is_the_case_without_a3_b1_and_c2():
    a1, a4, a2 = (noise(3, 3, seed=i) / 4 for i in range(3))
    c1, b2, left, right = (noise(3, seed=i) for i in range(3, 7))
    kernel = grid_kernel(*_parts(separable((a1, c1), (a4, b2), a2)), 8, 6)
    power = torch.linalg.matrix_power
    expected = torch.tensor(
        [[float(c1 @ power(a1, t) @ a2 @ power(a4, v) @ b2) for v in range(6)] for t in range(7)], dtype=torch.float64
    )
    torch.testing.assert_close(kernel[1:], expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(kernel[0], torch.zeros(6, dtype=torch.float64))
    # A2 of rank one: the outer product of a kernel over time and one over variates.
    kernel = grid_kernel(*_parts(separable((a1, c1), (a4, b2), torch.outer(left, right))), 8, 6)
    over_time = torch.stack([c1 @ power(a1, t) @ left for t in range(7)])
    over_variates = torch.stack([right @ power(a4, v) @ b2 for v in range(6)])
    torch.testing.assert_close(kernel[1:], torch.outer(over_time, over_variates), rtol=1e-12, atol=1e-14)


def _parts(system):
    return system.blocks_4NN, system.ports_4N


def test_one_decay_for_all_states_is_the_masked_attention_of_mamba_2():
    # y = (L * (C B^T)) (s x) with L[i, j] = a_{j+1} ... a_i: arXiv 2405.21060, equation 16.
    config = ChimeraConfig(width=1, expand=1, order=4, coupling="none", hold="euler")
    core = GridCore(config, HeadConfig(time=StepStart())).double()
    u = noise(1, 17, 2, 1)
    with torch.no_grad():
        core.along.log_rate_EN.fill_(0.3)
        step, decay, _, read = core.along(u)
        y, _ = core.scan(u, core.init(1, 2))
        _, b, c = torch.nn.functional.linear(u, core.along.x_proj.weight).split([1, 4, 4], dim=-1)
        assert torch.equal(c.unsqueeze(-2), read)
        for v in range(2):
            total = decay[0, :, v, 0, 0].log().cumsum(0)
            mask = torch.exp(total[:, None] - total[None]).tril()
            expected = (mask * (c[0, :, v] @ b[0, :, v].T)) @ (step[0, :, v, 0, 0] * u[0, :, v, 0])
            torch.testing.assert_close(y[0, :, v, 0], expected + core.skip_E * u[0, :, v, 0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("size", [4, 8, 12])
def test_the_rank_of_the_kernel(size):
    half, third, fifth, seventh = (Fraction(1, n) for n in (2, 3, 5, 7))
    ports = (1, Fraction(2, 3), Fraction(3, 4), Fraction(5, 6))
    table = {
        (half, third, fifth, seventh): size,
        (half, 0, fifth, seventh): 2,
        (half, third, 0, seventh): 2,
        (half, 0, 0, seventh): 2,
    }
    for blocks, rank in table.items():
        assert exact_rank(exact_kernel(blocks, ports, size)) == rank
    assert exact_rank(exact_kernel((half, third, 0, seventh), (0, 1, 1, 0), size)) == 1


def test_the_exact_kernel_is_the_kernel_and_the_exact_rank_is_the_rank():
    blocks, ports = (0.5, 0.25, -0.5, 0.125), (1.0, 0.5, 2.0, -1.0)
    exact = exact_kernel(tuple(map(Fraction, blocks)), tuple(map(Fraction, ports)), 7)
    tensors = [tuple(torch.tensor(x, dtype=torch.float64).reshape(shape) for x in numbers)
               for numbers, shape in ((blocks, (1, 1)), (ports, (1,)))]  # fmt: skip
    expected = torch.tensor([[float(x) for x in row] for row in exact], dtype=torch.float64)
    torch.testing.assert_close(grid_kernel(*tensors, 7, 7), expected, rtol=1e-14, atol=0)
    for matrix, rank in (
        ([[1, 2], [2, 4]], 1),
        ([[0, 1], [1, 0]], 2),
        ([[0, 0], [0, 0]], 0),
        ([[1, 2, 3], [4, 5, 6], [5, 7, 9]], 2),
    ):
        assert exact_rank([[Fraction(x) for x in row] for row in matrix]) == rank


def test_bad_input_says_what_was_wrong():
    for alpha in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="alpha"):
            exponential_smoothing(alpha)
    with pytest.raises(InputError, match="companion"):
        companion(torch.zeros(0))
    with pytest.raises(InputError, match="unroll"):
        unroll(exponential_smoothing(0.5), noise(1, 0, 2), 3)

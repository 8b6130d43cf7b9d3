"""What a strict reader of S4D would try first, against SciPy and over many steps."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fullduplex.kernels.discretise import discretise
from fullduplex.kernels.vandermonde import unroll_powers
from fullduplex.nn.stream import scan_by_steps
from fullduplex.ssm.modes import modes
from fullduplex.ssm.ptd.spikes import discrete_modes
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig


@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize("start", ["legs", "lin", "real"])
def test_discretisation_is_that_of_scipy(rule, start):
    signal = pytest.importorskip("scipy.signal")
    a_M, b_M = modes(start, 8)
    for step in (1e-3, 0.3):
        system = (np.diag(a_M), b_M[:, None], np.ones((1, a_M.size)), np.zeros((1, 1)))
        a_NN, b_N1, *_ = signal.cont2discrete(system, step, method=rule)
        steps = torch.tensor([step], dtype=torch.float64)
        got = discretise(torch.from_numpy(a_M)[None], torch.from_numpy(b_M)[None], steps, rule)
        np.testing.assert_allclose(got[0][0].numpy(), np.diag(a_NN), rtol=0, atol=1e-12)
        if rule == "zoh":
            np.testing.assert_allclose(got[1][0].numpy(), b_N1[:, 0], rtol=0, atol=1e-12)
        else:
            # SciPy moves half of the input into C and D; the map from input to output is the same.
            turned, entered, read, direct = signal.cont2discrete(system, step, method=rule)[:4]
            z = np.exp(0.7j)
            theirs = (read @ np.linalg.solve(z * np.eye(a_M.size) - turned, entered) + direct).item()
            a_N, b_N = discrete_modes(a_M, b_M, step, rule)
            assert np.sum(b_N / (1 - a_N / z)) * (1 + 1 / z) / 2 == pytest.approx(theirs, rel=1e-10)


@pytest.mark.slow
def test_a_thousand_steps_at_a_hundred_times_the_rate_leave_it_stable():
    layer = S4D(S4DConfig(width=2, order=4), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)  # the paper: at most 1e-3
    x_BTD = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(1))
    for _ in range(1000):
        optimiser.zero_grad()
        layer.scan(x_BTD, layer.init(2))[0].square().mean().neg().backward()  # louder and louder
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimiser.step()
    assert layer.discrete().a_DM.abs().max().item() <= 1
    assert torch.isfinite(layer.kernel(2000)).all()


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 1000])
def test_odd_and_long_lengths(length):
    # No layer knows a longest length; each length gives the beginning of a longer kernel.
    generator = torch.Generator().manual_seed(0)
    for layer in (
        S4D(S4DConfig(width=2, order=8), generator=generator),
        S4(S4Config(width=2, order=8), generator=generator),
    ):
        with torch.no_grad():
            longer = layer.double().kernel(1500)
            torch.testing.assert_close(layer.kernel(length), longer[:, :length], rtol=0, atol=1e-12)


def test_a_long_run_of_s4_stays_bounded():
    layer = S4(S4Config(width=1, order=4, kinds=("fout",)), generator=torch.Generator().manual_seed(0)).frozen()
    state = layer.init(1)
    with torch.no_grad():
        for _ in range(16):
            y_BTD, state = layer.scan(torch.ones(1, 65_536, 1), state)
        assert torch.isfinite(y_BTD).all()
        assert y_BTD.abs().max().item() < 1e3
        steps, _ = scan_by_steps(layer, torch.ones(1, 20, 1), state)
    torch.testing.assert_close(steps[0, -1], y_BTD[0, -1], rtol=1e-3, atol=1e-3)


def test_sixty_five_thousand_steps_in_single_precision():
    a_M, b_M = modes("lin", 64)
    a_M, _ = discrete_modes(a_M, b_M, 1e-3, "zoh")
    c_M = torch.ones(1, 32, dtype=torch.complex128)
    exact = unroll_powers(c_M, torch.from_numpy(a_M)[None], 65_536)
    single = unroll_powers(c_M.to(torch.complex64), torch.from_numpy(a_M)[None], 65_536)
    assert (single - exact).abs().max() <= 3e-6 * exact.abs().max()

"""What a strict reader of S4D would try first, against SciPy and over many steps."""

import math
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.kernels.discretise import discretise
from fullduplex.kernels.vandermonde import unroll_powers
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2Config
from fullduplex.nn.stream import scan_by_steps
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.modes import modes
from fullduplex.ssm.ptd.spikes import discrete_modes, spike_of_legs
from fullduplex.ssm.ptd.start import perturbed_legs
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig
from fullduplex.ssm.s5 import S5, S5Config


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


def test_a_thousand_steps_at_a_hundred_times_the_rate_leave_it_stable():
    layer = S4D(S4DConfig(width=2, order=4), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)  # the paper: at most 1e-3
    for _ in range(1000):
        optimiser.zero_grad()
        layer.kernel(8).square().mean().neg().backward()  # an answer louder and louder
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


_MEMORY_SCRIPT = """
import torch
from fullduplex.ssm.s4d import S4D, S4DConfig
torch.set_num_threads(1)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
layer = S4D(S4DConfig(width=64, order=64))
with torch.no_grad():
    layer.kernel(256)
    before = peak()
    kernel = layer.kernel(65_536)
assert kernel.shape == (64, 65_536) and torch.isfinite(kernel).all()
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak of memory")
def test_sixty_five_thousand_steps_in_bounded_memory():
    # The result is 16 MiB; the whole table of powers would be 1 GiB.
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY_SCRIPT], capture_output=True, text=True, check=True, timeout=120
    )
    assert 16 * 1024 <= int(done.stdout) < 128 * 1024


LAYERS = {
    "s4": lambda: S4(S4Config(width=4, order=4)),
    "s4d": lambda: S4D(S4DConfig(width=4, order=4)),
    "s5": lambda: S5(S5Config(width=4, order=4)),
    "s4 frozen": lambda: S4(S4Config(width=4, order=4)).frozen(),
    "s4d frozen": lambda: S4D(S4DConfig(width=4, order=4)).frozen(),
    "s5 frozen": lambda: S5(S5Config(width=4, order=4)).frozen(),
    "mamba": lambda: Mamba(MambaConfig(width=4)),
    "mamba2": lambda: Mamba2(Mamba2Config(width=4, head_width=4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_mixed_devices_are_refused(name):
    layer = LAYERS[name]()
    with torch.no_grad():
        for run, shape in ((layer.scan, (1, 5, 4)), (layer.step, (1, 4))):
            with pytest.raises(InputError, match="on meta"):
                run(torch.zeros(shape, device="meta"), layer.init(1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_a_number_stays_in_its_row(name, bad):
    layer, x_BTD = LAYERS[name](), torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(0))
    spoilt_BTD = x_BTD.clone()
    spoilt_BTD[0, 10, 1] = bad
    with torch.no_grad():
        clean, _ = layer.scan(x_BTD, layer.init(2))
        whole, _ = layer.scan(spoilt_BTD, layer.init(2))
        steps, _ = scan_by_steps(layer, spoilt_BTD, layer.init(2))
    for got in (whole, steps):
        torch.testing.assert_close(got[1], clean[1], rtol=1e-4, atol=1e-5)
        assert not torch.isfinite(got[0, 10:]).all()
    assert torch.isfinite(steps[0, :10]).all()


@pytest.mark.parametrize("name", LAYERS)
def test_no_steps_are_no_change(name):
    layer = LAYERS[name]()
    start = layer.init(2)
    with torch.no_grad():
        _, state = layer.scan(torch.ones(2, 3, 4), start)
        y_BTD, after = layer.scan(torch.ones(2, 0, 4), state)
    assert y_BTD.shape == (2, 0, 4)
    for leaf in state.__slots__:
        assert torch.equal(getattr(after, leaf), getattr(state, leaf))


def test_the_kernel_of_s4_in_single_precision_is_that_of_the_dense_matrix():
    layer = S4(S4Config(width=2, order=64, steps=(1e-3, 0.1)), generator=torch.Generator().manual_seed(0))
    c_DM = torch.view_as_complex(layer.c_DM2.detach().double()).numpy()
    v_NM, legs = spectrum("legs", 64).v_NM, transition("legs", 64)
    with torch.no_grad():
        got_DT = layer.kernel(300)
    assert got_DT.dtype == torch.float32
    for channel, log_step in enumerate(layer.log_step_D.double().tolist()):
        dense = discretise_dense(legs, math.exp(log_step), "bilinear")
        read_N, x_N, expected = 2 * (c_DM[channel] @ v_NM.conj().T).real, dense.b_N, []
        for _ in range(300):
            expected.append(read_N @ x_N)
            x_N = dense.a_NN @ x_N
        error = np.abs(got_DT[channel].numpy() - expected).max()
        assert error <= 2e-6 * np.abs(expected).max()


def test_tones_ring_the_diagonal_system_and_not_the_perturbed_one():
    # Section 5 of the robustness paper without training: state 0 of `legs`, asked with tones, in the time domain.
    order, step, length = 16, 5e-3, 12_000
    spike = spike_of_legs(order, step, "zoh").angle
    read_N = np.eye(order)[0]
    half, legs = spectrum("legs", order), transition("legs", order)
    systems = {"s4d": (half.eigenvalues_M, half.b_M / 2, half.v_NM[0])}
    for method in ("optimised", "random"):
        systems[method] = perturbed_legs(order, method).modes(legs.b_N, read_N)
    dense = discretise_dense(legs, step, "zoh")
    tones = np.array([0.3 * spike, 0.6 * spike, spike, 1.5 * spike])
    turns_FT = np.exp(-1j * tones[:, None] * np.arange(length))
    x_N, heard = dense.b_N, []
    for _ in range(length):
        heard.append(x_N[0])
        x_N = dense.a_NN @ x_N
    exact_F = np.abs(turns_FT @ np.array(heard))
    error = {}
    for name, (a_M, b_M, c_M) in systems.items():
        turn_M, entered_M = discrete_modes(a_M, b_M, step, "zoh")
        weights = torch.from_numpy(c_M * entered_M)[None]
        kernel_T = unroll_powers(weights, torch.from_numpy(turn_M)[None], length)[0].numpy()
        error[name] = np.abs(np.abs(turns_FT @ kernel_T) - exact_F)
    assert exact_F[2] < 0.05
    assert error["s4d"][2] > 0.5 > 20 * max(error["optimised"][2], error["random"][2])
    assert error["s4d"][2] > 5 * error["s4d"][[0, 1, 3]].max()  # a notch, not a general error

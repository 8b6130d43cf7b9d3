"""S5: against dense real systems, the peer's arithmetic, rates, precision and bad input."""

import math

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import InputError
from fullduplex.nn.stream import scan_by_steps
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.ptd.start import perturbed_legs
from fullduplex.ssm.s5 import S5, S5Config

STARTS = ("legs", "ptd", "ptd-random")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layer(**options):
    return S5(S5Config(**{"width": 3, "order": 16, **options}), generator=seeded())


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(1), dtype=dtype)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)], ids=["fp32", "fp64"])
def test_scan_is_recurrence(start, rule, dtype, tolerance):
    model = layer(start=start, rule=rule, blocks=2).to(dtype)
    for num_steps in (1, 2, 131):
        x = noise(2, num_steps, 3, dtype=dtype)
        with torch.no_grad():
            y, end = model.scan(x, model.init(2))
            stepped, end_stepped = scan_by_steps(model, x, model.init(2))
        assert (y - stepped).abs().max().item() <= tolerance * max(y.abs().max().item(), 1.0)
        assert (end.h_BM2 - end_stepped.h_BM2).abs().max().item() <= tolerance * max(end.h_BM2.abs().max().item(), 1.0)


@pytest.mark.parametrize("check", CHECKS)
def test_a_frozen_layer_keeps_the_streaming_contract(check, tmp_path):
    CHECKS[check](layer(width=6).double().frozen(), noise(3, 37, 6, dtype=torch.float64), tmp_path)


def test_a_frozen_layer_is_the_layer_as_it_was():
    model, x = layer(), noise(2, 20, 3)
    frozen = model.frozen()
    with torch.no_grad():
        expected = model.scan(x, model.init(2))[0]
        for parameter in model.parameters():
            parameter.add_(1)
        assert torch.equal(frozen.scan(x, frozen.init(2))[0], expected)
        assert not torch.equal(model.scan(x, model.init(2))[0], expected)
    with pytest.raises(InputError, match="FrozenS5"):
        frozen.step(noise(2, 4), frozen.init(2))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("blocks", [1, 2])
def test_it_is_a_real_system_seen_from_its_eigenvectors(start, blocks):
    # A dense oracle: J blocks of the matrix, real B and C, zero-order hold with the same step everywhere.
    step, size = 0.03, 16 // blocks
    model = layer(start=start, blocks=blocks, steps=(step, step), output="truncated").double()
    block = transition("legs", size).a_NN
    if start == "legs":
        p_N = np.sqrt(np.arange(size) + 0.5)
        block = block + np.outer(p_N, p_N)
    else:
        block = block + perturbed_legs(size, "optimised" if start == "ptd" else "random").e_NN
    a_NN = np.kron(np.eye(blocks), block)
    draws = seeded()  # the layer's own draws, in its order
    b_ND = (torch.randn(blocks, size, 3, generator=draws, dtype=torch.float64) / math.sqrt(3)).flatten(0, 1).numpy()
    torch.empty(model.log_step_M.shape[0]).uniform_(-1, 0, generator=draws)
    drawn = torch.empty(3, blocks, size, dtype=torch.float64)
    torch.nn.init.trunc_normal_(drawn, a=-2.0, b=2.0, generator=draws)
    c_DN = drawn.flatten(1).numpy()
    turn = torch.linalg.matrix_exp(torch.from_numpy(a_NN * model.log_step_M[0].exp().item())).numpy()
    entered = np.linalg.solve(a_NN, (turn - np.eye(16)) @ b_ND)
    kernel, x = model.kernel(40).detach().numpy(), entered
    for tap in kernel:
        np.testing.assert_allclose(tap, c_DN @ x, rtol=0, atol=2e-4)  # the parameters are rounded to float32
        x = turn @ x


def test_kernel_is_the_response_to_one_unit():
    model = layer(blocks=2).double()
    with torch.no_grad():
        kernel = model.kernel(30)
        for channel in range(3):
            impulse = torch.zeros(1, 30, 3, dtype=torch.float64)
            impulse[:, 0, channel] = 1
            y, _ = model.scan(impulse, model.init(1))
            expected = kernel[:, :, channel].clone()
            expected[0, channel] += model.skip_D[channel]
            torch.testing.assert_close(y[0], expected, rtol=0, atol=1e-12)


def test_blocks_are_copies_of_one_spectrum():
    model = layer(blocks=4)
    expected = np.tile(spectrum("legs", 4).eigenvalues_M.imag, 4)
    np.testing.assert_allclose(model.turn_M.detach().numpy(), expected, rtol=1e-6)
    assert model.log_step_M.shape == model.turn_M.shape == (8,)
    assert model.b_MD2.shape == (8, 3, 2)


def test_half_the_sample_rate_needs_no_training():
    # An input that holds still for two samples is the same function of time as its half; zoh is exact for both.
    model = layer(blocks=2).double()
    slow = noise(1, 60, 3, dtype=torch.float64)
    with torch.no_grad():
        y, end = model.scan(slow.repeat_interleave(2, dim=1), model.init(1))
        halved, halved_end = model.at_rate(2).scan(slow, model.init(1))
    torch.testing.assert_close(halved, y[:, 1::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(halved_end.h_BM2, end.h_BM2, rtol=0, atol=1e-12)


def test_clipping_keeps_it_from_growing():
    model = layer()
    with torch.no_grad():
        model.decay_M.fill_(3.0)
        assert model.discrete().a_M.abs().max().item() < 1
        assert layer(clip=False).discrete().a_M.abs().max().item() < 1
    free = layer(clip=False)
    with torch.no_grad():
        free.decay_M.fill_(3.0)
        assert free.discrete().a_M.abs().max().item() > 1


@pytest.mark.parametrize("output", ["truncated", "lecun", "complex"])
def test_outputs_start_at_their_size(output):
    model = S5(S5Config(width=200, order=64, output=output), generator=seeded())
    power = model.c_DM2.square().sum(-1).mean().item()  # of one complex entry
    # A unit eigenvector keeps the variance of a real draw; cut at two standard deviations it is 0.774.
    expected = {"truncated": 0.774, "lecun": 1 / 64, "complex": 1.0}[output]
    assert power == pytest.approx(expected, rel=0.05)


def test_half_precision_leaves_the_modes_alone():
    model, x = layer(), noise(2, 30, 3)
    with torch.no_grad():
        expected, _ = model.scan(x, model.init(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast, _ = model.scan(x, model.init(2))
            stepped, _ = model.step(x[:, 0], model.init(2))
        model.to(torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        cast, _ = model.scan(x, model.init(2))
    assert torch.equal(under_autocast, expected)
    assert torch.equal(cast, expected)
    torch.testing.assert_close(stepped, expected[:, 0], rtol=0, atol=1e-5)


def test_a_saved_layer_has_no_length_in_it():
    model, other = layer(), S5(S5Config(width=3, order=16), generator=seeded(7))
    with torch.no_grad():
        model.scan(noise(1, 100, 3), model.init(1))
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.kernel(33), model.kernel(33))
    assert len(model.slow_parameters()) == 4


@pytest.mark.parametrize(
    "bad",
    [
        lambda: layer(order=0),
        lambda: layer(order=15),
        lambda: layer(order=16, blocks=3),
        lambda: layer(blocks=0),
        lambda: layer(width=0),
        lambda: layer(start="lin"),
        lambda: layer(rule="euler"),
        lambda: layer(decay="abs"),
        lambda: layer(output="zero"),
        lambda: layer(steps=(0.0, 0.1)),
        lambda: layer(steps=(0.1, math.nan)),
        lambda: layer().at_rate(-1),
        lambda: layer().scan(noise(2, 5, 4), layer().init(2)),
        lambda: layer().scan(noise(2, 5, 3), layer().init(1)),
        lambda: layer().step(noise(2, 5, 3), layer().init(2)),
        lambda: layer().scan(torch.ones(2, 5, 3, dtype=torch.int64), layer().init(2)),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

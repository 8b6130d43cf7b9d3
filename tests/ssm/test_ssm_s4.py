"""S4: any rank against dense algebra, the kernel against the recurrence, lengths, rates, precision and bad input."""

import math

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.streaming import CHECKS
from fullduplex.base.errors import InputError
from fullduplex.nn.stream import scan_by_steps
from fullduplex.ssm.dplr.convolution import response, response_ref
from fullduplex.ssm.dplr.start import dplr_start
from fullduplex.ssm.dplr.system import Dplr, dense_step, one_step
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.lowrank import LowRankMemory
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.hippo.timescale import Timescale
from fullduplex.ssm.s4 import S4, S4Config

KINDS = (("legs",), ("legt",), ("fout",), ("lagt",), ("legs", "fout"), ("legt", "legs"))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layer(**options):
    return S4(S4Config(**{"width": 4, "order": 8, **options}), generator=seeded())


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(1), dtype=dtype)


def exact(kind, order, step, c_M, **options):
    """A system in double precision throughout; of one channel."""
    start = dplr_start([kind], 1, order, **{"slowest": 0.0, **options})
    numbers = [torch.from_numpy(each) for each in (start.lambda_DM, start.p_DMR, start.b_DM)]
    return Dplr(*numbers, torch.from_numpy(c_M)[None], torch.tensor([step], dtype=torch.float64))


@pytest.mark.parametrize("kind", ["legs", "legt", "lagt", "fout"])
@pytest.mark.parametrize("order", [4, 64])
@pytest.mark.parametrize("num_steps", [1, 2, 255, 256])
def test_the_kernel_is_that_of_the_dense_matrix(kind, order, num_steps):
    # Rank 1 and rank 2, odd and even lengths (an even one has a node at z = -1).
    draw = np.random.default_rng(0)
    c_M = draw.standard_normal(order // 2) + 1j * draw.standard_normal(order // 2)
    system = exact(kind, order, 0.01, c_M)
    got = response(system, one_step(system), num_steps)[0].numpy()
    read_N = 2 * (c_M @ spectrum(kind, order).v_NM.conj().T).real
    dense = discretise_dense(transition(kind, order), 0.01, "bilinear")
    x, expected = dense.b_N, []
    for _ in range(num_steps):
        expected.append(read_N @ x)
        x = dense.a_NN @ x
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["legt", "fout"])
def test_a_layer_of_a_window_forgets_a_ten_thousandth(kind):
    # The modes of a window do not fade; a parameter needs a real part below zero, -1e-4.
    kernels = []
    for slowest in (0.0, -1e-4):
        system = exact(kind, 32, 0.01, np.ones(16, dtype=complex), slowest=slowest)
        kernels.append(response(system, one_step(system), 100))
    assert 0 < (kernels[0] - kernels[1]).abs().max() < 2e-4 * kernels[0].abs().max()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 100, 129])
def test_the_kernel_is_the_recurrence(kinds, num_steps):
    system = layer(kinds=kinds, order=16).system()
    numbers = one_step(system)
    got, expected = response(system, numbers, num_steps), response_ref(numbers, num_steps)
    assert got.shape == (4, num_steps)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kinds", [("legs",), ("legt",)])
def test_gradients_of_the_kernel_are_those_of_the_recurrence(kinds):
    model = layer(kinds=kinds).double()
    weights = noise(4, 20, dtype=torch.float64)

    def gradients(kernel):
        return torch.autograd.grad((kernel * weights).sum(), [p for p in model.parameters() if p is not model.skip_D])

    system = model.system()
    numbers = one_step(system)
    for got, expected in zip(
        gradients(response(system, numbers, 20)), gradients(response_ref(one_step(model.system()), 20)), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)], ids=["fp32", "fp64"])
def test_convolution_is_recurrence(kinds, dtype, tolerance):
    model = layer(kinds=kinds, order=16).to(dtype)
    for num_steps in (1, 2, 7, 130):
        x = noise(2, num_steps, 4, dtype=dtype)
        with torch.no_grad():
            y, end = model.scan(x, model.init(2))
            stepped, end_stepped = scan_by_steps(model, x, model.init(2))
        assert (y - stepped).abs().max().item() <= tolerance * max(y.abs().max().item(), 1.0)
        state_scale = max(end.h_BDM2.abs().max().item(), 1.0)
        assert (end.h_BDM2 - end_stepped.h_BDM2).abs().max().item() <= tolerance * state_scale


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_any_cutting_gives_the_same(cuts, seed):
    model = layer(kinds=("legs", "legt")).double()
    x = torch.randn(1, sum(cuts), 4, generator=seeded(seed), dtype=torch.float64)
    with torch.no_grad():
        whole, end = model.scan(x, model.init(1))
        state, pieces = model.init(1), []
        for piece in x.split(cuts, dim=1):
            y, state = model.scan(piece, state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.h_BDM2, end.h_BDM2, rtol=0, atol=1e-12)


def test_an_online_memory_in_o_of_n_is_the_layer():
    # The NumPy memory of the HiPPO room takes the same steps.
    memory = LowRankMemory(Timescale(kind="legs", step=0.02), 8)
    system = exact("legs", 8, 0.02, np.ones(4, dtype=complex))
    numbers, z = one_step(system), memory.init()
    h = torch.zeros(4, dtype=torch.complex128)
    for sample in noise(30).double():
        z = memory.step(float(sample), z)
        fed = (numbers.w_DRM[0] @ h).real
        h = numbers.a_DM[0] * h + numbers.b_DM[0] * sample - numbers.u_DMR[0] @ fed.to(h.dtype)
    np.testing.assert_allclose(h.numpy(), z, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kinds", KINDS)
def test_no_step_lengthens_a_state(kinds):
    model = layer(kinds=kinds, order=32)
    with torch.no_grad():
        for parameter in model.slow_parameters():
            parameter.add_(noise(*parameter.shape))  # whatever learning does
        # The norm of N conjugate modes is that of the real numbers.
        assert torch.linalg.matrix_norm(dense_step(one_step(model.system())), 2).max().item() <= 1 + 1e-12


def test_the_length_leaves_no_trace():
    model, other = layer(), S4(S4Config(width=4, order=8), generator=seeded(7))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model.scan(noise(1, 100, 4), model.init(1))
        model.kernel(1000)
        other.scan(noise(1, 7, 4), other.init(1))
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])
        assert {tuple(value.shape) for value in before.values()} == {(4,), (4, 4), (4, 4, 2), (4, 4, 1, 2)}
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.kernel(333), model.kernel(333))
        torch.testing.assert_close(other.kernel(333)[:, :50], model.kernel(50), rtol=0, atol=1e-5)


@pytest.mark.parametrize("check", CHECKS)
def test_a_frozen_layer_keeps_the_streaming_contract(check, tmp_path):
    CHECKS[check](layer(width=6).double().frozen(), noise(3, 37, 6, dtype=torch.float64), tmp_path)


def test_a_frozen_layer_is_the_layer_as_it_was():
    model, x = layer(), noise(2, 20, 4)
    frozen = model.frozen()
    with torch.no_grad():
        expected = model.scan(x, model.init(2))[0]
        for parameter in model.parameters():
            parameter.add_(1)
        assert torch.equal(frozen.scan(x, frozen.init(2))[0], expected)


def test_half_the_sample_rate_keeps_the_memory():
    # The bilinear rule is exact only as steps get short; a slow input at half the rate hears nearly the same.
    model = layer(order=8, steps=(1e-3, 1e-2)).double()
    fast = torch.sin(torch.arange(800, dtype=torch.float64) / 40)[None, :, None].expand(1, 800, 4)
    with torch.no_grad():
        whole, _ = model.scan(fast, model.init(1))
        halved, _ = model.at_rate(2).scan(fast[:, ::2], model.init(1))
    assert (halved - whole[:, ::2]).abs().max() < 0.05 * whole.abs().max()
    assert model.at_rate(2).log_step_D is model.log_step_D


def test_half_precision_leaves_the_modes_alone():
    model, x = layer(), noise(2, 30, 4)
    with torch.no_grad():
        expected, _ = model.scan(x, model.init(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast, _ = model.scan(x, model.init(2))
        model.to(torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        cast, _ = model.scan(x, model.init(2))
    assert torch.equal(under_autocast, expected)
    assert torch.equal(cast, expected)


def test_a_mixture_gives_each_family_its_channels():
    model, legs, fout = (layer(kinds=kinds) for kinds in (("legs", "fout"), ("legs",), ("fout",)))
    assert torch.equal(model.turn_DM[:2], legs.turn_DM[:2])
    assert torch.equal(model.turn_DM[2:], fout.turn_DM[2:])
    assert layer(kinds=("legs", "legt")).p_DMR2.shape[2] == 2


def test_what_learns():
    assert len(layer().slow_parameters()) == 5
    assert len(layer(train_input=False).slow_parameters()) == 4


@pytest.mark.parametrize(
    "bad",
    [
        lambda: layer(kinds=("legt",), rank=1),
        lambda: layer(kinds=("legs",), rank=0),
        lambda: layer(kinds=("lmu",)),
        lambda: layer(kinds=("legz",)),
        lambda: layer(kinds=()),
        lambda: layer(kinds=("legs", "fout"), width=5),
        lambda: layer(width=0),
        lambda: layer(order=7),
        lambda: layer(order=0),
        lambda: layer(kinds=("fout",), order=1),
        lambda: layer(decay="abs"),
        lambda: layer(steps=(0.0, 0.1)),
        lambda: layer(steps=(0.1, math.nan)),
        lambda: layer().at_rate(0),
        lambda: layer().kernel(-1),
        lambda: layer().scan(noise(2, 5, 3), layer().init(2)),
        lambda: layer().scan(noise(2, 5, 4), layer().init(1)),
        lambda: layer().step(noise(2, 5, 4), layer().init(2)),
        lambda: layer().frozen().step(noise(2, 3), layer().init(2)),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

"""Mamba and Mamba-2 layers beyond the contract: starts, precisions, the one-call step, bad input."""

import math

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from contracts.streaming import CHECKS, NUM_ROWS, NUM_STEPS
from contracts.streams import STREAMS
from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import native
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig, MambaState
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2Config, Mamba2State
from fullduplex.nn.mamba.stepping import MOST_ROWS
from fullduplex.nn.prenorm import PreNorm
from fullduplex.nn.stream import scan_by_steps

MAKES = {
    "mamba": lambda g: Mamba(MambaConfig(width=32, order=16), generator=g),
    "mamba-odd": lambda g: Mamba(MambaConfig(width=7, expand=3, order=5, num_taps=3, bias=True), generator=g),
    "mamba2": lambda g: Mamba2(Mamba2Config(width=32, order=16, head_width=16), generator=g),
    "mamba2-odd": lambda g: Mamba2(
        Mamba2Config(width=10, expand=3, order=7, head_width=5, num_groups=3, num_taps=2, bias=True, conv_bias=False),
        generator=g,
    ),
}


@pytest.fixture(params=MAKES)
def layer(request):
    return MAKES[request.param](torch.Generator().manual_seed(0))


def noise(*shape, dtype=torch.float32, seed=1):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def width_of(layer):
    return layer.config.width


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", [case for case in STREAMS if "mamba" in case.name], ids=lambda case: case.name)
def test_the_contract_without_a_compiler(case, check, tmp_path, monkeypatch):
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    stream = case.make(torch.Generator().manual_seed(0)).double()
    CHECKS[check](stream, noise(NUM_ROWS, NUM_STEPS, case.width, dtype=torch.float64), tmp_path)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)], ids=str)
def test_the_one_call_step_equals_the_scan(layer, dtype, tolerance):
    if native() is None:
        pytest.skip("no C compiler here")
    layer = layer.to(dtype)
    for rows in (1, 3, MOST_ROWS, MOST_ROWS + 1):
        x = noise(rows, 20, width_of(layer), dtype=dtype)
        with torch.no_grad():
            whole, end = layer.scan(x, layer.init(rows))
            steps, last = scan_by_steps(layer, x, layer.init(rows))
        torch.testing.assert_close(steps, whole, rtol=tolerance, atol=tolerance)
        for got, wanted in zip(vars_of(last), vars_of(end), strict=True):
            torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def vars_of(state: MambaState | Mamba2State):
    return [getattr(state, name) for name in state.__slots__]


def test_threads_do_not_change_the_step(layer):
    x, before = noise(2, width_of(layer)), torch.get_num_threads()
    try:
        with torch.no_grad():
            torch.set_num_threads(1)
            one, _ = layer.step(x, layer.init(2))
            torch.set_num_threads(2)
            two, _ = layer.step(x, layer.init(2))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


def test_the_paths_agree_on_a_long_piece(layer, monkeypatch):
    if native() is None:
        pytest.skip("no C compiler here")
    x = noise(2, 300, width_of(layer), dtype=torch.float64)
    layer = layer.double()
    with torch.no_grad():
        compiled, _ = layer.scan(x, layer.init(2))
        monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
        plain, _ = layer.scan(x, layer.init(2))
    torch.testing.assert_close(compiled, plain, rtol=1e-11, atol=1e-11)


def test_mamba_starts_as_published():
    layer = Mamba(MambaConfig(width=64), generator=torch.Generator().manual_seed(0))
    # S4D-Real: A = -(n + 1), the same in every channel; skip of one; steps log-uniform in 1e-3 to 1e-1.
    torch.testing.assert_close(-layer.exact.log_rate.exp(), -torch.arange(1.0, 17).expand(128, 16))
    assert torch.equal(layer.exact.skip, torch.ones(128))
    steps = functional.softplus(layer.exact.bias)
    assert 1e-3 * 0.999 <= steps.min() < 3e-3 and 3e-2 < steps.max() <= 1e-1 * 1.001
    assert layer.config.rank == 4 and layer.dt_weight_ER.abs().max() <= 4**-0.5
    assert MambaConfig(width=65).rank == 5


def test_mamba2_starts_as_published():
    layer = Mamba2(Mamba2Config(width=512), generator=torch.Generator().manual_seed(0))
    assert (layer.config.num_heads, layer.config.conv_width) == (16, 1024 + 256)
    rates = layer.exact.log_rate.exp()
    assert 1 <= rates.min() < 4 and 12 < rates.max() <= 16
    assert layer.in_proj.weight.shape == (2 * 1024 + 2 * 128 + 16, 512)


def test_steps_never_start_below_the_floor():
    start = StepStart(shortest=1e-6, longest=1e-5, floor=1e-4)
    layer = Mamba(MambaConfig(width=16, step_start=start))
    torch.testing.assert_close(functional.softplus(layer.exact.bias.double()).float(), torch.full((32,), 1e-4))


def test_the_step_limit_holds():
    # A limit of one value fixes every step: then the state fades as exp(-rate * step) whatever the input says.
    config = Mamba2Config(width=8, order=4, head_width=4, step_limit=(0.0199999, 0.02))
    layer = Mamba2(config, generator=torch.Generator().manual_seed(0)).double()
    full = layer.init(1)
    state = Mamba2State(full.past_BSC, torch.ones_like(full.h_BHPN))
    with torch.no_grad():
        zeros = torch.zeros(1, 1, 8, dtype=torch.float64)
        layer.conv_bias_C.zero_()
        _, after = layer.scan(zeros, state)
        _, stepped = layer.step(zeros[:, 0], state)
    expected = torch.exp(-layer.exact.log_rate.exp() * 0.02)[None, :, None, None].expand(1, 4, 4, 4)
    torch.testing.assert_close(after.h_BHPN, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(stepped.h_BHPN, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_leaves_the_recurrence_alone(layer, dtype):
    x = noise(2, 50, width_of(layer))
    with torch.no_grad():
        exact, _ = layer.scan(x, layer.init(2))
        before = layer.exact.log_rate.clone()
        half = layer.to(dtype)
        assert torch.equal(half.exact.log_rate, before) and half.in_proj.weight.dtype is dtype
        y, state = half.scan(x.to(dtype), half.init(2))
        stepped, _ = half.step(x[:, 0].to(dtype), half.init(2))
    assert all(leaf.dtype is torch.float32 for leaf in vars_of(state))
    assert y.dtype is dtype and torch.isfinite(y).all()
    torch.testing.assert_close(y.float(), exact, rtol=0.1, atol=0.05)
    torch.testing.assert_close(stepped.float(), y[:, 0].float(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("setting", ["on", "off"])
def test_autocast_trains(layer, setting, monkeypatch):
    monkeypatch.setenv("FULLDUPLEX_NATIVE", setting)
    x = noise(2, 40, width_of(layer))
    exact, _ = layer.scan(x, layer.init(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer.scan(x, layer.init(2))
    assert all(leaf.dtype is torch.float32 for leaf in vars_of(state))
    torch.testing.assert_close(y.float(), exact, rtol=0.1, atol=0.05)
    y.float().square().mean().backward()
    assert all(torch.isfinite(each.grad).all() for each in layer.parameters())


def test_what_must_not_decay(layer):
    names = {
        name for name, each in layer.named_parameters() if any(each is other for other in layer.undecayed_parameters())
    }
    assert names == {"exact.log_rate", "exact.skip", "exact.bias"}


def test_a_block_is_a_residual_around_a_norm():
    block = PreNorm(Mamba(MambaConfig(width=8), generator=torch.Generator().manual_seed(0)), 8)
    x = noise(1, 5, 8)
    y, _ = block.scan(x, block.init(1))
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(y, x + block.inner.scan(normed, block.init(1))[0])
    half = block.to(torch.bfloat16)
    assert half.scan(x, half.init(1))[0].dtype is torch.float32, "the residual keeps its precision"


def test_an_empty_batch(layer):
    with torch.no_grad():
        y, _ = layer.step(torch.zeros(0, width_of(layer)), layer.init(0))
        z, _ = layer.scan(torch.zeros(0, 5, width_of(layer)), layer.init(0))
    assert y.shape == (0, width_of(layer)) and z.shape == (0, 5, width_of(layer))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MambaConfig(width=0),
        lambda: MambaConfig(width=8, order=0),
        lambda: MambaConfig(width=8, num_taps=0),
        lambda: MambaConfig(width=8, num_taps=17),
        lambda: MambaConfig(width=8, step_rank=0),
        lambda: Mamba2Config(width=0),
        lambda: Mamba2Config(width=8, head_width=5),
        lambda: Mamba2Config(width=8, head_width=4, num_groups=3),
        lambda: Mamba2Config(width=8, head_width=4, chunk_steps=0),
        lambda: Mamba2Config(width=8, head_width=4, step_limit=(0.5, 0.1)),
        lambda: Mamba2Config(width=8, head_width=4, step_limit=(-1.0, 1.0)),
        lambda: Mamba2Config(width=8, head_width=4, step_limit=(0.0, math.nan)),
        lambda: StepStart(shortest=0.0),
        lambda: StepStart(shortest=0.2, longest=0.1),
        lambda: StepStart(floor=0.0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(InputError, match="got"):
        make()


def test_wrong_inputs_are_refused(layer):
    width = width_of(layer)
    for x, state in (
        (torch.zeros(2, 5, width + 1), layer.init(2)),
        (torch.zeros(2, width), layer.init(2)),
        (torch.zeros(2, 5, width), layer.init(3)),
        (torch.zeros(2, 5, width, dtype=torch.int64), layer.init(2)),
    ):
        with pytest.raises(InputError):
            layer.scan(x, state)
    with pytest.raises(InputError):
        layer.step(torch.zeros(2, 5, width), layer.init(2))


def test_a_state_of_another_layer_is_refused_not_read(layer):
    width, rows = width_of(layer), layer.init(2)
    smaller = type(rows)(*(leaf[..., :-1].contiguous() for leaf in vars_of(rows)))
    block = PreNorm(layer, width)
    with torch.no_grad():
        for stream in (layer, block):
            for state in (smaller, layer.init(3)):
                with pytest.raises(InputError):
                    stream.step(torch.zeros(2, width), state)
            with pytest.raises(InputError):
                stream.step(torch.zeros(2, width + 1), rows)
    with torch.no_grad(), pytest.raises(InputError):
        PreNorm(layer, width + 1).step(torch.zeros(2, width + 1), rows)


def test_the_step_of_a_block_equals_its_scan(layer):
    block = PreNorm(layer, width_of(layer)).double()
    with torch.no_grad():
        block.norm.gain.copy_(noise(width_of(layer), dtype=torch.float64))
        for kind in (torch.float64, torch.float32):
            x = noise(2, 9, width_of(layer)).to(kind)
            whole, _ = block.scan(x, block.init(2))
            steps, _ = scan_by_steps(block, x, block.init(2))
            assert steps.dtype is kind
            torch.testing.assert_close(steps, whole, rtol=1e-6 if kind is torch.float32 else 1e-12, atol=1e-6)

"""What each layer computes, against closed forms and torch's own layers; the contract is tested elsewhere."""

import math

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.nn.attention import CausalAttention
from fullduplex.nn.compose import Chain, Residual
from fullduplex.nn.conv import CausalConv
from fullduplex.nn.diagonal import DiagonalRecurrence
from fullduplex.nn.linear import Linear
from fullduplex.nn.norm import RMSNorm
from fullduplex.nn.state import state_size_bytes

LAYERS = [Linear(4, 4), RMSNorm(4), CausalConv(4, 3), DiagonalRecurrence(4), CausalAttention(4, 2)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_norm_equals_the_library():
    x = torch.randn(2, 5, 4, generator=seeded())
    layer = RMSNorm(4)
    layer.gain.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    y, _ = layer.scan(x, layer.init(2))
    torch.testing.assert_close(y, functional.rms_norm(x, (4,), layer.gain, 1e-6), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_norm_of_silence_is_silence():
    layer = RMSNorm(4)
    assert torch.equal(layer.step(torch.zeros(1, 4), layer.init(1))[0], torch.zeros(1, 4))


@torch.no_grad()
def test_diagonal_impulse_response_is_the_closed_form():
    layer = DiagonalRecurrence(3, generator=seeded()).double()
    a = torch.exp(-torch.exp(layer.log_rate))
    x = torch.zeros(1, 50, 3, dtype=torch.float64)
    x[:, 0] = 1
    y, _ = layer.scan(x, layer.init(1))
    expected = torch.sqrt(1 - a**2) * a ** torch.arange(50)[:, None] + x[0]
    torch.testing.assert_close(y[0], expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_diagonal_memory_lasts_the_time_asked_for():
    layer = DiagonalRecurrence(2, time_steps=(20.0, 20.0)).double()
    x = torch.zeros(1, 21, 2, dtype=torch.float64)
    x[:, 0] = 1
    y = (layer.scan(x, layer.init(1))[0] - x)[0]
    torch.testing.assert_close(y[20] / y[0], torch.full((2,), math.exp(-1), dtype=torch.float64))


@pytest.mark.parametrize("log_rate", [-200.0, -40.0, 10.0, 200.0])
def test_diagonal_stays_finite_at_any_parameter(log_rate):
    layer = DiagonalRecurrence(2)
    with torch.no_grad():
        layer.log_rate.fill_(log_rate)
        y, state = layer.scan(torch.ones(1, 5000, 2), layer.init(1))
    assert torch.isfinite(y).all()
    assert state.h_BD.abs().max() <= 5000


@torch.no_grad()
@pytest.mark.parametrize("window_steps", [None, 1, 3])
def test_attention_equals_torch_multi_head_attention(window_steps):
    layer = CausalAttention(6, 2, window_steps=window_steps, generator=seeded()).double()
    peer = nn.MultiheadAttention(6, 2, bias=False, batch_first=True).double()
    peer.in_proj_weight.copy_(layer.project_in.weight)
    peer.out_proj.weight.copy_(layer.project_out.weight)
    x = torch.randn(2, 9, 6, dtype=torch.float64, generator=seeded(1))
    hidden = torch.ones(9, 9, dtype=torch.bool).triu(1)
    if window_steps is not None:
        hidden |= torch.ones(9, 9, dtype=torch.bool).tril(-window_steps)
    expected, _ = peer(x, x, x, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(layer.scan(x, layer.init(2))[0], expected, rtol=1e-12, atol=1e-12)


def test_attention_declares_its_growth():
    assert CausalAttention(4, 2).growth == "linear"
    assert CausalAttention(4, 2, window_steps=8).growth == "constant"


@torch.no_grad()
def test_attention_cache_costs_two_rows_a_step():
    layer = CausalAttention(8, 2)
    _, state = layer.scan(torch.zeros(3, 10, 8), layer.init(3))
    assert state_size_bytes(state) == 3 * (10 * 2 * 8 * 4 + 8)


@torch.no_grad()
def test_chain_is_its_layers_and_residual_adds():
    first, second = Linear(4, 5, generator=seeded()), Linear(5, 4, generator=seeded(1))
    both = Residual(Chain([first, second]))
    x = torch.randn(2, 3, 4, generator=seeded(2))
    y, _ = both.scan(x, both.init(2))
    torch.testing.assert_close(y, x + second.scan(first.scan(x, first.init(2))[0], second.init(2))[0])


def test_growth_of_a_chain_is_that_of_its_worst_layer():
    assert Chain([RMSNorm(4), Residual(CausalAttention(4, 2))]).growth == "linear"
    assert Chain([RMSNorm(4), DiagonalRecurrence(4)]).growth == "constant"


def test_a_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two = (CausalAttention(4, 2, generator=seeded(5)) for _ in range(2))
    assert torch.equal(one.project_in.weight, two.project_in.weight)
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_bfloat16_inputs_under_autocast_keep_the_state_wide(layer):
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer.scan(torch.ones(2, 5, 4, dtype=torch.bfloat16), layer.init(2))
        y_step, after = layer.step(torch.ones(2, 4, dtype=torch.bfloat16), state)
    assert torch.isfinite(y).all()
    assert torch.isfinite(y_step).all()
    assert state_size_bytes(after) == state_size_bytes(layer.scan(torch.ones(2, 6, 4), layer.init(2))[1])


@torch.no_grad()
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize(
    "x", [torch.ones(2, 5, 3), torch.ones(5, 4), torch.ones(2, 5, 4, dtype=torch.int64)], ids=["width", "rank", "int"]
)
def test_wrong_inputs_are_refused(layer, x):
    with pytest.raises(InputError, match=f"{type(layer).__name__} got"):
        layer.scan(x, layer.init(2))


@torch.no_grad()
@pytest.mark.parametrize("layer", LAYERS[2:], ids=lambda layer: type(layer).__name__)
def test_a_state_of_another_batch_is_refused(layer):
    with pytest.raises(InputError, match="3 rows and a state of 1"):
        layer.step(torch.ones(3, 4), layer.init(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CausalConv(4, 0),
        lambda: DiagonalRecurrence(4, time_steps=(0.0, 1.0)),
        lambda: DiagonalRecurrence(4, time_steps=(2.0, 1.0)),
        lambda: DiagonalRecurrence(4, time_steps=(1.0, math.nan)),
        lambda: CausalAttention(6, 4),
        lambda: CausalAttention(6, 0),
        lambda: CausalAttention(6, 2, window_steps=0),
        lambda: Chain([nn.ReLU()]),
    ],
)
def test_impossible_layers_are_refused(make):
    with pytest.raises(InputError, match="expected"):
        make()

"""The block around S4D. Its streaming contract is held by tests/contracts."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.nn.compose import Chain
from fullduplex.ssm.block import GatedBlock, GatedBlockConfig
from fullduplex.ssm.s4 import S4Config
from fullduplex.ssm.s4d import S4DConfig
from fullduplex.ssm.s5 import S5Config


def block(**options):
    generator = torch.Generator().manual_seed(0)
    return GatedBlock(GatedBlockConfig(layer=S4DConfig(width=6, order=8), **options), generator=generator)


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_by_the_formula():
    model, x = block(prenorm=False).double(), noise(2, 9, 6, dtype=torch.float64)
    heard, _ = model.layer.scan(x, model.layer.init(2))
    both = torch.nn.functional.gelu(heard) @ model.mix.weight.T + model.mix.bias
    mixed = both[..., :6] * torch.sigmoid(both[..., 6:])
    total = x + mixed
    centred = total - total.mean(-1, keepdim=True)
    expected = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(model.scan(x, model.init(2))[0], expected, rtol=0, atol=1e-12)


def test_dropout_leaves_out_a_channel_for_the_whole_piece_and_only_while_training():
    torch.manual_seed(0)
    model, x = block(dropout=0.5), noise(4, 20, 6)
    with torch.no_grad():
        added = model.scan(x, model.init(4))[0] - x
        left_out = (added.abs() < 1e-6).all(1)
        assert 4 <= left_out.sum() <= 20
        assert torch.equal(left_out, (added.abs() < 1e-6).any(1))
        model.eval()
        assert torch.equal(model.scan(x, model.init(4))[0], block().scan(x, model.init(4))[0])


def test_blocks_stack_and_survive_half_precision():
    model, x = Chain([block(), block(prenorm=False)]), noise(2, 12, 6)
    with torch.no_grad():
        expected, _ = model.scan(x, model.init(2))
        model.to(torch.bfloat16)
        rounded, _ = model.scan(x.bfloat16(), model.init(2))
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - expected).abs().max().item() < 0.1 * expected.abs().max().item()


def test_another_rate_shares_the_parameters_and_leaves_the_block_alone():
    model = block()
    half = model.at_rate(2)
    assert (model.layer.rate, half.layer.rate) == (1.0, 2.0)
    assert half.layer.log_step_D is model.layer.log_step_D
    assert half.mix is model.mix


@pytest.mark.parametrize("layer", [S4Config(width=6, order=8), S5Config(width=6, order=8)])
def test_half_a_gate_by_the_formula(layer):
    generator = torch.Generator().manual_seed(0)
    model = GatedBlock(GatedBlockConfig(layer=layer, gate="half"), generator=generator).double()
    x = noise(2, 9, 6, dtype=torch.float64)
    heard, _ = model.layer.scan(model.norm(x), model.layer.init(2))
    active = torch.nn.functional.gelu(heard)
    expected = x + active * torch.sigmoid(active @ model.mix.weight.T + model.mix.bias)
    torch.testing.assert_close(model.scan(x, model.init(2))[0], expected, rtol=0, atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="gate"):
        block(gate="none")
    with pytest.raises(InputError, match="dropout"):
        block(dropout=1.0)
    with pytest.raises(InputError):
        block().scan(noise(2, 5, 4), block().init(2))
    with pytest.raises(InputError):
        block().step(noise(3, 6), block().init(2))

"""The one-call step of a language model against its own way, block after block; and that it sees every change."""

import copy
import pickle
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import native
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2Config
from fullduplex.nn.mamba.stepping import MOST_ROWS
from fullduplex.nn.state import Stateless, leaves
from fullduplex.ssm.language import LanguageModel
from fullduplex.ssm.pretrained import new_mamba

MAKES = {
    "mamba": MambaConfig(width=32, order=16),
    "mamba-odd": MambaConfig(width=7, expand=3, order=5, num_taps=3, bias=True),
    "mamba2": Mamba2Config(width=32, order=16, head_width=16),
    "mamba2-odd": Mamba2Config(
        width=10, expand=3, order=7, head_width=5, num_groups=3, num_taps=1, bias=True, conv_bias=False,
        step_limit=(0.01, 0.2),
    ),
}  # fmt: skip


def generator():
    return torch.Generator().manual_seed(0)


def make(name, **settings) -> Any:
    model = new_mamba(Checkpoint(layer=MAKES[name], num_layers=3, vocabulary=13, **settings), generator=generator())
    with torch.no_grad():
        for parameter in model.parameters():  # gains of one and biases of zero would hide mistakes
            parameter.add_(torch.randn(parameter.shape, generator=generator()), alpha=0.05)
    return model.eval()


@pytest.fixture(params=sorted(MAKES))
def name(request):
    if native() is None:
        pytest.skip("no C compiler here")
    return request.param


def slow(model: LanguageModel, ids_B, state):
    """The twin."""
    x_BD, after = model.layers.step(model.embedding_VD[ids_B], state)
    head_VD = model.embedding_VD if model.head_VD is None else model.head_VD
    return model.norm.step(x_BD, Stateless())[0] @ head_VD.T, after


def assert_same(model, rows=1, tolerance=1e-5):
    ids = torch.randint(0, 13, (rows, 6), generator=generator())
    state = model.init(rows)
    for ids_B in ids.unbind(1):
        before = [leaf.clone() for _, leaf in leaves(state)]
        wanted, after = slow(model, ids_B, state)
        got, state_after = model.step(ids_B, state)
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
        for (_, mine), (_, theirs) in zip(leaves(state_after), leaves(after), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
        assert all(torch.equal(leaf, old) for (_, leaf), old in zip(leaves(state), before, strict=True))
        state = state_after


def taken(model):
    """Whether the next step is one call."""
    return model._whole.run(
        model, model.layers.layers, model._ends(), torch.zeros(1, dtype=torch.int64), model.init(1).layers
    )


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)], ids=str)
def test_equals_block_after_block(name, tied, dtype, tolerance):
    model = make(name, tied=tied).to(dtype)
    assert taken(model) is not None
    for rows in (1, 3, MOST_ROWS, MOST_ROWS + 1):
        assert_same(model, rows, tolerance)


@torch.no_grad()
def test_every_change_of_a_weight_is_seen(name):
    model = make(name)
    assert_same(model)
    for _, parameter in model.named_parameters():
        parameter.mul_(1.01)  # in place
        assert_same(model)
    for parameter in model.parameters():
        parameter.data = parameter.data * 1.01  # elsewhere
    assert_same(model)
    inner = model.layers.layers[1].inner
    inner.out_proj.weight = torch.nn.Parameter(inner.out_proj.weight * 2)
    assert_same(model)
    inner.in_proj = Linear(inner.config.width, inner.in_proj.weight.shape[0], generator=generator())
    assert_same(model)
    model.layers.layers[0] = copy.deepcopy(model.layers.layers[2])
    assert_same(model)
    model.load_state_dict({key: value * 0.9 for key, value in model.state_dict().items()})
    assert_same(model)
    assert_same(model.double(), tolerance=1e-13)
    assert_same(model.float())
    assert taken(model) is not None


@torch.no_grad()
def test_copies_start_without_addresses(name):
    model = make(name)
    assert_same(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for parameter in other.parameters():
            parameter.mul_(0.5)
        assert other._whole._plan is None
        assert_same(other)
    assert_same(model)


@torch.no_grad()
def test_what_one_call_may_not_do_goes_the_other_way(name, monkeypatch):
    model = make(name)
    x = torch.zeros(1, dtype=torch.int64)
    with torch.enable_grad():
        assert taken(model) is None
        assert model.step(x, model.init(1))[0].requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert taken(model) is None
    assert taken(model) is not None
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    assert taken(model) is None
    monkeypatch.undo()
    model.layers.layers[1].norm.epsilon = 0.5
    assert taken(model) is None
    half = make(name).to(torch.bfloat16)
    assert taken(half) is None
    assert half.step(x, half.init(1))[0].dtype is torch.float32


@torch.no_grad()
def test_bad_tokens_and_states_are_refused_not_read(name):
    model, other = make(name), make("mamba" if "mamba2" in name else "mamba2")
    state = model.init(1)
    model.step(torch.zeros(1, dtype=torch.int64), state)
    for token in (-1, 13):
        with pytest.raises(InputError, match="expected 0 to 12"):
            model.step(torch.tensor([token]), state)
    with pytest.raises(InputError):
        model.step(torch.zeros(1, dtype=torch.int64), model.init(2))
    with pytest.raises((InputError, AttributeError)):
        model.step(torch.zeros(1, dtype=torch.int64), other.init(1))

"""Language models of streams: the contract over tokens, writing on, learning, bad input."""

import pytest

pytest.importorskip("torch")

import torch

from fullduplex.base.errors import InputError
from fullduplex.nn.attention import CausalAttention
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2Config
from fullduplex.nn.state import leaves
from fullduplex.ssm.language import LanguageModel, continue_text, next_token_loss
from fullduplex.ssm.pretrained import new_mamba
from fullduplex.ssm.s4d import S4D, S4DConfig

LAYERS = {"mamba": MambaConfig(width=16, order=4), "mamba2": Mamba2Config(width=16, order=8, head_width=8)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(name, **settings):
    g = generator()
    if name in LAYERS:
        return new_mamba(Checkpoint(layer=LAYERS[name], num_layers=2, vocabulary=11, **settings), generator=g)
    mixers = {
        "s4d": lambda: S4D(S4DConfig(width=16, order=8), generator=g),
        "attention": lambda: CausalAttention(16, 2, generator=g),
    }
    return LanguageModel([mixers[name]() for _ in range(2)], vocabulary=11, width=16, generator=g, **settings)


@pytest.fixture(params=["mamba", "mamba2", "s4d", "attention"])
def model(request):
    return make(request.param).double()


def tokens(*shape, seed=3):
    return torch.randint(0, 11, shape, generator=generator(seed))


def test_steps_and_chunks_are_the_whole(model):
    ids = tokens(2, 23)
    with torch.no_grad():
        whole, end = model.scan(ids, model.init(2))
        for cut in ([0, 5, 1, 17], [1] * 23):
            state, pieces = model.init(2), []
            for piece in ids.split(cut, dim=1):
                logits, state = model.scan(piece, state)
                pieces.append(logits)
            torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-10, atol=1e-11)
        state, pieces = model.init(2), []
        for ids_B in ids.unbind(1):
            logits, state = model.step(ids_B, state)
            pieces.append(logits)
        torch.testing.assert_close(torch.stack(pieces, dim=1), whole, rtol=1e-10, atol=1e-11)
        last, prefilled = model.prefill(ids, model.init(2))
    torch.testing.assert_close(last, whole[:, -1], rtol=1e-12, atol=1e-12)
    for (_, one), (_, other) in zip(leaves(prefilled), leaves(end), strict=True):
        torch.testing.assert_close(one, other)


def test_the_future_does_not_matter(model):
    ids = tokens(1, 20)
    other = ids.clone()
    other[:, 12:] = (other[:, 12:] + 1) % 11
    with torch.no_grad():
        one, two = (model.scan(each, model.init(1))[0] for each in (ids, other))
    torch.testing.assert_close(one[:, :12], two[:, :12], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(one[:, 12], two[:, 12])


def test_greedy_writing_is_the_likeliest_of_the_whole(model):
    ids = tokens(2, 5)
    written, state = continue_text(model, ids, 6)
    with torch.no_grad():
        logits, end = model.scan(torch.cat([ids, written[:, :-1]], dim=1), model.init(2))
    assert torch.equal(logits[:, 4:].argmax(-1), written)
    for (_, one), (_, other) in zip(leaves(state), leaves(end), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_drawing_follows_the_seed_and_the_temperature(model):
    ids = tokens(1, 4)
    one, two = (continue_text(model, ids, 30, temperature=1.0, generator=generator(7))[0] for _ in range(2))
    assert torch.equal(one, two)
    other, _ = continue_text(model, ids, 30, temperature=1.0, generator=generator(8))
    assert not torch.equal(one, other)
    cold, _ = continue_text(model, ids, 8, temperature=1e-6, generator=generator(7))
    assert torch.equal(cold, continue_text(model, ids, 8)[0])
    assert continue_text(model, ids, 0)[0].shape == (1, 0)


def test_tied_and_untied_heads():
    tied, untied = make("mamba"), make("mamba", tied=False)
    assert tied.head_VD is None and untied.head_VD is not None
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 11 * 16


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_it_learns_to_copy(name):
    # Tokens that repeat with period 4: a model that remembers loses nothing after the first period.
    torch.manual_seed(0)
    model = make(name)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    draws = generator(1)
    for _ in range(60):
        ids = torch.randint(0, 11, (16, 4), generator=draws).repeat(1, 4)
        loss = next_token_loss(model, ids)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fresh = torch.randint(0, 11, (64, 4), generator=generator(99)).repeat(1, 4)
    with torch.no_grad():
        logits, _ = model.scan(fresh[:, :-1], model.init(64))
    right = (logits[:, 3:].argmax(-1) == fresh[:, 4:]).double().mean().item()
    assert right > 0.3, "chance is 1 in 11"


def test_half_precision_keeps_the_residual_and_the_logits_wide():
    model = make("mamba")
    ids = tokens(2, 30)
    with torch.no_grad():
        exact, _ = model.scan(ids, model.init(2))
        half = model.to(torch.bfloat16)
        logits, _ = half.scan(ids, half.init(2))
    assert logits.dtype is torch.float32
    assert (logits - exact).abs().max() <= 0.05 * exact.abs().max() + 0.01


def test_bad_input_is_refused(model):
    state = model.init(2)
    for ids in (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.full((2, 3), 11), torch.full((2, 3), -1)):
        with pytest.raises(InputError, match="LanguageModel got"):
            model.scan(ids, state)
    with pytest.raises(InputError):
        model.step(torch.zeros(2, 1, dtype=torch.int64), state)
    with pytest.raises(InputError, match="no tokens"):
        model.prefill(torch.zeros(2, 0, dtype=torch.int64), state)
    with pytest.raises(InputError, match="T >= 2"):
        next_token_loss(model, tokens(2, 1))
    for settings in (
        {"num_tokens": -1},
        {"num_tokens": 1, "temperature": -1.0},
        {"num_tokens": 1, "temperature": float("nan")},
    ):
        with pytest.raises(InputError, match="continue_text got"):
            continue_text(model, tokens(1, 3), **settings)


def test_impossible_models_are_refused():
    with pytest.raises(InputError, match="vocabulary 0"):
        LanguageModel([], vocabulary=0, width=4)
    with pytest.raises(AttributeError):
        LanguageModel([torch.nn.Tanh()], vocabulary=3, width=4)
    empty = LanguageModel([Linear(4, 4)], vocabulary=3, width=4)
    assert empty.scan(torch.zeros(1, 0, dtype=torch.int64), empty.init(1))[0].shape == (1, 0, 3)

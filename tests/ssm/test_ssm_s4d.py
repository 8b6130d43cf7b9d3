"""S4D: initialisations, the layer as convolution and as recurrence, rates, precision and bad input."""

import math

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import InputError
from fullduplex.nn.stream import scan_by_steps
from fullduplex.ssm.decay import decay_from_free, free_from_decay
from fullduplex.ssm.modes import modes
from fullduplex.ssm.s4d import S4D, S4DConfig

STARTS = ("legs", "inv", "inv2", "lin", "quad", "real", "rand", "ptd", "ptd-random")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layer(**options):
    return S4D(S4DConfig(**{"width": 3, "order": 8, **options}), generator=seeded())


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(1), dtype=dtype)


@pytest.mark.parametrize(
    ("start", "top"), [("legs", 1303.27384), ("inv", 1283.4255), ("lin", 97.389), ("quad", 1263.37)]
)
def test_published_highest_frequencies(start, top):
    a_M, _ = modes(start, 64)
    assert a_M.imag.max() == pytest.approx(top, rel=1e-5)
    np.testing.assert_allclose(a_M.real, -0.5, atol=1e-9)


def test_initialisations_by_hand():
    np.testing.assert_allclose(np.sort(modes("legs", 4)[0].imag), [0.556501, 4.603293], atol=1e-6)
    np.testing.assert_allclose(modes("inv", 4)[0].imag, [12 / math.pi, 4 / math.pi / 3], rtol=1e-12)
    np.testing.assert_allclose(modes("inv2", 4)[0].imag, [12 / math.pi, 4 / math.pi], rtol=1e-12)
    np.testing.assert_allclose(modes("lin", 6)[0], [-0.5, -0.5 + 1j * math.pi, -0.5 + 2j * math.pi])
    np.testing.assert_allclose(modes("quad", 4)[0].imag, [1 / math.pi, 9 / math.pi])
    np.testing.assert_array_equal(modes("real", 6)[0], [-1, -2, -3])
    np.testing.assert_array_equal(modes("rand", 8, seed=5)[0], modes("rand", 8, seed=5)[0])
    assert (modes("rand", 8, seed=5)[0] != modes("rand", 8, seed=6)[0]).all()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-12)], ids=["fp32", "fp64"])
def test_convolution_is_recurrence(start, rule, dtype, tolerance):
    model = layer(start=start, rule=rule, order=16).to(dtype)
    for num_steps in (1, 2, 129):
        x = noise(2, num_steps, 3, dtype=dtype)
        with torch.no_grad():
            y, end = model.scan(x, model.init(2))
            stepped, end_stepped = scan_by_steps(model, x, model.init(2))
        scale = max(y.abs().max().item(), 1.0)
        assert (y - stepped).abs().max().item() <= tolerance * scale
        state_scale = max(end.h_BDM2.abs().max().item(), 1.0)
        assert (end.h_BDM2 - end_stepped.h_BDM2).abs().max().item() <= tolerance * state_scale


def test_kernel_is_the_response_to_one_unit():
    model = layer().double()
    impulse = torch.zeros(1, 50, 3, dtype=torch.float64)
    impulse[:, 0] = 1
    with torch.no_grad():
        y, _ = model.scan(impulse, model.init(1))
        expected = model.kernel(50).T.clone()
    expected[0] += model.skip_D.detach()
    torch.testing.assert_close(y[0], expected, rtol=0, atol=1e-12)


def test_kernel_by_the_definition():
    # 2 Re sum c (e^(s a) - 1)/a b e^(s a l), from the raw parameters.
    model = layer(start="inv", order=6).double()
    a = -model.decay_DM.exp() + 1j * model.turn_DM
    b, c = torch.view_as_complex(model.b_DM2), torch.view_as_complex(model.c_DM2)
    s = model.log_step_D.exp()[:, None]
    expected = [2 * (c * (torch.exp(s * a) - 1) / a * b * torch.exp(s * a * step)).sum(-1).real for step in range(40)]
    torch.testing.assert_close(model.kernel(40), torch.stack(expected, dim=-1), rtol=1e-10, atol=1e-12)


def test_half_the_sample_rate_needs_no_training():
    # An input that holds still for two samples is the same function of time as its half; zoh is exact for both.
    model = layer(order=16).double()
    slow = noise(1, 60, 3, dtype=torch.float64)
    with torch.no_grad():
        y, end = model.scan(slow.repeat_interleave(2, dim=1), model.init(1))
        halved, halved_end = model.at_rate(2).scan(slow, model.init(1))
    torch.testing.assert_close(halved, y[:, 1::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(halved_end.h_BDM2, end.h_BDM2, rtol=0, atol=1e-12)
    assert model.at_rate(2).log_step_D is model.log_step_D
    assert (model.rate, model.at_rate(2).at_rate(0.25).rate) == (1.0, 0.5)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
def test_a_frozen_layer_keeps_the_streaming_contract(check, dtype, tmp_path):
    CHECKS[check](layer(width=6).to(dtype).frozen(), noise(3, 37, 6, dtype=dtype), tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
def test_a_frozen_layer_is_the_layer_as_it_was(dtype):
    model, x = layer().to(dtype), noise(2, 20, 3, dtype=dtype)
    frozen = model.frozen()
    with torch.no_grad():
        for got, expected in zip(frozen.scan(x, frozen.init(2)), model.scan(x, model.init(2)), strict=True):
            assert torch.equal(getattr(got, "h_BDM2", got), getattr(expected, "h_BDM2", expected))
        stepped, _ = frozen.step(x[:, 0], frozen.init(2))
        assert torch.equal(stepped, model.step(x[:, 0], model.init(2))[0])
        for parameter in model.parameters():
            parameter.add_(1)
        assert torch.equal(stepped, frozen.step(x[:, 0], frozen.init(2))[0])
    with pytest.raises(InputError):
        frozen.step(x, frozen.init(2))
    with pytest.raises(InputError):
        frozen.scan(x, frozen.init(1))


def test_training_cannot_make_it_grow():
    model = layer(decay="exp", steps=(1e-3, 1.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        y, _ = model.scan(noise(2, 64, 3), model.init(2))
        (-y.square().mean()).backward()  # louder and louder
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert model.discrete().a_DM.abs().max().item() <= 1


def test_a_million_steps_stay_bounded():
    model = layer(width=1, order=4, steps=(1e-3, 1e-3)).frozen()
    state = model.init(1)
    for _ in range(16):
        y, state = model.scan(torch.ones(1, 65536, 1), state)
    # The input is constant, so the output has settled long ago.
    torch.testing.assert_close(y[:, -1], y[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["exp", "relu", "softplus", "sigmoid", "none"])
def test_real_parts_survive_their_transform(kind):
    decay = -torch.tensor([0.002, 0.3, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(decay_from_free(free_from_decay(decay, kind), kind), decay, rtol=1e-12, atol=0)
    if kind != "none":
        assert (decay_from_free(torch.linspace(-40, 5, 100).double(), kind) < 0).all()


@pytest.mark.parametrize("kind", ["exp", "relu", "softplus", "sigmoid", "none"])
def test_transforms_change_the_parameters_and_not_the_layer(kind):
    with torch.no_grad():
        reference, other = layer(), layer(decay=kind)
        torch.testing.assert_close(other.kernel(100), reference.kernel(100), rtol=0, atol=1e-5)


def test_half_precision_leaves_the_modes_alone():
    model, x = layer(), noise(2, 30, 3)
    with torch.no_grad():
        expected, _ = model.scan(x, model.init(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast, _ = model.scan(x, model.init(2))
        model.to(torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        cast, _ = model.scan(x, model.init(2))
        rounded, _ = model.scan(x.bfloat16(), model.init(2))
    assert torch.equal(under_autocast, expected)
    assert torch.equal(cast, expected)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.1 * expected.abs().max().item())


def test_a_saved_layer_has_no_length_in_it():
    model, other = layer(), S4D(S4DConfig(width=3, order=8), generator=seeded(7))
    with torch.no_grad():
        model.scan(noise(1, 100, 3), model.init(1))
        other.scan(noise(1, 7, 3), other.init(1))
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.kernel(333), model.kernel(333))


def test_what_learns():
    model = layer(train_input=False)
    assert not model.b_DM2.requires_grad
    assert len(model.slow_parameters()) == 3
    assert len(layer().slow_parameters()) == 4


def test_it_learns_a_delay():
    model = S4D(S4DConfig(width=1, order=32, steps=(0.05, 0.05)), generator=seeded())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x = torch.nn.functional.avg_pool1d(noise(8, 1, 205), 6, 1).transpose(1, 2)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        y, _ = model.scan(x, model.init(8))
        loss = (y[:, 10:] - x[:, :-10]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * x.square().mean().item()


@pytest.mark.parametrize(
    "bad",
    [
        lambda: layer(order=5),
        lambda: layer(order=0),
        lambda: layer(width=0),
        lambda: layer(start="linear"),
        lambda: layer(rule="euler"),
        lambda: layer(decay="abs"),
        lambda: layer(start="real", decay="sigmoid"),
        lambda: layer(steps=(0.0, 0.1)),
        lambda: layer(steps=(0.2, 0.1)),
        lambda: layer(steps=(0.1, math.nan)),
        lambda: layer().at_rate(0),
        lambda: layer().at_rate(math.nan),
        lambda: layer().scan(noise(2, 5, 4), layer().init(2)),
        lambda: layer().scan(noise(2, 5, 3), layer().init(1)),
        lambda: layer().step(noise(2, 5, 3), layer().init(2)),
        lambda: layer().scan(torch.ones(2, 5, 3, dtype=torch.int64), layer().init(2)),
        lambda: free_from_decay(torch.tensor([0.1]), "exp"),
        lambda: free_from_decay(torch.tensor([math.nan]), "exp"),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

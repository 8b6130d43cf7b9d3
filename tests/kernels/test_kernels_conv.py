import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.conv import causal_conv, causal_conv_ref
from kernels.paths import choose_path


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)


def draw(num_steps, num_taps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, num_steps, 3), (3, num_taps), (3,), (2, num_taps - 1, 3))
    return tuple(torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("num_taps", [1, 2, 4, 9])
@pytest.mark.parametrize("num_steps", [0, 1, 3, 20])
@pytest.mark.parametrize("silu", [False, True], ids=["plain", "silu"])
def test_equals_reference(num_steps, num_taps, dtype, tolerance, silu):
    inputs = draw(num_steps, num_taps, dtype)
    for got, expected in zip(causal_conv(*inputs, silu=silu), causal_conv_ref(*inputs, silu=silu), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=10 * tolerance)


def test_equals_the_library_convolution():
    x, weight, bias, past = draw(30, 4)
    stream = torch.cat([past, x], dim=1).transpose(1, 2)
    expected = functional.conv1d(stream, weight.unsqueeze(1), bias, groups=3).transpose(1, 2)
    torch.testing.assert_close(causal_conv(x, weight, bias, past)[0], expected, rtol=1e-13, atol=1e-13)


def test_the_past_is_the_last_inputs():
    x, weight, bias, past = draw(2, 5)
    assert torch.equal(causal_conv(x, weight, bias, past)[1], torch.cat([past, x], dim=1)[:, -4:])


@pytest.mark.parametrize("silu", [False, True], ids=["plain", "silu"])
@pytest.mark.parametrize(("num_steps", "num_taps"), [(5, 3), (1, 4), (2, 1), (70, 2)])
def test_gradients_match_finite_differences(num_steps, num_taps, silu):
    inputs = tuple(tensor.requires_grad_() for tensor in draw(num_steps, num_taps))
    assert torch.autograd.gradcheck(lambda *tensors: causal_conv(*tensors, silu=silu), inputs)


@pytest.mark.parametrize("width", [15, 16, 17, 40])
def test_channels_that_do_not_fill_a_vector(width):
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 70, width), (width, 4), (width,), (2, 3, width))
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    both = [conv(*inputs, silu=True) for conv in (causal_conv, causal_conv_ref)]
    gradients = [torch.autograd.grad(y.square().sum() + past.sum(), inputs) for y, past in both]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_half_of_a_projection_is_read_where_it_lies():
    x, weight, bias, past = draw(30, 4)
    joined = torch.cat([x, x + 1], dim=-1)
    got, _ = causal_conv(joined.chunk(2, dim=-1)[0], weight, bias, past)
    torch.testing.assert_close(got, causal_conv_ref(x, weight, bias, past)[0], rtol=1e-13, atol=1e-13)


def test_mixed_precision_is_refused():
    x, weight, bias, past = draw(5, 3)
    with pytest.raises(InputError, match="one dtype"):
        causal_conv(x, weight.float(), bias, past)


@pytest.mark.parametrize("wrong", range(4))
def test_wrong_shapes_are_refused(wrong):
    inputs = list(draw(5, 3))
    inputs[wrong] = inputs[wrong][:-1]
    with pytest.raises(InputError, match="causal_conv got"):
        causal_conv(*inputs)


def test_no_taps_is_refused():
    x, _, bias, past = draw(5, 3)
    with pytest.raises(InputError, match="K >= 1"):
        causal_conv(x, torch.zeros(3, 0), bias, past)

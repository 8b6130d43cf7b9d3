import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.conv import causal_conv, causal_conv_ref


def draw(num_steps, num_taps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, num_steps, 3), (3, num_taps), (3,), (2, num_taps - 1, 3))
    return tuple(torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
@pytest.mark.parametrize("num_taps", [1, 2, 4, 9])
@pytest.mark.parametrize("num_steps", [0, 1, 3, 20])
def test_equals_reference(num_steps, num_taps, dtype, tolerance):
    inputs = draw(num_steps, num_taps, dtype)
    for got, expected in zip(causal_conv(*inputs), causal_conv_ref(*inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=10 * tolerance)


def test_equals_the_library_convolution():
    x, weight, bias, past = draw(30, 4)
    stream = torch.cat([past, x], dim=1).transpose(1, 2)
    expected = functional.conv1d(stream, weight.unsqueeze(1), bias, groups=3).transpose(1, 2)
    torch.testing.assert_close(causal_conv(x, weight, bias, past)[0], expected, rtol=1e-13, atol=1e-13)


def test_the_past_is_the_last_inputs():
    x, weight, bias, past = draw(2, 5)
    assert torch.equal(causal_conv(x, weight, bias, past)[1], torch.cat([past, x], dim=1)[:, -4:])


def test_gradients_match_finite_differences():
    inputs = tuple(tensor.requires_grad_() for tensor in draw(5, 3))
    assert torch.autograd.gradcheck(causal_conv, inputs)


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

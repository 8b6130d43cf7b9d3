"""The Triton path: on a GPU where there is one, else in Triton's interpreter where it is asked for, else not at all."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fullduplex.kernels import scan, ssd
from fullduplex.kernels.cauchy import cauchy_sums_ref
from fullduplex.kernels.conv import causal_conv_ref
from fullduplex.kernels.hadamard import hadamard_matrix
from fullduplex.kernels.scan import linear_scan, linear_scan_ref
from fullduplex.kernels.selective import SelectiveSystem, selective_scan_ref
from kernels.gpu.device import complex_noise, need_device, noise

need_device()

from fullduplex.kernels.gpu import recurrence  # noqa: E402
from fullduplex.kernels.gpu.cauchy import cauchy_backward_gpu, cauchy_gpu  # noqa: E402
from fullduplex.kernels.gpu.conv import conv_gpu  # noqa: E402
from fullduplex.kernels.gpu.hadamard import butterflies_gpu  # noqa: E402
from fullduplex.kernels.gpu.recurrence import scan_gpu, selective_gpu  # noqa: E402


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("shape", [(2, 9, 5), (1, 1, 64), (3, 20, 130)], ids=str)
def test_scan_equals_reference(shape, reverse):
    a, b, h0 = noise(*shape).sigmoid(), noise(*shape, seed=1), noise(shape[0], shape[2], seed=2)
    got = scan_gpu(a, b, h0, reverse=reverse)
    turned = (a.flip(1), b.flip(1)) if reverse else (a, b)
    expected = linear_scan_ref(*turned, h0)
    torch.testing.assert_close(got, expected.flip(1) if reverse else expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("shape", [(2, 9, 5), (1, 1, 64), (2, 20, 130)], ids=str)
@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128], ids=str)
def test_complex_scan_equals_reference(shape, reverse, kind):
    a = torch.polar(noise(*shape).sigmoid(), noise(*shape, seed=3)).to(kind)
    b = torch.complex(noise(*shape, seed=1), noise(*shape, seed=4)).to(kind)
    h0 = torch.complex(noise(shape[0], shape[2], seed=2), noise(shape[0], shape[2], seed=5)).to(kind)
    got = scan_gpu(a.conj(), b, h0, reverse=reverse)  # a view that is conjugated only when it is read
    turned = (a.conj().flip(1), b.flip(1)) if reverse else (a.conj(), b)
    expected = linear_scan_ref(*turned, h0)
    near = 1e-5 if kind == torch.complex64 else 1e-13
    torch.testing.assert_close(got, expected.flip(1) if reverse else expected, rtol=near, atol=near)


def test_the_gradient_of_a_complex_scan_comes_back_through_it(monkeypatch):
    monkeypatch.setattr(scan, "native_for", lambda *_: None)
    monkeypatch.setattr(scan, "_scan_torch", scan_gpu)
    shape = (2, 7, 3)
    leaves = [
        torch.complex(0.5 * noise(*shape, seed=i), 0.5 * noise(*shape, seed=9 + i)).to(torch.complex128)
        for i in range(2)
    ]
    leaves.append(leaves[0][:, 0] + 0.3)
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    weight = noise(*shape, seed=30).to(torch.complex128)
    found = torch.autograd.grad((linear_scan(*leaves) * weight).abs().square().sum(), leaves)
    expected = torch.autograd.grad((linear_scan_ref(*leaves) * weight).abs().square().sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("shape", "order"), [((2, 9, 5), 3), ((1, 1, 70), 16), ((2, 12, 33), 5)], ids=str)
def test_selective_scan_equals_reference(shape, order):
    batch, num_steps, width = shape
    x, step = noise(*shape), functional.softplus(noise(*shape, seed=1))
    b, c = noise(batch, num_steps, order, seed=2), noise(batch, num_steps, order, seed=3)
    rate, skip, h0 = -noise(width, order, seed=4).exp(), noise(width, seed=5), noise(batch, width, order, seed=6)
    expected = selective_scan_ref(x, step, b, c, SelectiveSystem(rate, skip), h0)
    for got, wanted in zip(selective_gpu(x, step, b, c, rate, skip, h0), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "order"), [((2, 9, 5), 3), ((1, 1, 70), 16), ((2, 12, 33), 5)], ids=str)
def test_gradients_of_the_selective_scan_equal_those_of_the_reference(shape, order, monkeypatch):
    monkeypatch.setattr(recurrence, "_TILE", 4)  # whole tiles and a rest
    batch, num_steps, width = shape
    leaves = [
        noise(*shape), functional.softplus(noise(*shape, seed=1)), noise(batch, num_steps, order, seed=2),
        noise(batch, num_steps, order, seed=3), -noise(width, order, seed=4).exp(), noise(width, seed=5),
        noise(batch, width, order, seed=6),
    ]  # fmt: skip
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    weights = noise(*shape, seed=7).double(), noise(batch, width, order, seed=8).double()
    x, step, b, c, rate, skip, h0 = leaves
    got = torch.autograd.grad(selective_gpu(*leaves), leaves, weights)
    expected = selective_scan_ref(x, step, b, c, SelectiveSystem(rate, skip), h0)
    for mine, theirs in zip(got, torch.autograd.grad(expected, leaves, weights), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 16, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_butterflies_equal_the_matrix(size, dtype):
    x = noise(2, 3, 12 * size).to(dtype)
    expected = (x.unflatten(-1, (12, size)) @ hadamard_matrix(size).to(x)).flatten(-2)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(butterflies_gpu(x, size), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("silu", [False, True], ids=["plain", "silu"])
@pytest.mark.parametrize(
    ("shape", "taps"), [((2, 9, 5), 4), ((1, 1, 40), 3), ((2, 70, 33), 4), ((1, 2, 3), 1)], ids=str
)
def test_convolution_equals_reference_both_ways(shape, taps, silu):
    batch, _, width = shape
    leaves = [
        noise(*shape).double(), noise(width, taps, seed=1).double(), noise(width, seed=2).double(),
        noise(batch, taps - 1, width, seed=3).double(),
    ]  # fmt: skip
    leaves = [leaf.requires_grad_() for leaf in leaves]
    got, expected = conv_gpu(*leaves, silu=silu), causal_conv_ref(*leaves, silu=silu)[0]
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    weight = noise(*shape, seed=4).double()
    found = torch.autograd.grad((got * weight).sum(), leaves)
    wanted = torch.autograd.grad((expected * weight).sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    single = [leaf.detach().float() for leaf in leaves]
    torch.testing.assert_close(conv_gpu(*single, silu=silu), expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("lead", "sums", "modes", "nodes"), [((), 1, 3, 5), ((2,), 4, 17, 130), ((2, 3), 2, 5, 9)], ids=str
)
def test_cauchy_sums_equal_reference_both_ways(lead, sums, modes, nodes):
    v = complex_noise(*lead, sums, modes).requires_grad_()
    mu = (complex_noise(*lead, modes, seed=1) - 8).requires_grad_()
    z = torch.polar(torch.ones(nodes), torch.linspace(0, 6, nodes)).to(mu)
    alpha, beta = 1 - z, (1 + z) / 2
    expected = cauchy_sums_ref(v, mu, alpha, beta)
    torch.testing.assert_close(cauchy_gpu(v, mu, alpha, beta), expected.detach(), rtol=1e-12, atol=1e-12)
    g = complex_noise(*lead, sums, nodes, seed=2)
    wanted = torch.autograd.grad(expected, (v, mu), g)
    for one, other in zip(cauchy_backward_gpu(v.detach(), mu.detach(), alpha, beta, g), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("heads", "groups", "size", "order"), [(4, 2, 5, 3), (2, 1, 20, 8)], ids=str)
def test_duality_equals_reference_both_ways(heads, groups, size, order, monkeypatch):
    monkeypatch.setattr(ssd, "_pass", ssd._pass_gpu)
    batch, steps = 2, 11
    leaves = [
        noise(batch, steps, heads, size), functional.softplus(noise(batch, steps, heads, seed=1)),
        -noise(heads, seed=2).exp(), noise(batch, steps, groups, order, seed=3), noise(batch, steps, groups, order, seed=4),
        noise(batch, heads, size, order, seed=5),
    ]  # fmt: skip
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    got, expected = ssd.ssd(*leaves, chunk_steps=4), ssd.ssd_ref(*leaves)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    weights = [noise(*each.shape, seed=6 + i).double() for i, each in enumerate(expected)]
    found = torch.autograd.grad(sum((o * w).sum() for o, w in zip(got, weights, strict=True)), leaves)
    wanted = torch.autograd.grad(sum((o * w).sum() for o, w in zip(expected, weights, strict=True)), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)

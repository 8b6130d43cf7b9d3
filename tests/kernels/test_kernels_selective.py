"""The selective scan: every path against the loop, closed forms, and what it must refuse."""

import math

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels.selective import SelectiveSystem, selective_scan, selective_scan_ref
from kernels.paths import choose_path

TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-13}
GRADIENT_TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)
    return request.param


def draw(batch, num_steps, width, order, *, dtype=torch.float64, seed=0, gate=True, bias=True):
    """x, dt, b, c, z, rate, skip, bias, h0."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    wide, narrow = (batch, num_steps, width), (batch, num_steps, order)
    dt = normal(*wide) if bias else normal(*wide).abs() * 0.3
    rate = -normal(width, order).exp()
    return [
        normal(*wide), dt, normal(*narrow), normal(*narrow), normal(*wide) if gate else None,
        rate, normal(width), normal(width) - 1 if bias else None, normal(batch, width, order),
    ]  # fmt: skip


def run(scan, tensors):
    x, dt, b, c, z, rate, skip, bias, h0 = tensors
    return scan(x, dt, b, c, SelectiveSystem(rate, skip, bias), h0, z)


def relative_error(got, expected):
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item() if got.numel() else 0.0


SHAPES = [(2, 70, 20, 16), (1, 33, 16, 16), (3, 5, 7, 3), (1, 1, 40, 16), (2, 2, 33, 5), (2, 100, 9, 40), (1, 65, 1, 1)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("gate", "bias"), [(True, True), (False, False)], ids=["gate-softplus", "bare"])
def test_equals_reference(shape, dtype, gate, bias):
    tensors = draw(*shape, dtype=dtype, gate=gate, bias=bias)
    for got, expected in zip(run(selective_scan, tensors), run(selective_scan_ref, tensors), strict=True):
        assert relative_error(got, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("gate", "bias"), [(True, True), (False, False)], ids=["gate-softplus", "bare"])
def test_gradients_equal_those_of_the_reference(shape, dtype, gate, bias):
    tensors = [
        None if each is None else each.requires_grad_() for each in draw(*shape, dtype=dtype, gate=gate, bias=bias)
    ]
    leaves = [each for each in tensors if each is not None]
    found = []
    for scan in (selective_scan, selective_scan_ref):
        y, h = run(scan, tensors)
        found.append(torch.autograd.grad(y.square().sum() + (h * h).sum(), leaves))
    for got, expected in zip(*found, strict=True):
        scale = expected.abs().max().clamp(min=1)
        assert ((got - expected).abs().max() / scale).item() <= GRADIENT_TOLERANCE[dtype]


def test_gradients_match_finite_differences():
    tensors = [each.requires_grad_() for each in draw(1, 4, 3, 2)]
    assert torch.autograd.gradcheck(lambda *inputs: run(selective_scan, inputs), tensors)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(0, 80), st.integers(0, 35), st.integers(1, 18), st.integers(0, 99))
def test_equals_reference_at_any_size(batch, num_steps, width, order, seed):
    tensors = draw(batch, num_steps, width, order, seed=seed)
    for got, expected in zip(run(selective_scan, tensors), run(selective_scan_ref, tensors), strict=True):
        assert relative_error(got, expected) <= 1e-13


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads):
    tensors = [each.requires_grad_() for each in draw(1, 50, 40, 16)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        y, h = run(selective_scan, tensors)
        got = torch.autograd.grad(y.sum() + h.sum(), tensors)
    finally:
        torch.set_num_threads(before)
    y, h = run(selective_scan_ref, tensors)
    for one, other in zip(got, torch.autograd.grad(y.sum() + h.sum(), tensors), strict=True):
        assert relative_error(one, other) <= 1e-12


def test_strided_streams_are_read_where_they_lie():
    tensors = draw(2, 37, 12, 5)
    joined = torch.cat([tensors[0], tensors[4]], dim=-1)
    expected = run(selective_scan_ref, tensors)
    tensors[0], tensors[4] = joined.chunk(2, dim=-1)
    tensors[1] = tensors[1].transpose(0, 1).contiguous().transpose(0, 1)
    tensors[2] = tensors[2].transpose(1, 2).contiguous().transpose(1, 2)
    for got, wanted in zip(run(selective_scan, tensors), expected, strict=True):
        assert relative_error(got, wanted) <= 1e-13


def test_closed_form_of_a_constant_input():
    # s, x, b, c constant: h_t = s x b (1 - d^t) / (1 - d) with d = e^{s a}.
    step, rate = 0.01, -2.0
    ones = torch.ones(1, 3000, 1, dtype=torch.float64)
    system = SelectiveSystem(torch.tensor([[rate]]).double(), torch.zeros(1).double())
    y, _ = selective_scan(3 * ones, step * ones, ones, ones, system, ones[:, :1] * 0)
    decay = math.exp(step * rate)
    t = torch.arange(1, 3001, dtype=torch.float64)
    torch.testing.assert_close(y[0, :, 0], 3 * step * (1 - decay**t) / (1 - decay), rtol=1e-12, atol=0)


def test_a_step_of_zero_keeps_and_an_infinite_rate_forgets():
    tensors = draw(1, 3, 4, 5, gate=False, bias=False)
    tensors[1] = torch.zeros_like(tensors[1])
    _, h = run(selective_scan, tensors)
    assert torch.equal(h, tensors[-1])
    tensors[1] = torch.ones_like(tensors[1])
    tensors[5] = torch.full_like(tensors[5], -1e6)
    _, h = run(selective_scan, tensors)
    torch.testing.assert_close(h, tensors[0][:, -1, :, None] * tensors[2][:, -1, None, :])


def test_softplus_of_large_and_small():
    # softplus(-40) = e^-40 to 17 digits, softplus(40) = 40: a step is never rounded to nothing.
    raw = torch.tensor([-700.0, -40.0, 0.0, 40.0, 700.0], dtype=torch.float64).reshape(1, 1, 5)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    system = SelectiveSystem(torch.zeros(5, 1).double(), torch.zeros(5).double(), torch.zeros(5).double())
    y, _ = selective_scan(torch.ones_like(raw), raw, one, one, system, torch.zeros(1, 5, 1).double())
    expected = torch.tensor([math.exp(-700), math.exp(-40), math.log(2), 40, 700], dtype=torch.float64)
    # e^-700 is known to 700 roundings of its exponent.
    torch.testing.assert_close(y.flatten(), expected, rtol=700 * 2**-53, atol=0)


def test_any_chunking_is_the_whole():
    tensors = draw(2, 40, 6, 5)
    whole, end = run(selective_scan, tensors)
    state, pieces = tensors[-1], []
    for piece in torch.arange(40).split([3, 0, 1, 20, 16]):
        cut = [each[:, piece] for each in tensors[:5]]
        y, state = run(selective_scan, [*cut, *tensors[5:8], state])
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-12, atol=1e-12)


def test_no_steps():
    tensors = draw(2, 0, 3, 4)
    y, h = run(selective_scan, tensors)
    assert y.shape == (2, 0, 3)
    assert torch.equal(h, tensors[-1]) and h is not tensors[-1]


def test_nan_stays_in_its_row_and_channel_and_after_its_time():
    tensors = draw(2, 40, 20, 4, dtype=torch.float32)
    clean, _ = run(selective_scan, tensors)
    tensors[0][1, 30, 17] = torch.nan
    y, h = run(selective_scan, tensors)
    assert torch.isnan(y[1, 30:, 17]).all() and torch.isnan(h[1, 17]).all()
    y[1, 30:, 17] = clean[1, 30:, 17]
    torch.testing.assert_close(y, clean, rtol=1e-5, atol=1e-5)


def test_nan_rates_are_not_hidden():
    tensors = draw(1, 5, 3, 4)
    tensors[5][1, 2] = torch.nan
    y, _ = run(selective_scan, tensors)
    assert torch.isnan(y[..., 1]).all() and torch.isfinite(y[..., [0, 2]]).all()


def test_memory_for_the_backward_pass_is_bounded():
    batch, num_steps, width, order = 1, 2048, 32, 16
    tensors = [each.requires_grad_() for each in draw(batch, num_steps, width, order, dtype=torch.float32)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.numel()) or each, lambda each: each):
        run(selective_scan, tensors)
    inputs = sum(each.numel() for each in tensors)
    assert sum(kept) <= 2 * inputs < num_steps * width * order


@pytest.mark.parametrize("wrong", range(9))
def test_wrong_shapes_are_refused(wrong):
    tensors = draw(2, 5, 3, 4)
    tensors[wrong] = tensors[wrong][:-1]
    with pytest.raises(InputError, match="selective_scan got"):
        run(selective_scan, tensors)


@pytest.mark.parametrize("wrong", range(9))
def test_mixed_precision_is_refused(wrong):
    tensors = draw(2, 5, 3, 4)
    tensors[wrong] = tensors[wrong].float()
    with pytest.raises(InputError, match="cast half precision"):
        run(selective_scan, tensors)


def test_half_precision_and_mixed_devices_are_refused():
    with pytest.raises(InputError, match="bfloat16"):
        run(selective_scan, [each.bfloat16() for each in draw(1, 2, 3, 4)])
    tensors = draw(1, 2, 3, 4)
    tensors[0] = tensors[0].to("meta")
    with pytest.raises(InputError, match="on meta"):
        run(selective_scan, tensors)


def test_wrong_rank_is_refused():
    tensors = draw(1, 2, 3, 4)
    tensors[5] = tensors[5][0]
    with pytest.raises(InputError, match="rate"):
        run(selective_scan, tensors)

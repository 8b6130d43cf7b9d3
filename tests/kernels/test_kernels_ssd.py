"""State space duality: every path against the loop, and against the selective scan it is a special case of."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels.selective import SelectiveSystem, selective_scan_ref
from fullduplex.kernels.ssd import segment_sums, ssd, ssd_ref
from kernels.paths import choose_path

TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-13}


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)
    return request.param


def draw(batch, num_steps, heads, size, groups, order, *, dtype=torch.float64, seed=0):
    """x, dt, rate, b, c, h0, skip."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    dt = torch.rand(batch, num_steps, heads, generator=generator, dtype=dtype) / 2
    shared = (batch, num_steps, groups, order)
    wide = (batch, num_steps, heads, size)
    h0 = normal(batch, heads, size, order)
    return [normal(*wide), dt, -normal(heads).exp(), normal(*shared), normal(*shared), h0, normal(heads)]


def run(scan, tensors, chunk_steps=16):
    return scan(*tensors[:6], skip_H=tensors[6], chunk_steps=chunk_steps)


def relative_error(got, expected):
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item() if got.numel() else 0.0


SHAPES = [(2, 70, 4, 8, 2, 16), (1, 33, 8, 64, 1, 64), (3, 5, 2, 3, 1, 7), (1, 1, 4, 16, 4, 16), (2, 2, 2, 33, 1, 5),
          (1, 90, 4, 70, 2, 20)]  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("chunk_steps", [1, 7, 64, 256])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_reference(shape, chunk_steps, dtype):
    tensors = draw(*shape, dtype=dtype)
    for got, expected in zip(run(ssd, tensors, chunk_steps), run(ssd_ref, tensors), strict=True):
        assert relative_error(got, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("chunk_steps", [1, 7, 256])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_equal_those_of_the_reference(shape, chunk_steps, dtype, tolerance):
    tensors = [each.requires_grad_() for each in draw(*shape, dtype=dtype)]
    found = []
    for scan in (ssd, ssd_ref):
        y, h = run(scan, tensors, chunk_steps)
        found.append(torch.autograd.grad(y.square().sum() + (h * h).sum(), tensors))
    for got, expected in zip(*found, strict=True):
        assert relative_error(got, expected) <= tolerance


def test_gradients_match_finite_differences():
    tensors = [each.requires_grad_() for each in draw(1, 5, 2, 3, 1, 2)]
    assert torch.autograd.gradcheck(lambda *inputs: run(ssd, inputs, 2), tensors)


def test_the_gradient_of_the_rates_does_not_drift_with_length():
    # The identity behind it subtracts large sums; float32 over 4000 steps against float64 shows whether that matters.
    tensors = draw(1, 4000, 2, 4, 1, 8)
    tensors[2] = torch.tensor([-0.05, -5.0], dtype=torch.float64)

    def gradient(inputs):
        rate = inputs[2].clone().requires_grad_()
        y, _ = run(ssd, [*inputs[:2], rate, *inputs[3:]], 256)
        return torch.autograd.grad(y.square().mean(), rate)[0].double()

    exact = gradient(tensors)
    assert ((gradient([each.float() for each in tensors]) - exact).abs() / exact.abs()).max().item() <= 1e-4


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2), st.integers(0, 40), st.integers(1, 3), st.integers(1, 2), st.integers(1, 35),
    st.integers(1, 18), st.integers(1, 50),
)  # fmt: skip
def test_equals_reference_at_any_size(batch, num_steps, shared, groups, size, order, chunk_steps):
    tensors = draw(batch, num_steps, shared * groups, size, groups, order)
    for got, expected in zip(run(ssd, tensors, chunk_steps), run(ssd_ref, tensors), strict=True):
        assert relative_error(got, expected) <= 1e-13


def test_heads_of_one_number_are_a_selective_scan():
    # With P = 1 and one group, each head is a channel of Mamba whose states all have one rate.
    x, dt, rate, b, c, h0, skip = draw(2, 30, 5, 1, 1, 4)
    y, h = ssd(x, dt, rate, b, c, h0, skip_H=skip)
    system = SelectiveSystem(rate[:, None].expand(5, 4), skip)
    expected, end = selective_scan_ref(x[..., 0], dt, b[:, :, 0], c[:, :, 0], system, h0[:, :, 0])
    torch.testing.assert_close(y[..., 0], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(h[:, :, 0], end, rtol=1e-12, atol=1e-12)


def test_segment_sums_by_hand():
    sums = segment_sums(torch.tensor([1.0, 2.0, 4.0]))
    inf = float("inf")
    assert sums.tolist() == [[0, -inf, -inf], [2, 0, -inf], [6, 4, 0]]
    # A difference of cumulative sums would lose the small number behind the large one.
    assert segment_sums(torch.tensor([-1e8, -1e-3, -1e-3]))[2, 1].item() == pytest.approx(-1e-3)


def test_strides_of_one_projection():
    x, dt, rate, b, c, h0, skip = draw(2, 20, 4, 6, 2, 3)
    joined = torch.cat([x.flatten(2), b.flatten(2), c.flatten(2)], dim=-1)
    parts = joined.split([24, 6, 6], dim=-1)
    views = (parts[0].unflatten(-1, (4, 6)), parts[1].unflatten(-1, (2, 3)), parts[2].unflatten(-1, (2, 3)))
    got, _ = ssd(views[0], dt, rate, views[1], views[2], h0, skip_H=skip)
    torch.testing.assert_close(got, ssd_ref(x, dt, rate, b, c, h0, skip_H=skip)[0], rtol=1e-12, atol=1e-12)


def test_no_steps_and_no_skip():
    x, dt, rate, b, c, h0, _ = draw(2, 0, 2, 3, 1, 4)
    y, h = ssd(x, dt, rate, b, c, h0)
    assert y.shape == (2, 0, 2, 3) and torch.equal(h, h0)
    x, dt, rate, b, c, h0, _ = draw(2, 9, 2, 3, 1, 4)
    torch.testing.assert_close(ssd(x, dt, rate, b, c, h0)[0], ssd_ref(x, dt, rate, b, c, h0)[0], rtol=1e-12, atol=1e-12)


def test_infinite_decay_forgets_exactly():
    x, dt, rate, b, c, h0, _ = draw(1, 6, 2, 3, 1, 4)
    y, _ = ssd(x, dt + 1, rate * 0 - torch.inf, b, c, h0)
    torch.testing.assert_close(y, torch.einsum("bth,bthp,btn,btn->bthp", dt + 1, x, b[:, :, 0], c[:, :, 0]))


def test_nan_stays_in_its_row_and_head():
    tensors = draw(2, 20, 2, 3, 1, 4)
    clean, _ = run(ssd, tensors)
    tensors[0][1, 12, 1, 2] = torch.nan
    y, _ = run(ssd, tensors)
    assert torch.isnan(y[1, 12:, 1, 2]).all()
    assert torch.isfinite(y[0]).all() and torch.isfinite(y[1, :, 0]).all()
    torch.testing.assert_close(y[0], clean[0])


@pytest.mark.parametrize("wrong", range(7))
def test_wrong_shapes_and_types_are_refused(wrong):
    tensors = draw(2, 5, 4, 3, 2, 4)
    tensors[wrong] = tensors[wrong][..., :-1]
    with pytest.raises(InputError, match="ssd got"):
        run(ssd, tensors)
    tensors = draw(2, 5, 4, 3, 2, 4)
    tensors[wrong] = tensors[wrong].float()
    with pytest.raises(InputError, match="cast half precision"):
        run(ssd, tensors)


@pytest.mark.parametrize("chunk_steps", [0, -1])
def test_no_chunk_is_refused(chunk_steps):
    with pytest.raises(InputError, match="chunk_steps"):
        run(ssd, draw(1, 2, 1, 1, 1, 1), chunk_steps)


def test_heads_that_do_not_fill_the_groups_are_refused():
    tensors = draw(1, 2, 4, 1, 2, 1)
    tensors[3], tensors[4] = (each.repeat_interleave(3, 2)[:, :, :3] for each in tensors[3:5])
    with pytest.raises(InputError, match="multiple of G"):
        run(ssd, tensors)

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan import linear_scan, linear_scan_ref
from kernels.paths import choose_path


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)


TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-14, torch.complex64: 1e-5, torch.complex128: 1e-14}


def draw(batch, num_steps, width, dtype, seed=0):
    """|a| <= 1 with zeros (resets) and ones (sums) among them."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(batch, num_steps, width, dtype=dtype, generator=generator) for _ in range(2))
    h0 = torch.randn(batch, width, dtype=dtype, generator=generator)
    a = a / a.abs().clamp(min=1)
    coin = torch.rand(a.shape, generator=generator)
    return torch.where(coin < 0.1, 0, torch.where(coin > 0.9, 1, a)).to(dtype), b, h0


def relative_error(got, expected):
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max()).item() if got.numel() else 0.0


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("num_steps", [0, 1, 2, 63, 64, 65, 79, 80, 255, 1024, 1100, 5000])
def test_equals_reference(num_steps, dtype):
    a, b, h0 = draw(2, num_steps, 3, dtype)
    assert relative_error(linear_scan(a, b, h0), linear_scan_ref(a, b, h0)) <= TOLERANCE[dtype]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(0, 300), st.integers(0, 5), st.integers(0, 99))
def test_equals_reference_at_any_size(batch, num_steps, width, seed):
    a, b, h0 = draw(batch, num_steps, width, torch.float64, seed)
    assert relative_error(linear_scan(a, b, h0), linear_scan_ref(a, b, h0)) <= 1e-14


def test_wide_rows_take_the_other_path_to_the_same_result():
    a, b, h0 = draw(2, 70, 2048, torch.float64)
    assert relative_error(linear_scan(a, b, h0), linear_scan_ref(a, b, h0)) <= 1e-14


def test_closed_form_of_a_constant_decay():
    # h_t = sum_{s<=t} a^{t-s} = (1 - a^{t+1}) / (1 - a) for b = 1 and h0 = 0.
    a = 0.999
    ones = torch.ones(1, 3000, 1, dtype=torch.float64)
    expected = (1 - a ** torch.arange(1, 3001, dtype=torch.float64)) / (1 - a)
    torch.testing.assert_close(linear_scan(a * ones, ones, ones[:, 0] * 0)[0, :, 0], expected, rtol=1e-13, atol=0)


def test_zero_decay_forgets_exactly_and_unit_decay_sums_exactly():
    b = torch.arange(200.0).reshape(1, 200, 1)
    a = torch.ones_like(b)
    a[:, 100] = 0
    h = linear_scan(a, b, torch.tensor([[5.0]]))
    assert h[0, 99].item() == 5 + sum(range(100))
    assert torch.equal(h[0, 100:, 0], b[0, 100:, 0].cumsum(0))
    # An infinite past times zero is NaN by IEEE rules; a finite one, however large, is gone.
    assert linear_scan(a, b, torch.tensor([[1e38]]))[0, 100].item() == 100


def test_decays_that_underflow_stay_finite():
    a, b, h0 = torch.full((1, 4096, 2), 1e-30), torch.ones(1, 4096, 2), torch.ones(1, 2)
    assert torch.equal(linear_scan(a, b, h0), torch.ones(1, 4096, 2))


def test_error_against_float64_is_no_worse_than_the_loop():
    a, b, h0 = draw(1, 8192, 4, torch.float64, seed=3)
    a = 1 - (1 - a.abs()) * 1e-3
    exact = linear_scan_ref(a, b, h0)
    narrow = [tensor.float() for tensor in (a, b, h0)]
    exact_narrow = linear_scan_ref(*(tensor.double() for tensor in narrow))
    assert exact.shape == exact_narrow.shape
    fast = (linear_scan(*narrow) - exact_narrow).abs().max()
    slow = (linear_scan_ref(*narrow) - exact_narrow).abs().max()
    assert fast <= 2 * slow


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("num_steps", [1, 5, 70])
def test_gradients_match_finite_differences(num_steps, dtype):
    inputs = tuple(tensor.requires_grad_() for tensor in draw(1, num_steps, 2, dtype))
    assert torch.autograd.gradcheck(linear_scan, inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_second_gradients_match_finite_differences(dtype):
    inputs = tuple(tensor.requires_grad_() for tensor in draw(1, 4, 2, dtype))
    assert torch.autograd.gradgradcheck(linear_scan, inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_gradients_equal_those_of_the_reference(dtype):
    inputs = tuple(tensor.requires_grad_() for tensor in draw(2, 300, 3, dtype))
    weight = torch.randn(2, 300, 3, dtype=dtype, generator=torch.Generator().manual_seed(9))
    both = [
        torch.autograd.grad((scan(*inputs) * weight).abs().square().sum(), inputs)
        for scan in (linear_scan, linear_scan_ref)
    ]
    for got, expected in zip(*both, strict=True):
        assert relative_error(got, expected) <= 1e-13


def test_an_expanded_decay_gets_its_summed_gradient():
    decay = torch.tensor([0.5, 0.9], dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h0 = torch.zeros(2, 2, dtype=torch.float64)
    got, expected = (
        torch.autograd.grad(scan(decay.expand(b.shape), b, h0).sum(), decay)[0]
        for scan in (linear_scan, linear_scan_ref)
    )
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


def test_inputs_are_left_alone():
    inputs = draw(2, 200, 3, torch.float32)
    copies = [tensor.clone() for tensor in inputs]
    linear_scan(*inputs)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, copies, strict=True))


def test_nan_stays_in_its_lane_and_after_its_time():
    a, b, h0 = draw(2, 200, 3, torch.float32)
    b[1, 150, 2] = torch.nan
    h = linear_scan(a * 0.5 + 0.25, b, h0)
    assert torch.isnan(h[1, 150:, 2]).all()
    h[1, 150:, 2] = 0
    assert torch.isfinite(h).all()


@pytest.mark.parametrize(
    ("a", "b", "h0"),
    [
        (torch.ones(2, 5, 3), torch.ones(2, 5, 3), torch.ones(1, 3)),
        (torch.ones(2, 4, 3), torch.ones(2, 5, 3), torch.ones(2, 3)),
        (torch.ones(5, 3), torch.ones(5, 3), torch.ones(3)),
        (torch.ones(2, 5, 3).double(), torch.ones(2, 5, 3), torch.ones(2, 3)),
        (torch.ones(2, 5, 3).bfloat16(), torch.ones(2, 5, 3).bfloat16(), torch.ones(2, 3).bfloat16()),
        (torch.ones(2, 5, 3).int(), torch.ones(2, 5, 3).int(), torch.ones(2, 3).int()),
    ],
    ids=["rows", "steps", "rank", "mixed", "half", "integer"],
)
def test_wrong_inputs_are_refused(a, b, h0):
    with pytest.raises(InputError, match="linear_scan got"):
        linear_scan(a, b, h0)

"""The selective scan over a grid: every path against the transitions written out and the double loop over cells."""

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan2d import Grid, GridState, scan2d_ref
from fullduplex.kernels.selective2d import Selective2d, selective_scan2d, selective_scan2d_ref
from kernels.paths import choose_path

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT_TOLERANCE = {torch.float32: 5e-5, torch.float64: 1e-11}
# batch, steps, variates, channels, states
SHAPES = [(2, 37, 3, 5, 4), (1, 5, 1, 16, 16), (1, 1, 7, 20, 3), (2, 3, 40, 33, 2), (1, 200, 2, 1, 1)]


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def path(request, monkeypatch):
    choose_path(request.param, monkeypatch)
    return request.param


def draw(batch, num_steps, num_variates, width, order, *, dtype=torch.float64, seed=0, joint=False):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    grid = (batch, num_steps, num_variates)
    ports = [normal(*grid, order) for _ in range(4)]
    if joint:  # parts of one projection, as a layer has them
        ports = [
            *normal(*grid, 2 * order + 1)[..., 1:].chunk(2, -1),
            *normal(*grid, 2 * order + 3)[..., 3:].chunk(2, -1),
        ]
    constants = [-normal(order, width).exp() for _ in range(2)] + [torch.tanh(normal(order, width)) for _ in range(2)]
    lines = [normal(width) - 2, normal(width), normal(width)]
    states = [normal(batch, num_variates, order * width) for _ in range(2)]
    return [*(normal(*grid, width) for _ in range(3)), *ports, *constants, *lines, *states]


def run(scan, tensors, backwards=False):
    names = list(Selective2d.__dataclass_fields__)
    inputs = Selective2d(**dict(zip(names, tensors[:14], strict=True)))
    y, end = scan(inputs, GridState(*tensors[14:]), backwards=backwards)
    return y, end.h1_BVN, end.h2_BVN


def relative_error(got, expected):
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_equals_reference(shape, dtype, backwards):
    tensors = draw(*shape, dtype=dtype, joint=True)
    for got, expected in zip(
        run(selective_scan2d, tensors, backwards), run(selective_scan2d_ref, tensors, backwards), strict=True
    ):
        assert relative_error(got, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_gradients_equal_reference(shape, dtype, backwards):
    gradients = []
    for scan in (selective_scan2d, selective_scan2d_ref):
        tensors = [tensor.requires_grad_() for tensor in draw(*shape, dtype=dtype)]
        outputs = run(scan, tensors, backwards)
        weights = [torch.randn(o.shape, generator=torch.Generator().manual_seed(7), dtype=dtype) for o in outputs]
        total = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
        # One variate has no neighbour, so the reference does not read k3 at all.
        gradients.append(torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True))
    for got, expected in zip(*gradients, strict=True):
        assert relative_error(got, expected) < GRADIENT_TOLERANCE[dtype]


def test_gradcheck():
    tensors = [tensor.requires_grad_() for tensor in draw(1, 3, 2, 2, 2)]
    for backwards in (False, True):
        assert torch.autograd.gradcheck(lambda *each, b=backwards: run(selective_scan2d, list(each), b), tensors)


def test_one_channel_is_the_double_loop_of_the_equations():
    x, dt1, dt2, b1, c1, b2, c2, r1, r2, k2, k3, bias1, bias2, skip, h1, h2 = tensors = draw(1, 9, 4, 1, 3, seed=3)
    s1, s2 = functional.softplus(dt1 + bias1), functional.softplus(dt2 + bias2)
    a1, a4 = torch.exp(s1 * r1[:, 0]), torch.exp(s2 * r2[:, 0])
    grid = Grid(
        a1=a1, a2=(1 - a1) * k2[:, 0], a3=(1 - a4) * k3[:, 0], a4=a4,
        u1_BTVN=(a1 - 1) / r1[:, 0] * b1 * x, u2_BTVN=(a4 - 1) / r2[:, 0] * b2 * x,
    )  # fmt: skip
    g1, g2, _ = scan2d_ref(grid, GridState(h1, h2))
    expected = (g1 * c1 + g2 * c2).sum(-1, keepdim=True) + skip * x
    assert relative_error(run(selective_scan2d, tensors)[0], expected) < 1e-13


def test_backwards_is_the_flipped_grid():
    tensors = draw(2, 6, 5, 3, 2)
    flipped = [each.flip(2) if each.ndim == 4 else each for each in tensors]
    y, h1, h2 = run(selective_scan2d, tensors, backwards=True)
    expected = run(selective_scan2d, flipped)
    assert torch.equal(y, expected[0].flip(2)) and torch.equal(h1, expected[1]) and torch.equal(h2, expected[2])


def test_short_steps_lose_no_digits():
    """With a step of 1e-6 the input enters by (e^(s r) - 1) / r, of which a plain difference keeps one digit in float32."""
    tensors = draw(1, 4, 2, 3, 2, dtype=torch.float64)
    tensors[11] = torch.full_like(tensors[11], -14.0)
    tensors[1] = tensors[1] * 0
    tensors[14], tensors[4] = tensors[14] * 0, tensors[4] * 1e6
    tensors[13], tensors[6] = tensors[13] * 0, tensors[6] * 0
    tensors[9] = tensors[9] * 0
    exact = run(selective_scan2d_ref, tensors)[0]
    single = run(selective_scan2d, [each.float() for each in tensors])[0]
    assert relative_error(single.double(), exact) < 2e-6


def test_float32_over_4096_steps():
    tensors = draw(1, 4096, 2, 2, 2, dtype=torch.float64)
    exact = run(selective_scan2d_ref, tensors)[0]
    single = run(selective_scan2d, [each.float() for each in tensors])[0]
    assert relative_error(single.double(), exact) < 1e-5


def test_bad_input_is_refused():
    tensors = draw(1, 3, 2, 4, 2)
    for index, wrong in (
        (0, tensors[0][:, :0]),
        (4, tensors[4][..., :1]),
        (14, tensors[14][:, :1]),
        (9, tensors[9].float()),
    ):
        changed = list(tensors)
        changed[index] = wrong
        with pytest.raises(InputError, match="selective_scan2d got"):
            run(selective_scan2d, changed)

"""Every schedule of the grid recurrence against the double loop, forward and gradients, and against closed forms."""

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan import linear_scan_ref
from fullduplex.kernels.scan2d import Grid, GridState, grid_conv, grid_kernel, grid_transfer, scan2d, scan2d_ref

SIZES = [(2, 5, 3, 4), (1, 1, 6, 3), (2, 37, 1, 2), (1, 13, 5, 1), (1, 3, 40, 2), (1, 100, 2, 3), (2, 1, 1, 1)]
SCHEDULES = ("auto", "rows", "columns", "wavefront")


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def draw(size, seed=0, dtype=torch.float64, without=()):
    """|A1| + |A2| <= 1 and |A3| + |A4| <= 1, so that no state outgrows its inputs by more than the number of steps."""
    batch, _, num_variates, order = size
    a = {f"a{i}": torch.tanh(noise(*size, seed=seed + i, dtype=dtype)) / 2 for i in (1, 2, 3, 4)}
    a |= dict.fromkeys(without)
    grid = Grid(u1_BTVN=noise(*size, seed=seed + 5, dtype=dtype), u2_BTVN=noise(*size, seed=seed + 6, dtype=dtype), **a)
    h1, h2 = (noise(batch, num_variates, order, seed=seed + i, dtype=dtype) for i in (7, 8))
    return grid, GridState(h1, h2)


def assert_same(got, expected, tolerance):
    pairs = [*zip(got[:2], expected[:2], strict=True), (got[2].h1_BVN, expected[2].h1_BVN)]
    for one, other in [*pairs, (got[2].h2_BVN, expected[2].h2_BVN)]:
        assert one.shape == other.shape
        assert (one - other).abs().max() <= tolerance * other.abs().max().clamp(min=1)


def part(grid, cut):
    """The columns `cut` of a grid whose transitions have full size."""
    fields = {name: getattr(grid, name) for name in ("a1", "a2", "a3", "a4", "u1_BTVN", "u2_BTVN")}
    return Grid(**{name: None if x is None else x[:, cut] for name, x in fields.items()})


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_equals_the_double_loop(size, schedule):
    grid, state = draw(size)
    assert_same(scan2d(grid, state, schedule), scan2d_ref(grid, state), 1e-13)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2), st.integers(0, 20), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_every_schedule_equals_the_double_loop_at_any_size(batch, num_steps, num_variates, order, seed):
    grid, state = draw((batch, num_steps, num_variates, order), 100 * seed)
    if num_steps:
        for schedule in SCHEDULES:
            assert_same(scan2d(grid, state, schedule), scan2d_ref(grid, state), 1e-13)
    else:
        assert scan2d(grid, state)[2] is state


@pytest.mark.parametrize("without", [("a2",), ("a3",), ("a2", "a3")], ids=str)
@pytest.mark.parametrize("schedule", [*SCHEDULES, "apart"])
def test_a_zero_coupling_takes_the_axes_apart(without, schedule):
    grid, state = draw((2, 9, 4, 3), without=without)
    expected = scan2d_ref(grid, state)
    assert_same(scan2d(grid, state, schedule), expected, 1e-13)
    zeros = {name: torch.zeros_like(grid.a1) for name in without}
    dense = Grid(**{"a1": grid.a1, "a2": grid.a2, "a3": grid.a3, "a4": grid.a4, **zeros},
                 u1_BTVN=grid.u1_BTVN, u2_BTVN=grid.u2_BTVN)  # fmt: skip
    assert_same(scan2d(dense, state, "rows"), expected, 1e-13)


@pytest.mark.parametrize("schedule", ["rows", "columns", "wavefront"])
def test_matrices_and_constant_axes_equal_the_double_loop(schedule):
    size = (2, 7, 4, 3)
    grid, state = draw(size)
    full = {"a2": noise(2, 7, 4, 3, 3, seed=11) / 6, "a3": noise(3, 3, seed=12) / 6}
    small = {"a1": grid.a1[:1, :, :1], "a4": grid.a4[:, :1]}
    if schedule == "wavefront":
        small = {"a1": noise(3, 3, seed=13) / 6, "a4": noise(1, 1, 4, 3, 3, seed=14) / 6}
    mixed = Grid(**full, **small, u1_BTVN=grid.u1_BTVN, u2_BTVN=grid.u2_BTVN)
    assert_same(scan2d(mixed, state, schedule), scan2d_ref(mixed, state), 1e-13)


@pytest.mark.parametrize("schedule", [*SCHEDULES, "apart"])
def test_gradients_pass_gradcheck(schedule):
    grid, state = draw((1, 4, 3, 2), without=("a3",) if schedule == "apart" else ())
    names = [name for name in ("a1", "a2", "a3", "a4", "u1_BTVN", "u2_BTVN") if getattr(grid, name) is not None]
    leaves = [getattr(grid, name).clone().requires_grad_() for name in names]
    starts = [state.h1_BVN.clone().requires_grad_(), state.h2_BVN.clone().requires_grad_()]

    def run(*inputs):
        fields = {"a3": None, **dict(zip(names, inputs[:-2], strict=True))}
        h1, h2, end = scan2d(Grid(**fields), GridState(*inputs[-2:]), schedule)
        return h1, h2, end.h1_BVN, end.h2_BVN

    assert torch.autograd.gradcheck(run, (*leaves, *starts))


@pytest.mark.parametrize("cut", [(1,) * 12, (5, 7), (0, 3, 0, 9), (12,)], ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_any_chunking_gives_the_whole(cut, schedule):
    grid, start = draw((2, 12, 5, 3))
    whole = scan2d_ref(grid, start)
    state, begin, pieces = start, 0, []
    for length in cut:
        h1, h2, state = scan2d(part(grid, slice(begin, begin + length)), state, schedule)
        pieces.append((h1, h2))
        begin += length
    got = (torch.cat([p[0] for p in pieces], 1), torch.cat([p[1] for p in pieces], 1), state)
    assert_same(got, whole, 1e-13)
    assert state.h1_BVN.numel() + state.h2_BVN.numel() == 2 * 2 * 5 * 3


def test_float32_stays_within_1e_5_at_4096_steps():
    grid, state = draw((1, 4096, 3, 4), dtype=torch.float32)
    wide = Grid(**{name: getattr(grid, name).double() for name in ("a1", "a2", "a3", "a4", "u1_BTVN", "u2_BTVN")})
    exact = scan2d(wide, GridState(state.h1_BVN.double(), state.h2_BVN.double()), "rows")
    for schedule in ("rows", "columns"):
        h1, h2, _ = scan2d(grid, state, schedule)
        for got, expected in ((h1, exact[0]), (h2, exact[1])):
            assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_one_variate_is_the_one_dimensional_scan():
    grid, state = draw((2, 30, 1, 3), without=("a2",))
    h1, h2, _ = scan2d(grid, state)
    torch.testing.assert_close(
        h1[:, :, 0], linear_scan_ref(grid.a1[:, :, 0], grid.u1_BTVN[:, :, 0], state.h1_BVN[:, 0])
    )
    assert torch.equal(h2, grid.u2_BTVN)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_future_and_later_variates_cannot_change_the_past(schedule):
    grid, state = draw((1, 10, 4, 2))
    before = scan2d(grid, state, schedule)
    u1 = grid.u1_BTVN.clone()
    u1[:, 6:] = torch.nan
    u1[:, :, 3] = torch.nan
    fields = {name: getattr(grid, name) for name in ("a1", "a2", "a3", "a4", "u2_BTVN")}
    after = scan2d(Grid(**fields, u1_BTVN=u1), state, schedule)
    for one, other in zip(after[:2], before[:2], strict=True):
        torch.testing.assert_close(one[:, :6, :3], other[:, :6, :3], rtol=1e-14, atol=1e-14)


def system(order=3, seed=0):
    blocks = tuple(noise(order, order, seed=seed + i) / (5 * order) for i in range(4))
    return blocks, tuple(noise(order, seed=seed + 4 + i) for i in range(4))


def test_the_convolution_equals_the_recurrence():
    blocks, ports = system()
    x_BTV = noise(2, 11, 6, seed=9)
    u1, u2 = x_BTV.unsqueeze(-1) * ports[0], x_BTV.unsqueeze(-1) * ports[1]
    zero = torch.zeros(2, 6, 3, dtype=torch.float64)
    grid = Grid(a1=blocks[0], a2=blocks[1], a3=blocks[2], a4=blocks[3], u1_BTVN=u1, u2_BTVN=u2)
    h1, h2, _ = scan2d_ref(grid, GridState(zero, zero))
    expected = h1 @ ports[2] + h2 @ ports[3]
    torch.testing.assert_close(grid_conv(x_BTV, grid_kernel(blocks, ports, 11, 6)), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("z", [(0.5, 0.3), (0.4 + 0.3j, -0.6), (1.0, 1j)], ids=str)
def test_the_kernel_has_its_generating_function(z):
    blocks, ports = system(2)
    kernel_TV = grid_kernel(blocks, ports, 60, 60)
    powers_T, powers_V = (torch.tensor([value**n for n in range(60)], dtype=torch.complex128) for value in z)
    got = powers_T @ kernel_TV.to(torch.complex128) @ powers_V
    # Blocks of norm below 1/2: sixty terms leave less than rounding.
    torch.testing.assert_close(got, grid_transfer(blocks, ports, *z), rtol=1e-12, atol=1e-12)


def test_gradients_of_the_convolution_equal_those_of_the_recurrence():
    blocks, ports = system(2)
    x_BTV, w_BTV = noise(1, 6, 4, seed=9), noise(1, 6, 4, seed=10)

    def grads(run):
        leaves = [p.clone().requires_grad_() for p in (*blocks, *ports, x_BTV)]
        return torch.autograd.grad((run(tuple(leaves[:4]), tuple(leaves[4:8]), leaves[8]) * w_BTV).sum(), leaves)

    def recur(a, p, x):
        zero = torch.zeros(1, 4, 2, dtype=torch.float64)
        grid = Grid(a1=a[0], a2=a[1], a3=a[2], a4=a[3], u1_BTVN=x[..., None] * p[0], u2_BTVN=x[..., None] * p[1])
        h1, h2, _ = scan2d_ref(grid, GridState(zero, zero))
        return h1 @ p[2] + h2 @ p[3]

    by_kernel = grads(lambda a, p, x: grid_conv(x, grid_kernel(a, p, 6, 4)))
    for got, expected in zip(by_kernel, grads(recur), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-11)


def test_bad_input_says_what_was_wrong():
    grid, state = draw((2, 5, 3, 4))
    fields = {name: getattr(grid, name) for name in ("a1", "a2", "a3", "a4", "u1_BTVN", "u2_BTVN")}
    matrix = torch.eye(4, dtype=torch.float64)
    cases = [
        ({"u2_BTVN": grid.u2_BTVN[:, 1:]}, state, "auto", "one shape"),
        ({"a1": grid.a1[:, :2]}, state, "auto", "a1"),
        ({"a4": matrix[:3]}, state, "auto", "a4"),
        ({"a2": grid.a2.float()}, state, "auto", "one for all"),
        ({}, GridState(state.h1_BVN[:1], state.h2_BVN), "auto", "state h1"),
        ({}, state, "spiral", "no schedule"),
        ({}, state, "apart", "does not fit"),
        ({"a1": matrix}, state, "rows", "does not fit"),
        ({"a4": matrix}, state, "columns", "does not fit"),
    ]
    for changed, start, schedule, message in cases:
        with pytest.raises(InputError, match=message):
            scan2d(Grid(**{**fields, **changed}), start, schedule)
    with pytest.raises(InputError, match="grid_kernel"):
        grid_kernel(*system(2), 0, 4)
    with pytest.raises(InputError, match="grid_conv"):
        grid_conv(torch.zeros(1, 5, 3), torch.zeros(4, 3))

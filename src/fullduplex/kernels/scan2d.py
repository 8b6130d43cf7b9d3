"""The two-dimensional linear recurrence over a grid of variates and time (the Roesser form of Chimera, arXiv 2406.04320).

    h1[t,v] = A1 h1[t-1,v] + A2 h2[t-1,v] + u1[t,v]        the state along time
    h2[t,v] = A3 h1[t,v-1] + A4 h2[t,v-1] + u2[t,v]        the state across variates

Axes: B batch, T time, V variates, N states of a cell. Nothing lies beside the first variate; the column before the
first time is the `GridState`, so a grid may be cut anywhere in time, and that state is all there is to keep: 2 V N
numbers a row.

A transition is a tensor of 4 axes (diagonal, each axis B, T, V of full size or 1), a constant matrix (N, N), a matrix
of every cell (B, T, V, N, N), or None for zero. Five ways, one result up to rounding:

    double loop   one cell after the other, as it stands above                      `scan2d_ref`
    rows          v in a loop: h2 of a row pointwise, then h1 by one `linear_scan` over time; A1 diagonal
    columns       t in a loop: h1 of a column pointwise, then h2 by one `linear_scan` over variates; A4 diagonal
    wavefront     cells with the same t + v at once, V + T - 1 steps in a row; any transitions
    apart         without A2 or without A3 the axes are two scans, one after the other

Chimera's paper names an associative product of six-tuples instead. Paths through a grid branch, so one 2 x 2 block
product cannot carry them; these schedules need none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan import linear_scan

__all__ = [
    "Grid",
    "GridState",
    "Schedule",
    "grid_conv",
    "grid_kernel",
    "grid_transfer",
    "scan2d",
    "scan2d_ref",
]

Schedule = Literal["auto", "rows", "columns", "wavefront", "apart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Transitions and inputs of every cell.

    Args:
        a1, a2, a3, a4: transitions, see the top of the file; None is zero, and only `a2` and `a3` may be None.
        u1_BTVN: what enters h1.
        u2_BTVN: what enters h2.
    """

    a1: Tensor
    a2: Tensor | None
    a3: Tensor | None
    a4: Tensor
    u1_BTVN: Tensor
    u2_BTVN: Tensor


@dataclass(frozen=True, slots=True)
class GridState:
    """The last column: h1 and h2 of every variate."""

    h1_BVN: Tensor
    h2_BVN: Tensor


def scan2d(grid: Grid, state: GridState, schedule: Schedule = "auto") -> tuple[Tensor, Tensor, GridState]:
    """All states of the grid.

    Args:
        grid: transitions and inputs; T may be 0.
        state: the column before the first.
        schedule: how; `"auto"` takes the axes apart where that is allowed and else loops over the shorter axis.

    Returns:
        h1_BTVN, h2_BTVN, and the last column. Differentiable.

    Raises:
        InputError: shapes or dtypes do not fit, an unknown schedule, or one that these transitions do not allow.
    """
    _check(grid, state)
    if schedule not in get_args(Schedule):
        raise InputError(f"no schedule {schedule!r}; expected one of {', '.join(get_args(Schedule))}")
    if grid.u1_BTVN.numel() == 0:
        return grid.u1_BTVN.clone(), grid.u2_BTVN.clone(), state
    name = _choose(grid) if schedule == "auto" else schedule
    allowed = {
        "rows": grid.a1.ndim == 4,
        "columns": grid.a4.ndim == 4,
        "wavefront": True,
        "apart": grid.a1.ndim == grid.a4.ndim == 4 and (grid.a2 is None or grid.a3 is None),
    }
    if not allowed[name]:
        raise InputError(
            f"schedule {name!r} does not fit these transitions: rows need a diagonal a1, columns a diagonal a4, apart "
            "both and one of a2, a3 None; use 'wavefront', which takes any"
        )
    paths: dict[str, Callable[[Grid, GridState], tuple[Tensor, Tensor]]] = {
        "rows": _rows, "columns": _columns, "wavefront": _wavefront, "apart": _apart,
    }  # fmt: skip
    h1_BTVN, h2_BTVN = paths[name](grid, state)
    # Copies: a view would keep the whole grid alive as long as the state.
    return h1_BTVN, h2_BTVN, GridState(h1_BTVN[:, -1].clone(), h2_BTVN[:, -1].clone())


def scan2d_ref(grid: Grid, state: GridState) -> tuple[Tensor, Tensor, GridState]:
    """`scan2d`, written to be read: a double loop over the cells, differentiated by autograd."""
    _check(grid, state)
    _, num_steps, num_variates, _ = grid.u1_BTVN.shape
    if grid.u1_BTVN.numel() == 0:
        return grid.u1_BTVN.clone(), grid.u2_BTVN.clone(), state
    spread = _spread(grid)
    h1 = {(-1, v): state.h1_BVN[:, v] for v in range(num_variates)}
    h2 = {(-1, v): state.h2_BVN[:, v] for v in range(num_variates)}
    for t in range(num_steps):
        for v in range(num_variates):
            a1, a2, a3, a4 = (_at(_at(a, 1, t), 1, v) for a in (spread.a1, spread.a2, spread.a3, spread.a4))
            h1[t, v] = _times(a1, h1[t - 1, v]) + _times(a2, h2[t - 1, v]) + grid.u1_BTVN[:, t, v]
            h2[t, v] = grid.u2_BTVN[:, t, v]
            if v > 0:
                h2[t, v] = h2[t, v] + _times(a3, h1[t, v - 1]) + _times(a4, h2[t, v - 1])
    h1_BTVN, h2_BTVN = (
        torch.stack([torch.stack([h[t, v] for v in range(num_variates)], 1) for t in range(num_steps)], 1)
        for h in (h1, h2)
    )
    return h1_BTVN, h2_BTVN, GridState(h1_BTVN[:, -1].clone(), h2_BTVN[:, -1].clone())


def grid_kernel(
    blocks_4NN: tuple[Tensor, Tensor, Tensor, Tensor],
    ports_4N: tuple[Tensor, Tensor, Tensor, Tensor],
    num_steps: int,
    num_variates: int,
) -> Tensor:
    """The answer to one impulse in the first cell, of a system that does not depend on its input.

    Args:
        blocks_4NN: constant matrices A1, A2, A3, A4.
        ports_4N: B1, B2 (how the input enters) and C1, C2 (how the states are read).
        num_steps, num_variates: size of the kernel, each >= 1.

    Returns:
        kernel_TV: K[t, v] = C1 h1[t, v] + C2 h2[t, v], the sum over all lattice paths from the first cell.

    Raises:
        InputError: a size below 1 or shapes that do not fit.
    """
    if min(num_steps, num_variates) < 1:
        raise InputError(f"grid_kernel got {num_steps} steps and {num_variates} variates; expected 1 or more of each")
    b1_N, b2_N, c1_N, c2_N = ports_4N
    first = b1_N.new_zeros(1, num_steps, num_variates, 1)
    first[0, 0, 0, 0] = 1
    a1, a2, a3, a4 = blocks_4NN
    zero = b1_N.new_zeros(1, num_variates, b1_N.shape[0])
    grid = Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=first * b1_N, u2_BTVN=first * b2_N)
    h1_BTVN, h2_BTVN, _ = scan2d(grid, GridState(zero, zero), "wavefront")
    return (h1_BTVN @ c1_N + h2_BTVN @ c2_N)[0]


def grid_conv(x_BTV: Tensor, kernel_TV: Tensor) -> Tensor:
    """y[t, v] = sum over i <= t, j <= v of K[i, j] x[t - i, v - j], by Fourier transforms of twice the size.

    Raises:
        InputError: the kernel is smaller than the grid, or the ranks are wrong.
    """
    if x_BTV.ndim != 3 or kernel_TV.ndim != 2 or any(
        have < need for have, need in zip(kernel_TV.shape, x_BTV.shape[1:], strict=True)
    ):  # fmt: skip
        raise InputError(
            f"grid_conv got x {tuple(x_BTV.shape)} and a kernel {tuple(kernel_TV.shape)}; expected (B, T, V) and >= (T, V)"
        )
    _, num_steps, num_variates = x_BTV.shape
    size = (2 * num_steps, 2 * num_variates)
    spectrum = torch.fft.rfft2(x_BTV, s=size) * torch.fft.rfft2(kernel_TV[:num_steps, :num_variates], s=size)
    return torch.fft.irfft2(spectrum, s=size)[:, :num_steps, :num_variates]


def grid_transfer(
    blocks_4NN: tuple[Tensor, Tensor, Tensor, Tensor],
    ports_4N: tuple[Tensor, Tensor, Tensor, Tensor],
    z1: complex,
    z2: complex,
) -> Tensor:
    """The generating function of `grid_kernel`: sum over t, v of K[t, v] z1^t z2^v, in closed form.

    [C1 C2] (1 - diag(z1, z2) [[A1, A2], [A3, A4]])^-1 [B1; B2], one solve and no recurrence: the oracle of the others.

    Returns:
        a complex scalar.
    """
    a1, a2, a3, a4 = blocks_4NN
    b1_N, b2_N, c1_N, c2_N = ports_4N
    order = b1_N.shape[0]
    whole = torch.cat([z1 * torch.cat([a1, a2], 1), z2 * torch.cat([a3, a4], 1)]).to(torch.complex128)
    eye = torch.eye(2 * order, dtype=torch.complex128)
    enter, read = torch.cat([b1_N, b2_N]).to(torch.complex128), torch.cat([c1_N, c2_N]).to(torch.complex128)
    return read @ torch.linalg.solve(eye - whole, enter)


def _check(grid: Grid, state: GridState) -> None:
    shape = grid.u1_BTVN.shape
    if len(shape) != 4 or grid.u2_BTVN.shape != shape:
        raise InputError(
            f"scan2d got u1 {tuple(shape)} and u2 {tuple(grid.u2_BTVN.shape)}; expected one shape (B, T, V, N)"
        )
    batch, _, num_variates, order = shape
    for name, h_BVN in (("h1", state.h1_BVN), ("h2", state.h2_BVN)):
        if h_BVN.shape != (batch, num_variates, order):
            raise InputError(
                f"scan2d got a state {name} {tuple(h_BVN.shape)} for a grid {tuple(shape)}; expected (B, V, N)"
            )
    transitions = {"a1": grid.a1, "a2": grid.a2, "a3": grid.a3, "a4": grid.a4}
    for name, a in transitions.items():
        if a is not None and not _fits(a, shape):
            raise InputError(
                f"scan2d got {name} {tuple(a.shape)} for a grid {tuple(shape)}; expected (B, T, V, N) or 1 in place of "
                "B, T, V; or a matrix (N, N); or (B, T, V, N, N)"
            )
    tensors = [a for a in transitions.values() if a is not None]
    kinds = {x.dtype for x in (*tensors, grid.u1_BTVN, grid.u2_BTVN, state.h1_BVN, state.h2_BVN)}
    if len(kinds) != 1:
        raise InputError(f"scan2d got dtypes {sorted(map(str, kinds))}; expected one for all")


def _fits(a: Tensor, shape: torch.Size) -> bool:
    order = shape[-1]
    if a.ndim == 2:
        return a.shape == (order, order)
    tail = {4: (order,), 5: (order, order)}.get(a.ndim)
    if tail is None or tuple(a.shape[3:]) != tail:
        return False
    return all(have in (1, want) for have, want in zip(a.shape[:3], shape[:3], strict=True))


def _choose(grid: Grid) -> str:
    diagonal = (grid.a1.ndim == 4, grid.a4.ndim == 4)
    if all(diagonal) and (grid.a2 is None or grid.a3 is None):
        return "apart"
    _, num_steps, num_variates, _ = grid.u1_BTVN.shape
    if diagonal[0] and (num_variates <= num_steps or not diagonal[1]):
        return "rows"
    return "columns" if diagonal[1] else "wavefront"


def _times(a: Tensor | None, h: Tensor) -> Tensor | float:
    """A h, with `a` of the rank of `h` (diagonal) or one rank higher (matrices)."""
    if a is None:
        return 0.0
    return a * h if a.ndim == h.ndim else (a @ h.unsqueeze(-1)).squeeze(-1)


def _at(a: Tensor | None, axis: int, index: int) -> Tensor | None:
    """One row (axis 2) or column (axis 1) of a transition that may be constant along it."""
    return None if a is None else a.select(axis, 0 if a.shape[axis] == 1 else index)


def _spread(grid: Grid) -> Grid:
    """The same grid with constant matrices (N, N) as (1, 1, 1, N, N): then every transition has axes B, T, V."""
    a1, a2, a3, a4 = (
        a[None, None, None] if a is not None and a.ndim == 2 else a for a in (grid.a1, grid.a2, grid.a3, grid.a4)
    )
    assert a1 is not None and a4 is not None
    return Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=grid.u1_BTVN, u2_BTVN=grid.u2_BTVN)


def _before(first_BXN: Tensor, h_BTXN: Tensor) -> Tensor:
    """`h` one step earlier."""
    return torch.cat([first_BXN.unsqueeze(1), h_BTXN[:, :-1]], dim=1)


def _rows(grid: Grid, state: GridState) -> tuple[Tensor, Tensor]:
    grid = _spread(grid)
    rows1: list[Tensor] = []
    rows2: list[Tensor] = []
    for v in range(grid.u1_BTVN.shape[2]):
        a1, a2, a3, a4 = (_at(a, 2, v) for a in (grid.a1, grid.a2, grid.a3, grid.a4))
        h2_BTN = grid.u2_BTVN[:, :, v]
        if v > 0:
            h2_BTN = h2_BTN + _times(a3, rows1[-1]) + _times(a4, rows2[-1])
        enter_BTN = grid.u1_BTVN[:, :, v] + _times(a2, _before(state.h2_BVN[:, v], h2_BTN))
        assert a1 is not None
        rows1.append(linear_scan(a1.expand(enter_BTN.shape), enter_BTN, state.h1_BVN[:, v]))
        rows2.append(h2_BTN)
    return torch.stack(rows1, dim=2), torch.stack(rows2, dim=2)


def _columns(grid: Grid, state: GridState) -> tuple[Tensor, Tensor]:
    grid = _spread(grid)
    columns1: list[Tensor] = []
    columns2: list[Tensor] = []
    h1_BVN, h2_BVN = state.h1_BVN, state.h2_BVN
    nothing_BN = torch.zeros_like(h1_BVN[:, 0])
    for t in range(grid.u1_BTVN.shape[1]):
        a1, a2, a3, a4 = (_at(a, 1, t) for a in (grid.a1, grid.a2, grid.a3, grid.a4))
        h1_BVN = grid.u1_BTVN[:, t] + _times(a1, h1_BVN) + _times(a2, h2_BVN)
        enter_BVN = grid.u2_BTVN[:, t] + _times(a3, _before(nothing_BN, h1_BVN))
        if a3 is not None:  # nothing enters the first variate, not even by a NaN in what stands there
            enter_BVN = torch.cat([grid.u2_BTVN[:, t, :1], enter_BVN[:, 1:]], dim=1)
        assert a4 is not None
        h2_BVN = linear_scan(a4.expand(enter_BVN.shape), enter_BVN, nothing_BN)
        columns1.append(h1_BVN)
        columns2.append(h2_BVN)
    return torch.stack(columns1, dim=1), torch.stack(columns2, dim=1)


def _apart(grid: Grid, state: GridState) -> tuple[Tensor, Tensor]:
    if grid.a3 is None:
        h2_BTVN = _over_variates(grid.a4, grid.u2_BTVN)
        h1_BTVN = _over_time(grid, _before(state.h2_BVN, h2_BTVN), state)
        return h1_BTVN, h2_BTVN
    h1_BTVN = _over_time(grid, None, state)
    a3 = _spread(grid).a3
    shifted = _times(a3, torch.cat([torch.zeros_like(h1_BTVN[:, :, :1]), h1_BTVN[:, :, :-1]], dim=2))
    return h1_BTVN, _over_variates(grid.a4, grid.u2_BTVN + shifted)


def _over_time(grid: Grid, h2_BTVN: Tensor | None, state: GridState) -> Tensor:
    """h1 of all variates in one scan, side by side as features."""
    enter_BTVN = grid.u1_BTVN if h2_BTVN is None else grid.u1_BTVN + _times(_spread(grid).a2, h2_BTVN)
    a_BTX = grid.a1.expand(enter_BTVN.shape).flatten(2)
    h_BTX = linear_scan(a_BTX, enter_BTVN.flatten(2), state.h1_BVN.flatten(1))
    return h_BTX.unflatten(2, tuple(enter_BTVN.shape[2:]))


def _over_variates(a4: Tensor, enter_BTVN: Tensor) -> Tensor:
    """h2 of all times in one scan, side by side as rows of the batch."""
    enter_XVN = enter_BTVN.flatten(0, 1)
    a_XVN = a4.expand(enter_BTVN.shape).flatten(0, 1)
    h_XVN = linear_scan(a_XVN, enter_XVN, torch.zeros_like(enter_XVN[:, 0]))
    return h_XVN.unflatten(0, tuple(enter_BTVN.shape[:2]))


def _wavefront(grid: Grid, state: GridState) -> tuple[Tensor, Tensor]:
    """Entry v of wave k is the cell (t = k - v, v): what it needs are entries v and v - 1 of wave k - 1."""
    grid = _spread(grid)
    _, num_steps, num_variates, _ = grid.u1_BTVN.shape
    u1, u2 = grid.u1_BTVN, grid.u2_BTVN
    v_V = torch.arange(num_variates, device=u1.device)
    h1, h2 = torch.zeros_like(state.h1_BVN), torch.zeros_like(state.h2_BVN)
    waves1: list[Tensor] = []
    waves2: list[Tensor] = []
    for k in range(num_steps + num_variates - 1):
        t_V = (k - v_V).clamp(0, num_steps - 1)
        first_V1 = (v_V == k).unsqueeze(-1)
        inside_V1 = ((k - v_V >= 0) & (k - v_V < num_steps)).unsqueeze(-1)
        a1, a2, a3, a4 = (_gather(a, t_V, v_V) for a in (grid.a1, grid.a2, grid.a3, grid.a4))
        left1, left2 = torch.where(first_V1, state.h1_BVN, h1), torch.where(first_V1, state.h2_BVN, h2)
        below1, below2 = (torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1) for h in (h1, h2))
        new1 = u1[:, t_V, v_V] + _times(a1, left1) + _times(a2, left2)
        new2 = u2[:, t_V, v_V] + _times(a3, below1) + _times(a4, below2)
        h1, h2 = (torch.where(inside_V1, new, torch.zeros_like(new)) for new in (new1, new2))
        waves1.append(h1)
        waves2.append(h2)
    t_T1 = torch.arange(num_steps, device=u1.device).unsqueeze(-1)
    return torch.stack(waves1, dim=1)[:, t_T1 + v_V, v_V], torch.stack(waves2, dim=1)[:, t_T1 + v_V, v_V]


def _gather(a: Tensor | None, t_V: Tensor, v_V: Tensor) -> Tensor | None:
    """The cells (t, v) of a transition, which may be constant along either axis."""
    if a is None:
        return None
    t_V = torch.zeros_like(t_V) if a.shape[1] == 1 else t_V
    v_V = torch.zeros_like(v_V) if a.shape[2] == 1 else v_V
    return a[:, t_V, v_V]

"""What the two-dimensional system contains: known models as its special cases, and the rank of its kernel.

Axes: N states, p order of an autoregression, V variates, T time. All of these do not depend on their input; their blocks
are those of the discrete recurrence of `kernels/scan2d.py`.

The rank (Chimera's theorem on expressiveness, checked here in exact arithmetic with N = 1): seen as a matrix over (t, v),
the kernel has full rank if A2 and A3 are both there, rank 2 without either one of them, and rank 1 in S4ND's case.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.scan2d import Grid, GridState, scan2d

__all__ = [
    "LinearGrid",
    "autoregression",
    "close_loop",
    "companion",
    "exact_kernel",
    "exact_rank",
    "exponential_smoothing",
    "separable",
    "unroll",
]


@dataclass(frozen=True, slots=True)
class LinearGrid:
    """A constant system: blocks A1 to A4, each (N, N), and ports B1, B2, C1, C2, each (N,), in float64."""

    blocks_4NN: tuple[Tensor, Tensor, Tensor, Tensor]
    ports_4N: tuple[Tensor, Tensor, Tensor, Tensor]

    def init(self, batch: int, num_variates: int) -> GridState:
        """Nothing seen yet."""
        zero = self.ports_4N[0].new_zeros(batch, num_variates, self.ports_4N[0].shape[0])
        return GridState(zero, zero)

    def scan(self, x_BTV: Tensor, state: GridState) -> tuple[Tensor, GridState]:
        """y_BTV = C1 h1 + C2 h2, and the last column."""
        b1_N, b2_N, c1_N, c2_N = self.ports_4N
        a1, a2, a3, a4 = self.blocks_4NN
        grid = Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=x_BTV.unsqueeze(-1) * b1_N, u2_BTVN=x_BTV.unsqueeze(-1) * b2_N)
        h1_BTVN, h2_BTVN, state = scan2d(grid, state, "wavefront")
        return h1_BTVN @ c1_N + h2_BTVN @ c2_N, state


def companion(last_N: Tensor) -> Tensor:
    """The companion matrix of SpaceTime: ones below the diagonal, `last_N` as the last column.

    Its eigenvalues are the roots of z^N - last[N-1] z^(N-1) - ... - last[0].

    Raises:
        InputError: not one axis of one number or more.
    """
    if last_N.ndim != 1 or last_N.shape[0] < 1:
        raise InputError(f"companion got {tuple(last_N.shape)}; expected one axis of 1 or more numbers")
    order = last_N.shape[0]
    matrix = torch.diag(last_N.new_ones(order - 1), -1)
    matrix[:, -1] = matrix[:, -1] + last_N
    return matrix


def autoregression(phi_p: Tensor) -> LinearGrid:
    """AR(p) of every variate: the output at t is sum over i of phi_i x[t + 1 - i], the prediction of x[t + 1].

    A1 is the companion matrix with a last column of zero, a shift register; C1 = phi (SpaceTime, arXiv 2303.09489,
    proposition on AR). A2 = A3 = 0: the special case of Chimera without coupling.
    """
    order = phi_p.shape[0]
    first_N, zero_N = torch.eye(order, dtype=phi_p.dtype)[0], torch.zeros_like(phi_p)
    zero = phi_p.new_zeros(order, order)
    return LinearGrid((companion(zero_N), zero, zero, zero), (first_N, zero_N, phi_p, zero_N))


def close_loop(system: LinearGrid) -> Tensor:
    """A1 + B1 C1: the step along time of a system that is fed its own output (closed loop, SpaceTime)."""
    return system.blocks_4NN[0] + torch.outer(system.ports_4N[0], system.ports_4N[2])


def exponential_smoothing(alpha: float) -> LinearGrid:
    """Level l_t = (1 - alpha) l_{t-1} + alpha x_t of every variate, one state.

    Raises:
        InputError: `alpha` not in (0, 1].
    """
    if not 0 < alpha <= 1:
        raise InputError(f"exponential_smoothing got alpha {alpha}; expected more than 0, at most 1")
    keep, zero, one = (torch.tensor([[x]], dtype=torch.float64) for x in (1 - alpha, 0.0, 1.0))
    return LinearGrid((keep, zero, zero, zero), (alpha * one[0], zero[0], one[0], zero[0]))


def separable(time: tuple[Tensor, Tensor], variates: tuple[Tensor, Tensor], a2_NN: Tensor) -> LinearGrid:
    """S4ND's case A3 = 0, B1 = 0, C2 = 0: K[t + 1, v] = C1 A1^t A2 A4^v B2.

    With A2 of rank one it is an outer product of a kernel over time and one over variates.

    Args:
        time: A1 (N, N) and C1 (N,).
        variates: A4 (N, N) and B2 (N,).
        a2_NN: how the variates' state enters the time's.
    """
    (a1, c1_N), (a4, b2_N) = time, variates
    zero_N = torch.zeros_like(b2_N)
    return LinearGrid((a1, a2_NN, torch.zeros_like(a1), a4), (zero_N, b2_N, c1_N, zero_N))


def unroll(system: LinearGrid, past_BTV: Tensor, horizon: int) -> Tensor:
    """The forecast of a linear system in closed loop: its output at t is the input at t + 1.

    Raises:
        InputError: no past or a horizon below 1.
    """
    if past_BTV.ndim != 3 or past_BTV.shape[1] < 1 or horizon < 1:
        raise InputError(f"unroll got a past {tuple(past_BTV.shape)} and horizon {horizon}; expected T and H >= 1")
    y_BTV, state = system.scan(past_BTV, system.init(past_BTV.shape[0], past_BTV.shape[2]))
    columns = [y_BTV[:, -1:]]
    while len(columns) < horizon:
        y_BTV, state = system.scan(columns[-1], state)
        columns.append(y_BTV)
    return torch.cat(columns, dim=1)


def exact_kernel(
    blocks: tuple[int | Fraction, ...], ports: tuple[int | Fraction, ...], size: int
) -> list[list[Fraction]]:
    """The kernel K[t][v] of a system of one state, in rational numbers.

    Args:
        blocks: A1, A2, A3, A4.
        ports: B1, B2, C1, C2.
        size: steps and variates.
    """
    a1, a2, a3, a4 = map(Fraction, blocks)
    b1, b2, c1, c2 = map(Fraction, ports)
    h1, h2 = ([[Fraction(0)] * (size + 1) for _ in range(size + 1)] for _ in range(2))
    for t in range(size):
        for v in range(size):
            # Index -1 is the border, which stays zero.
            h1[t][v] = a1 * h1[t - 1][v] + a2 * h2[t - 1][v] + (b1 if t == v == 0 else 0)
            h2[t][v] = a3 * h1[t][v - 1] + a4 * h2[t][v - 1] + (b2 if t == v == 0 else 0)
    return [[c1 * h1[t][v] + c2 * h2[t][v] for v in range(size)] for t in range(size)]


def exact_rank(matrix: list[list[Fraction]]) -> int:
    """The rank, by elimination without rounding."""
    rows, rank = [list(row) for row in matrix], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [below - factor * above for below, above in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank

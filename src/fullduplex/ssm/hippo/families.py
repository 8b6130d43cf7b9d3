"""The HiPPO matrices: what a state x' = A x + B u remembers of its input u.

Axes: N state size, R rank of the correction that makes a matrix normal.

Every family is given here in the paper's scale: a window has length 1, `legs` forgets as e^-t. The reference code of
the paper halves `legt` and `fout` without saying so, which doubles their window; those are here by name, as
`legt_halved` and `fout_halved`.

Sources: Gu, Johnson, Timalsina, Rudra, Ré, "How to Train Your HiPPO" (arXiv 2206.12037); Voelker, Kajić, Eliasmith,
"Legendre Memory Units" (2019) for `lmu`; Gu, Gupta, Goel, Ré (arXiv 2206.11893) for `legsd`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError

__all__ = ["KINDS", "Family", "Glagt", "System", "correction", "family", "transition"]

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """x' = A x + B u.

    Args:
        a_NN: the transition matrix; every eigenvalue has a real part <= 0.
        b_N: how the input enters.
    """

    a_NN: F64
    b_N: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Glagt:
    """The two parameters of the tilted Laguerre family.

    Args:
        alpha: order of the Laguerre polynomials, -1 < alpha < 1.
        beta: tilt > 0; small values remember longer.
    """

    alpha: float = 0.0
    beta: float = 0.01

    def __post_init__(self) -> None:
        if not (-1 < self.alpha < 1 and 0 < self.beta < math.inf):
            raise InputError(f"glagt got alpha {self.alpha}, beta {self.beta}; expected -1 < alpha < 1 and beta > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What is known of one kind of memory.

    Args:
        make: the matrices for a state size.
        window: length of the remembered window in the time of the matrices; None when the memory fades instead.
        fade: time in which the weight of the past falls by e; None for a window.
        rank: columns of the correction P with A + P P^T normal; None when no P of fixed rank does it.
        even: whether the state size must be even.
    """

    make: Callable[[int], System]
    window: float | None = None
    fade: float | None = None
    rank: int | None = None
    even: bool = False


def transition(kind: str, order: int, *, glagt: Glagt | None = None) -> System:
    """The matrices of one family.

    Args:
        kind: one of `KINDS`.
        order: state size N >= 1; even for the Fourier families, where it must be >= 2.
        glagt: parameters of `glagt`; no other kind takes them.

    Raises:
        InputError: an unknown kind, a state size that kind does not have, or parameters it does not take.
    """
    entry = family(kind)
    if order < 1 or (entry.even and order % 2):
        raise InputError(f"{kind} got a state size of {order}; expected {'an even number' if entry.even else 'N'} >= 1")
    if kind == "glagt":
        return _glagt(order, glagt or Glagt())
    if glagt is not None:
        raise InputError(f"{kind} takes no glagt parameters; only the kind 'glagt' does")
    return entry.make(order)


def family(kind: str) -> Family:
    """The entry of `kind`.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"no HiPPO family {kind!r}; expected one of {', '.join(KINDS)}")
    return KINDS[kind]


def correction(kind: str, order: int, *, rank: int | None = None) -> F64:
    """P_NR with A + P P^T normal: a multiple of the identity plus a skew matrix.

    Args:
        kind: one of `KINDS` that has such a P.
        order: state size N.
        rank: columns wanted; more than needed are filled with zeros. None for as many as needed.

    Raises:
        InputError: the kind has no correction of fixed rank, or needs more columns than `rank`.
    """
    system, needed = transition(kind, order), family(kind).rank
    if needed is None:
        raise InputError(f"{kind} has no low-rank correction; perturb and diagonalise it instead")
    if rank is not None and rank < needed:
        raise InputError(
            f"{kind} needs a correction of rank {needed}; got rank {rank}, with which A would not be normal"
        )
    p_NR = np.zeros((order, needed if rank is None else rank))
    n = np.arange(order)
    if kind == "legs":
        p_NR[:, 0] = np.sqrt(n + 0.5)
    elif kind in ("lagt", "glagt"):
        p_NR[:, 0] = math.sqrt(0.5)
    elif kind in ("legt", "legt_halved"):
        half = 0.5 if kind == "legt_halved" else 1.0
        for column in range(2):
            p_NR[column::2, column] = np.sqrt(half * (2 * n[column::2] + 1))
    elif needed == 1:  # the Fourier families: A = S - g B B^T, with g from their definitions
        p_NR[:, 0] = system.b_N * {"fout": math.sqrt(0.5), "fout_halved": 1.0, "fourier_decay": math.sqrt(2)}[kind]
    return p_NR


def _legs(order: int) -> System:
    n = np.arange(order)
    root_N = np.sqrt(2.0 * n + 1)
    a_NN = (-np.tril(np.outer(root_N, root_N), -1) - np.diag(n + 1.0)).astype(np.float64)
    return System(a_NN=a_NN, b_N=root_N)


def _legt(order: int) -> System:
    n = np.arange(order)
    root_N = np.sqrt(2.0 * n + 1)
    sign_NN = np.where(n[:, None] >= n[None, :], 1.0, (-1.0) ** (n[:, None] - n[None, :]))
    a_NN = -np.outer(root_N, root_N) * sign_NN
    return System(a_NN=a_NN.astype(np.float64), b_N=root_N)


def _lmu(order: int) -> System:
    n = np.arange(order)
    sign_NN = np.where(n[:, None] < n[None, :], -1.0, (-1.0) ** (n[:, None] - n[None, :] + 1))
    a_NN = (2.0 * n[:, None] + 1) * sign_NN
    return System(a_NN=a_NN.astype(np.float64), b_N=(-1.0) ** n * (2.0 * n + 1))


def _lagt(order: int) -> System:
    return System(a_NN=-np.tril(np.ones((order, order)), -1) - np.eye(order) / 2, b_N=np.ones(order))


def _glagt(order: int, parameters: Glagt) -> System:
    alpha, beta = parameters.alpha, parameters.beta
    n = np.arange(order)
    log_gamma_N = np.array([math.lgamma(k + alpha + 1) - math.lgamma(k + 1) for k in n])
    norm_N = np.exp(log_gamma_N / 2)
    binomial_N = np.exp(log_gamma_N - math.lgamma(alpha + 1))
    a_NN = -np.tril(np.ones((order, order)), -1) - np.eye(order) * (1 + beta) / 2
    gain = beta ** ((1 - alpha) / 2) * math.exp(-math.lgamma(1 - alpha) / 2)
    return System(a_NN=a_NN * norm_N / norm_N[:, None], b_N=gain * binomial_N / norm_N)


def _fourier(order: int, turn: float, feedback: float, gain_in: float) -> System:
    """S - feedback b b^T and gain_in b; S turns the pair (2k, 2k + 1) at k `turn`. Slot 1 stands still, always."""
    d = np.zeros(order)
    d[::2] = turn * np.arange(order // 2)
    b_N = np.where(np.arange(order) % 2, 0.0, math.sqrt(2))
    b_N[0] = 1
    skew_NN = np.diag(d[: order - 1], -1) - np.diag(d[: order - 1], 1)
    return System(a_NN=skew_NN - feedback * np.outer(b_N, b_N), b_N=gain_in * b_N)


def _foud(order: int) -> System:
    normal = _fourier(order, 2 * math.pi, 0, 1)
    return System(a_NN=normal.a_NN - np.eye(order) / 2, b_N=normal.b_N)


def _legsd(order: int) -> System:
    """The normal part of `legs`; half of B, with which its kernels tend to those of `legs` (2206.11893, theorem 3)."""
    n, legs = np.arange(order), _legs(order)
    root_N = np.sqrt(n + 0.5)
    return System(a_NN=legs.a_NN + np.outer(root_N, root_N), b_N=legs.b_N / 2)


def _half(make: Callable[[int], System]) -> Callable[[int], System]:
    def halved(order: int) -> System:
        whole = make(order)
        return System(a_NN=whole.a_NN / 2, b_N=whole.b_N / 2)

    return halved


def _fout(order: int) -> System:
    return _fourier(order, 2 * math.pi, 2, 2)


KINDS: dict[str, Family] = {
    "legs": Family(make=_legs, fade=1, rank=1),
    "legsd": Family(make=_legsd, fade=1, rank=0),
    "legt": Family(make=_legt, window=1, rank=2),
    "legt_halved": Family(make=_half(_legt), window=2, rank=2),
    "lmu": Family(make=_lmu, window=1),
    "lagt": Family(make=_lagt, fade=1, rank=1),
    "glagt": Family(make=lambda order: _glagt(order, Glagt()), fade=1, rank=1),
    "fout": Family(make=_fout, window=1, rank=1, even=True),
    "fout_halved": Family(make=_half(_fout), window=2, rank=1, even=True),
    "foud": Family(make=_foud, fade=2, rank=0, even=True),
    "fourier_decay": Family(make=lambda order: _fourier(order, math.pi, 0.5, 0.5), rank=1, even=True),
}

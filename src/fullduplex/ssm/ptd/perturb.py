"""`ptd`: any square matrix, made diagonalisable by a small perturbation, with a report of what it cost.

Axes: N size of the matrix.

    A + E = V Lambda V^-1,   ||E|| small, kappa(V) small, and every eigenvalue where it may be, or a typed error

Three ways to E: searched for (`optimised`, the paper's), drawn (`random`, its control), zero (`exact`). A real matrix
gets a real E, so its eigenvalues are real or come in conjugate pairs and half of the modes tell everything. A matrix
that is normal already is left alone: its eigenvectors are orthonormal. What a search leaves a little too far right is
shifted by a multiple of the identity, which moves eigenvalues and no eigenvector; what is still not where it may be raises.

Source: Yu, Nigmetov, Morozov, Mahoney, Erichson (arXiv 2310.01698).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.ptd.descent import Search, descend, objective

__all__ = ["Method", "Ptd", "PtdConfig", "PtdReport", "UnstableError", "checked_matrix", "finish", "ptd"]

Matrix = NDArray[Any]
C128 = NDArray[np.complex128]
Method = Literal["optimised", "random", "exact"]

_NORMAL = 1e-13
_ROUNDING = 1e-12


class UnstableError(InputError):
    """An eigenvalue lies farther right than allowed; `abscissa` is the largest real part."""

    def __init__(self, message: str, abscissa: float) -> None:
        super().__init__(message)
        self.abscissa = abscissa


@dataclass(frozen=True, slots=True, kw_only=True)
class PtdConfig:
    """How to perturb.

    Args:
        method: `"optimised"`, `"random"` or `"exact"` (no perturbation).
        gamma: price of ||E|| / ||A|| against log kappa(V); larger stays closer to A and is worse conditioned.
        size: ||E|| / ||A|| (Frobenius) of the random perturbation, or of the one the search starts from; > 0.
        num_steps: steps of the search.
        seed: of the random start.
        abscissa: largest real part an eigenvalue may have; None allows any.

    Raises:
        InputError: a value out of range.
    """

    method: Method = "optimised"
    gamma: float = 20.0
    size: float = 0.03
    num_steps: int = 1000
    seed: int = 0
    abscissa: float | None = 0.0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"ptd got the method {self.method!r}; expected one of {', '.join(get_args(Method))}")
        if not (0 <= self.gamma < np.inf and 0 < self.size < np.inf and self.num_steps >= 1):
            raise InputError(
                f"ptd got gamma {self.gamma}, size {self.size}, num_steps {self.num_steps}; "
                "expected gamma >= 0, size > 0, num_steps >= 1"
            )
        if self.abscissa is not None and not np.isfinite(self.abscissa):
            raise InputError(f"ptd got an abscissa of {self.abscissa}; expected a number, or None for no demand")


@dataclass(frozen=True, slots=True, kw_only=True)
class PtdReport:
    """What the perturbation is and what it bought.

    Args:
        order: N.
        was_normal: A was normal, so E is zero.
        condition_before, condition: kappa of the unit eigenvectors of A, as far as they can be computed, and of A + E.
        norm_a, norm_e: spectral norms.
        relative: ||E|| / ||A||, Frobenius.
        residual: ||V Lambda V^-1 - (A + E)|| / ||A||, Frobenius.
        abscissa_before, abscissa: largest real part of an eigenvalue of A, as computed, and of A + E.
    """

    order: int
    was_normal: bool
    condition_before: float
    condition: float
    norm_a: float
    norm_e: float
    relative: float
    residual: float
    abscissa_before: float
    abscissa: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ptd:
    """A + E = V Lambda V^-1.

    Args:
        values_N: eigenvalues Lambda.
        v_NN: unit eigenvectors as columns.
        inverse_NN: V^-1.
        e_NN: the perturbation, real for a real A.
        report: figures.
    """

    values_N: C128
    v_NN: C128
    inverse_NN: C128
    e_NN: Matrix
    report: PtdReport

    def modes(self, b_N: ArrayLike, c_N: ArrayLike | None = None) -> tuple[C128, C128, C128]:
        """Modes of x' = (A + E) x + b u, y = c x, one of each conjugate pair: y is twice the real part of their sum.

        Real eigenvalues stay, with half of their input, so that the doubling is right for them too.

        Args:
            b_N: real input vector.
            c_N: real output vector; None for ones in the basis of the modes.

        Returns:
            eigenvalues, inputs and outputs of the M modes kept, frequencies rising.

        Raises:
            InputError: A is complex, so that there are no pairs, or a vector does not fit.
        """
        if np.iscomplexobj(self.e_NN):
            raise InputError("the matrix is complex, so its modes come in no pairs; use values_N, v_NN and inverse_NN")
        order = self.values_N.size
        b = np.asarray(b_N, dtype=np.float64)
        c = np.ones(order) if c_N is None else np.asarray(c_N, dtype=np.float64)
        if b.shape != (order,) or c.shape != (order,):
            raise InputError(f"got b of shape {b.shape} and c of shape {c.shape}; expected ({order},) for both")
        kept = np.flatnonzero(self.values_N.imag >= 0)
        kept = kept[np.argsort(self.values_N.imag[kept], kind="stable")]
        share = np.where(self.values_N.imag[kept] == 0, 0.5, 1.0)
        out = np.ones(kept.size, dtype=np.complex128) if c_N is None else (c @ self.v_NN)[kept]
        return self.values_N[kept], share * (self.inverse_NN @ b)[kept], out


def ptd(a_NN: ArrayLike, config: PtdConfig = PtdConfig(), *, report: Callable[[int, float], None] | None = None) -> Ptd:
    """Perturb a matrix a little, then diagonalise it.

    Args:
        a_NN: square matrix of finite numbers, real or complex; may be defective.
        config: how; None for the defaults.
        report: called after every step of the search with its number and the objective.

    Raises:
        InputError: not square, empty or not finite; with `exact`, eigenvectors that are not independent.
        UnstableError: an eigenvalue is farther right than `config.abscissa`.
    """
    a_NN, config = checked_matrix(a_NN), config or PtdConfig()
    size = float(np.linalg.norm(a_NN))
    zero_NN = np.zeros_like(a_NN)
    if _is_normal(a_NN) or config.method == "exact":
        return finish(a_NN, zero_NN, config)
    draw = np.random.default_rng(config.seed)
    e_NN = draw.standard_normal(a_NN.shape).astype(a_NN.dtype)
    if np.iscomplexobj(a_NN):
        e_NN = e_NN + 1j * draw.standard_normal(a_NN.shape)
    e_NN *= config.size * size / np.linalg.norm(e_NN)
    if config.method == "random":
        return finish(a_NN, e_NN, config)
    search = Search(gamma=config.gamma, num_steps=config.num_steps, bound=config.abscissa)
    found_NN = _shifted(a_NN, descend(a_NN, e_NN, search, report=report), config)
    # A matrix with good eigenvectors may be best as it is.
    phi, abscissa, _ = objective(a_NN, zero_NN, search)
    allowed = config.abscissa is None or abscissa <= config.abscissa
    best_NN = zero_NN if allowed and phi <= objective(a_NN, found_NN, search)[0] else found_NN
    return finish(a_NN, best_NN, config)


def _shifted(a_NN: Matrix, e_NN: Matrix, config: PtdConfig) -> Matrix:
    """E less a multiple of the identity: the same eigenvectors, every eigenvalue as far left as asked for.

    Only for what the search left over: no farther than one entry of the perturbation it started from, times sqrt(N).
    """
    if config.abscissa is None:
        return e_NN
    size, order = float(np.linalg.norm(a_NN)), a_NN.shape[0]
    missing = float(np.linalg.eigvals(a_NN + e_NN).real.max()) - config.abscissa
    if not 0 < missing <= config.size * size / np.sqrt(order):
        return e_NN
    return e_NN - (missing + _ROUNDING * size) * np.eye(order)


def finish(a_NN: Matrix, e_NN: Matrix, config: PtdConfig) -> Ptd:
    """Diagonalise A + E and report.

    Raises:
        InputError: the eigenvectors are not independent.
        UnstableError: an eigenvalue is farther right than `config.abscissa`.
    """
    was_normal = _is_normal(a_NN)
    values_N, v_NN = _eigen_normal(a_NN) if was_normal else _eigen(a_NN + e_NN)
    condition = _condition(v_NN)
    if not condition < 1 / np.finfo(np.float64).eps:
        raise InputError(
            f"the eigenvectors of this matrix have a condition number of {condition:.1e}; "
            "perturb it: method 'optimised' or 'random', or a larger size"
        )
    inverse_NN = np.linalg.inv(v_NN).astype(np.complex128)
    size = max(float(np.linalg.norm(a_NN)), np.finfo(np.float64).tiny)
    abscissa = float(values_N.real.max())
    if config.abscissa is not None and abscissa > config.abscissa + _ROUNDING * size:
        raise UnstableError(
            f"an eigenvalue has a real part of {abscissa:.6g}; allowed: {config.abscissa:g}. Use another seed, a smaller "
            "gamma or more steps, or abscissa=None for a matrix that may grow",
            abscissa,
        )
    before_N, before_NN = _eigen(a_NN)
    report = PtdReport(
        order=a_NN.shape[0],
        was_normal=was_normal,
        condition_before=1.0 if was_normal else _condition(before_NN),
        condition=condition,
        norm_a=float(np.linalg.norm(a_NN, 2)),
        norm_e=float(np.linalg.norm(e_NN, 2)),
        relative=float(np.linalg.norm(e_NN)) / size,
        residual=float(np.linalg.norm((v_NN * values_N) @ inverse_NN - a_NN - e_NN)) / size,
        abscissa_before=float(before_N.real.max()),
        abscissa=abscissa,
    )
    return Ptd(values_N=values_N, v_NN=v_NN, inverse_NN=inverse_NN, e_NN=e_NN, report=report)


def checked_matrix(a_NN: ArrayLike) -> Matrix:
    """A square matrix in double precision.

    Raises:
        InputError: it is something else.
    """
    given = np.asarray(a_NN)
    numeric = given.dtype.kind in "iufc" and given.ndim == 2 and given.shape[0] == given.shape[1] >= 1
    if not numeric or not np.all(np.isfinite(given)):
        raise InputError(
            f"ptd got an array of {given.dtype}, shape {given.shape}; expected a square matrix of finite numbers"
        )
    return given.astype(np.complex128 if given.dtype.kind == "c" else np.float64)


def _is_normal(a_NN: Matrix) -> bool:
    size = float(np.linalg.norm(a_NN))
    adjoint_NN = a_NN.conj().T
    return float(np.linalg.norm(a_NN @ adjoint_NN - adjoint_NN @ a_NN)) <= _NORMAL * a_NN.shape[0] * size**2


def _eigen(m_NN: Matrix) -> tuple[C128, C128]:
    values_N, v_NN = np.linalg.eig(m_NN)
    return values_N.astype(np.complex128), v_NN.astype(np.complex128)


def _eigen_normal(a_NN: Matrix) -> tuple[C128, C128]:
    """Orthonormal eigenvectors of a normal matrix.

    Its Hermitian and skew parts commute, so a mixture of them has the same eigenvectors, and `eigh` keeps them
    orthonormal where eigenvalues repeat. An unround mixture tells apart what either part alone would not.
    """
    adjoint_NN = a_NN.conj().T
    mixed_NN = np.cos(1.0) * (a_NN + adjoint_NN) / 2 + np.sin(1.0) * (a_NN - adjoint_NN) / 2j
    v_NN = np.linalg.eigh(mixed_NN)[1].astype(np.complex128)
    values_N = np.einsum("ij,ik,kj->j", v_NN.conj(), a_NN, v_NN)
    if not np.iscomplexobj(a_NN):
        # What is rounding of a real eigenvalue must not look like half of a pair.
        size = float(np.linalg.norm(a_NN))
        values_N = np.where(np.abs(values_N.imag) <= _ROUNDING * size, values_N.real, values_N)
    return values_N.astype(np.complex128), v_NN


def _condition(v_NN: Matrix) -> float:
    s_N = np.linalg.svd(v_NN, compute_uv=False)
    return float(s_N[0] / s_N[-1]) if s_N[-1] > 0 else float("inf")

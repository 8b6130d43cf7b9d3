"""The search for a small perturbation with well-conditioned eigenvectors, with its gradient in closed form.

Axes: N size of the matrix. V holds unit eigenvectors as columns, kappa = s_max(V) / s_min(V).

    Phi(E) = log kappa(V(A + E)) + gamma ||E|| / ||A||  +  pressure sum_j max(0, Re lambda_j - bound)^2 / scale^2

(Frobenius norms). The paper minimises kappa + gamma ||E||; the logarithm and the relative norm have the same trade-off
curve and a gamma that means the same for every matrix. The last term is ours: without it the search ends with
eigenvalues in the right half plane.

Gradient. With P = V^-1 dM V and F_ij = 1 / (lambda_j - lambda_i) off the diagonal, dlambda_j = P_jj and
dV = V (F o P), less the part along each column, because columns stay of unit length. So for G = dPhi/dV (without its
parts along the columns) dPhi/dM = V^-H (conj(F) o V^H G + diag(dPhi/dlambda)) V^H; dkappa/dV comes from the first and
last singular vectors.

Source: Yu, Nigmetov, Morozov, Mahoney, Erichson, "Robustifying State-space Models for Long Sequences via Approximate
Diagonalization" (arXiv 2310.01698), section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Search", "descend", "objective"]

Matrix = NDArray[Any]

_PRESSURE = 100.0
_BETAS = (0.9, 0.99)
_RATE = 0.3  # of the size of one entry of E at the start


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for.

    Args:
        gamma: price of the perturbation.
        num_steps: steps of Adam, the rate falling as a cosine to zero.
        bound: where real parts shall lie below; None for anywhere.
    """

    gamma: float
    num_steps: int
    bound: float | None


def objective(a_NN: Matrix, e_NN: Matrix, search: Search) -> tuple[float, float, Matrix]:
    """Phi, the spectral abscissa and dPhi/dE at one E; real matrices have a real gradient.

    Where eigenvectors coincide Phi is infinite and the gradient is zero.
    """
    size = float(np.linalg.norm(a_NN))
    solved = np.linalg.eig(a_NN + e_NN)
    values_N, v_NN = solved[0].astype(np.complex128), solved[1].astype(np.complex128)
    u_NN, s_N, wh_NN = np.linalg.svd(v_NN)
    abscissa = float(values_N.real.max())
    gaps_NN = values_N[None, :] - values_N[:, None]
    np.fill_diagonal(gaps_NN, 1)
    if s_N[-1] < 1e-300 or np.abs(gaps_NN).min() == 0:
        return float("inf"), abscissa, np.zeros_like(e_NN)
    norm = float(np.linalg.norm(e_NN))
    phi = float(np.log(s_N[0] / s_N[-1])) + search.gamma * norm / size
    above_N = np.zeros(values_N.size)
    if search.bound is not None:
        above_N = np.maximum(values_N.real - search.bound, 0) * values_N.size / size**2
        phi += _PRESSURE * float(np.sum((above_N * size) ** 2)) / values_N.size
    g_NN = np.outer(u_NN[:, 0], wh_NN[0]) / s_N[0] - np.outer(u_NN[:, -1], wh_NN[-1]) / s_N[-1]
    g_NN = g_NN - v_NN * np.sum(v_NN.conj() * g_NN, axis=0).real
    inner_NN = (v_NN.conj().T @ g_NN) / gaps_NN.conj()
    np.fill_diagonal(inner_NN, 2 * _PRESSURE * above_N)
    inverse_NN = (wh_NN.conj().T / s_N) @ u_NN.conj().T
    gradient_NN = inverse_NN.conj().T @ inner_NN @ v_NN.conj().T
    if not np.iscomplexobj(e_NN):
        gradient_NN = np.real(gradient_NN)
    if norm > 0:
        gradient_NN = gradient_NN + search.gamma / size * e_NN / norm
    return phi, abscissa, gradient_NN


def descend(
    a_NN: Matrix, start_NN: Matrix, search: Search, *, report: Callable[[int, float], None] | None = None
) -> Matrix:
    """The best perturbation found from one start; of those that keep the bound, if any does.

    Args:
        a_NN: the matrix.
        start_NN: where to begin; of the dtype E shall have, and not zero.
        search: what is looked for.
        report: called after every step with its number and Phi.
    """
    order = a_NN.shape[0]
    # The penalty is soft: aim a little below, so that what is found is below.
    aim = None if search.bound is None else search.bound - 1e-3 * float(np.linalg.norm(a_NN)) / np.sqrt(order)
    soft = Search(gamma=search.gamma, num_steps=search.num_steps, bound=aim)
    rate = _RATE * float(np.linalg.norm(start_NN)) / order
    e_NN, best_NN, best = start_NN.copy(), start_NN, (True, float("inf"))
    mean_NN, square_NN = np.zeros_like(e_NN), np.zeros(e_NN.shape)
    for step in range(1, search.num_steps + 1):
        phi, abscissa, gradient_NN = objective(a_NN, e_NN, soft)
        rank = (search.bound is not None and abscissa > search.bound, phi)
        if rank < best:
            best, best_NN = rank, e_NN
        mean_NN = _BETAS[0] * mean_NN + (1 - _BETAS[0]) * gradient_NN
        square_NN = _BETAS[1] * square_NN + (1 - _BETAS[1]) * np.abs(gradient_NN) ** 2
        spread_NN = np.sqrt(square_NN / (1 - _BETAS[1] ** step)) + 1e-300
        slower = 0.5 * (1 + np.cos(np.pi * step / search.num_steps))
        e_NN = e_NN - slower * rate * mean_NN / (1 - _BETAS[0] ** step) / spread_NN
        if report is not None:
            report(step, phi)
    return best_NN

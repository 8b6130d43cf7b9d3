"""What a perturbation does to the map from input to output, frequency by frequency.

Axes: N state size, F frequencies, in radians per unit of the matrices' time.

    G(s) = C (s - A)^-1 B,     |G_perturbed(iw) - G(iw)| <= (2 ln N + 4) ||E|| + higher orders

for `legs` and a C of length 1 (arXiv 2310.01698, theorem 3). Two facts give a bound of all orders: the symmetric part of
A is -1/2 or less, so ||(iw - A - E)^-1|| <= 1 / (1/2 - ||E||), and ||(iw - A)^-1 B||^2 <= 2 ln N + 4.

Dropping the low-rank part instead, as S4D does, divides G by 1 + phi(s), phi(s) = product over j = 1 ... N of
(s - j + 1) / (s + j), whatever C is: small changes at low frequencies, and spikes that never vanish near N^2 / pi.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.ptd.perturb import checked_matrix

__all__ = [
    "bound_first_order",
    "bound_of_legs",
    "deviation",
    "frequency_grid",
    "legs_phi",
    "legs_states",
    "states",
    "tones_between",
]

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]


def states(a_NN: ArrayLike, b_N: ArrayLike, frequencies_F: ArrayLike) -> C128:
    """(iw - A)^-1 B for every w, of shape (F, N): C times it is G(iw).

    Raises:
        InputError: shapes that do not fit.
    """
    a, w_F = checked_matrix(a_NN), np.asarray(frequencies_F, dtype=np.float64)
    b = np.asarray(b_N).astype(np.complex128)
    if b.shape != (a.shape[0],) or w_F.ndim != 1:
        raise InputError(
            f"got b of shape {b.shape} and frequencies of shape {w_F.shape}; expected ({a.shape[0]},), (F,)"
        )
    eye_NN = np.eye(a.shape[0])
    rows = [np.linalg.solve(1j * w * eye_NN - a, b) for w in w_F]
    return np.array(rows, dtype=np.complex128).reshape(w_F.size, b.size)


def deviation(
    a_NN: ArrayLike, e_NN: ArrayLike, b_N: ArrayLike, frequencies_F: ArrayLike, *, c_N: ArrayLike | None = None
) -> tuple[float, float]:
    """The largest |G_perturbed - G| found, and the frequency it was found at.

    Args:
        a_NN, e_NN, b_N: the system and its perturbation.
        frequencies_F: where to look; what lies between is not seen, see `frequency_grid`.
        c_N: the output vector; None for the worst one of length 1.

    Raises:
        InputError: shapes that do not fit, or no frequencies.
    """
    w_F = np.asarray(frequencies_F, dtype=np.float64)
    a, e = checked_matrix(a_NN), checked_matrix(e_NN)
    if e.shape != a.shape or w_F.size == 0:
        raise InputError(f"got E of shape {e.shape} and {w_F.size} frequencies; expected {a.shape} and at least one")
    gap_FN = states(a + e, b_N, w_F) - states(a, b_N, w_F)
    gap_F = np.linalg.norm(gap_FN, axis=1) if c_N is None else np.abs(gap_FN @ np.asarray(c_N))
    worst = int(np.argmax(gap_F))
    return float(gap_F[worst]), float(w_F[worst])


def frequency_grid(*matrices: ArrayLike, num_between: int = 200) -> F64:
    """Frequencies where a sharp answer may hide: those of all eigenvalues given, and a logarithmic grid beyond them.

    Args:
        matrices: square matrices, or vectors of eigenvalues.
        num_between: points of the grid on each side of zero.
    """
    found: list[Any] = []
    for given in matrices:
        each = np.asarray(given)
        found.append(each if each.ndim == 1 else np.linalg.eigvals(each))
    values = np.concatenate(found)
    top = 3 * max(float(np.abs(values).max(initial=0)), 1e-3)
    grid = np.geomspace(1e-6 * top, top, num_between)
    return np.unique(np.concatenate([np.imag(values), grid, -grid, [0.0]])).astype(np.float64)


def tones_between(a_NN: ArrayLike, values_N: ArrayLike, *, num_between: int = 150) -> F64:
    """Frequencies above zero at which to compare A with a perturbed one of eigenvalues `values_N`.

    A frequency on an eigenvalue of A answers with infinity and is left out; beside it, everything is finite.
    """
    before_N = np.linalg.eigvals(checked_matrix(a_NN))
    grid = frequency_grid(values_N, num_between=num_between)
    far = np.abs(1j * grid[:, None] - before_N).min(1) > 1e-9 * (1 + np.abs(before_N).max())
    return grid[(grid > 0) & far]


def legs_states(order: int, s_F: ArrayLike) -> C128:
    """(s - A)^-1 B of `legs` in closed form, (F, N): sqrt(2n+1) prod_{j<=n} (s-j+1) / prod_{j<=n+1} (s+j)."""
    s = np.asarray(s_F, dtype=np.complex128)
    rows = [1 / (s + 1)]
    for n in range(1, order):
        rows.append(rows[-1] * (s - n + 1) / (s + n + 1))
    return (np.stack(rows, axis=-1) * np.sqrt(2.0 * np.arange(order) + 1)).astype(np.complex128)


def legs_phi(order: int, s_F: ArrayLike) -> C128:
    """phi(s): without its low-rank part (and with B / 2) `legs` answers G(s) / (1 + phi(s))."""
    s = np.asarray(s_F, dtype=np.complex128)
    out = np.ones_like(s)
    for j in range(1, order + 1):
        out = out * (s - j + 1) / (s + j)
    return out


def bound_first_order(order: int, norm_e: float) -> float:
    """(2 ln N + 4) ||E||, theorem 3 without its higher orders."""
    return (2 * math.log(order) + 4) * norm_e


def bound_of_legs(order: int, norm_e: float) -> float:
    """A bound of |G_perturbed - G| for `legs` and any C of length 1, of all orders; infinite from ||E|| = 1/2 on."""
    return math.inf if norm_e >= 0.5 else norm_e * math.sqrt(2 * math.log(order) + 4) / (0.5 - norm_e)

"""What the numbers in a HiPPO state mean: closed forms, with no matrix anywhere.

Axes: N state size, T ages, in the time of the matrices; age 0 is now.

    kernels      x_n(now) = integral of u(now - t) K_n(t) dt            what the state holds, K(t) = e^(tA) B
    functions    u(now - t) is about sum_n x_n p_n(t)                   how to read the past out of it

For `legs`, `lagt`, `glagt`, `foud` the kernels are exact at every N. For the windows (`legt`, `lmu`, `fout`) and for
`legsd` they are the limit for large N, reached in the mean square only: a window has edges, and a finite state has none.

Sources: arXiv 2206.12037 (theorems on `legs`, `legt`, `fout`); the Laguerre family follows from its generating function.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import Glagt, family, transition

__all__ = ["functions", "kernels"]

F64 = NDArray[np.float64]


def kernels(kind: str, order: int, ages_T: ArrayLike, *, glagt: Glagt | None = None) -> F64:
    """K_NT, the weight the n-th number of the state gives to an input of age t.

    Args:
        kind: a family of `fullduplex.ssm.hippo.families.KINDS`.
        order: state size N.
        ages_T: ages >= 0, one axis.
        glagt: parameters of `glagt`.

    Raises:
        InputError: there is no closed form for this kind, or an age is negative or not finite.
    """
    t_T = _ages(kind, order, ages_T, glagt)
    if kind in ("legs", "legsd"):
        return np.exp(-t_T) * _legendre(order, 2 * np.exp(-t_T) - 1)
    if kind == "lagt":
        return np.exp(-t_T / 2) * _laguerre(order, t_T, 0.0)
    if kind == "glagt":
        parameters = glagt or Glagt()
        gain = _glagt_gain(parameters)
        return gain * np.exp(-(1 + parameters.beta) * t_T / 2) * _laguerre_unit(order, t_T, parameters.alpha)
    if kind == "foud":
        return np.exp(-t_T / 2) * _fourier(order, t_T)
    window = family(kind).window
    if window is None:
        raise InputError(f"{kind} has no closed form of its kernels")
    inside_T = t_T <= window
    if kind == "lmu":
        return inside_T * (2 * np.arange(order)[:, None] + 1) * functions(kind, order, t_T)
    return inside_T / window * functions(kind, order, t_T)


def functions(kind: str, order: int, ages_T: ArrayLike, *, glagt: Glagt | None = None) -> F64:
    """p_NT, with which the past is the sum of x_n p_n(t).

    Args:
        kind: a family of `fullduplex.ssm.hippo.families.KINDS`.
        order: state size N.
        ages_T: ages >= 0, one axis. Beyond the window of a kind that has one the functions go on, and mean nothing.
        glagt: parameters of `glagt`.

    Raises:
        InputError: the kernels of this kind are no orthogonal system, or an age is negative or not finite.
    """
    t_T = _ages(kind, order, ages_T, glagt)
    table: dict[str, Callable[[], F64]] = {
        "legs": lambda: _legendre(order, 2 * np.exp(-t_T) - 1),
        "legsd": lambda: _legendre(order, 2 * np.exp(-t_T) - 1),
        "legt": lambda: _legendre(order, 1 - 2 * t_T),
        "legt_halved": lambda: _legendre(order, 1 - t_T),
        "lmu": lambda: _legendre(order, 2 * t_T - 1) / np.sqrt(2 * np.arange(order) + 1)[:, None],
        "lagt": lambda: np.exp(-t_T / 2) * _laguerre(order, t_T, 0.0),
        "glagt": lambda: _glagt_functions(order, t_T, glagt or Glagt()),
        "fout": lambda: _fourier(order, t_T),
        "fout_halved": lambda: _fourier(order, t_T / 2),
    }
    if kind not in table:
        raise InputError(
            f"{kind} is no orthogonal system, so its state cannot be read back; expected {', '.join(table)}"
        )
    return table[kind]()


def _ages(kind: str, order: int, ages_T: ArrayLike, glagt: Glagt | None) -> F64:
    transition(kind, order, glagt=glagt)  # refuses a kind, an order or parameters that do not fit
    t_T = np.asarray(ages_T, dtype=np.float64)
    if t_T.ndim != 1 or not np.all(np.isfinite(t_T)) or np.any(t_T < 0):
        raise InputError(f"ages have shape {t_T.shape} or values below 0 or not finite; expected (T,) of numbers >= 0")
    return t_T


def _legendre(order: int, x_T: F64) -> F64:
    """sqrt(2n + 1) P_n(x)."""
    scale_N = np.sqrt(2.0 * np.arange(order) + 1)
    values_TN = np.polynomial.legendre.legvander(x_T, order - 1)
    return (scale_N[:, None] * values_TN.T).astype(np.float64)


def _laguerre(order: int, t_T: F64, alpha: float) -> F64:
    """L_n^alpha(t), by the recurrence in n."""
    rows = [np.ones_like(t_T), 1 + alpha - t_T]
    for n in range(1, order - 1):
        rows.append(((2 * n + 1 + alpha - t_T) * rows[n] - (n + alpha) * rows[n - 1]) / (n + 1))
    return np.stack(rows[:order])


def _laguerre_unit(order: int, t_T: F64, alpha: float) -> F64:
    """L_n^alpha(t) / sqrt(Gamma(n + alpha + 1) / n!): orthonormal for the weight t^alpha e^-t."""
    log_norm_N = np.array([math.lgamma(n + alpha + 1) - math.lgamma(n + 1) for n in range(order)])
    return _laguerre(order, t_T, alpha) * np.exp(-log_norm_N / 2)[:, None]


def _glagt_gain(parameters: Glagt) -> float:
    return parameters.beta ** ((1 - parameters.alpha) / 2) * math.exp(-math.lgamma(1 - parameters.alpha) / 2)


def _glagt_functions(order: int, t_T: F64, parameters: Glagt) -> F64:
    """The state holds the Laguerre coefficients of u(t) t^-alpha e^((1 - beta) t / 2); this undoes the factor."""
    alpha, beta = parameters.alpha, parameters.beta
    if alpha < 0 and np.any(t_T == 0):
        raise InputError(f"glagt with alpha {alpha} has no value at age 0; ask for ages above 0")
    undo_T = t_T**alpha * np.exp(-(1 - beta) * t_T / 2) / _glagt_gain(parameters)
    return undo_T * _laguerre_unit(order, t_T, alpha)


def _fourier(order: int, t_T: F64) -> F64:
    """1, 0, sqrt2 cos 2 pi t, sqrt2 sin 2 pi t, sqrt2 cos 4 pi t, ..."""
    turn_KT = 2 * np.pi * np.arange(order // 2)[:, None] * t_T
    out_NT = np.sqrt(2) * np.stack([np.cos(turn_KT), np.sin(turn_KT)], axis=1).reshape(order, t_T.size)
    out_NT[0] = 1
    return out_NT

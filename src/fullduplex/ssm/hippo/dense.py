"""Dense linear systems in discrete time: the matrix exponential and the two rules of discretisation, in float64.

Axes: N state size.
"""

import math

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import System

__all__ = ["discretise_dense", "expm"]

F64 = NDArray[np.float64]

_TAYLOR_TERMS = 18  # with a norm of at most 1/2 the rest is below 1e-22


def expm(a_NN: F64) -> F64:
    """e^A by scaling and squaring.

    Args:
        a_NN: any real square matrix of finite numbers.

    Raises:
        InputError: not square, or not finite.
    """
    a_NN = np.asarray(a_NN, dtype=np.float64)
    if a_NN.ndim != 2 or a_NN.shape[0] != a_NN.shape[1] or not np.all(np.isfinite(a_NN)):
        raise InputError(f"expm got a matrix of shape {a_NN.shape}; expected a square one of finite numbers")
    norm = float(np.abs(a_NN).sum(0).max(initial=0.0))
    halvings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 else 0
    scaled_NN, eye_NN = a_NN / 2**halvings, np.eye(a_NN.shape[0])
    out_NN = eye_NN
    for term in range(_TAYLOR_TERMS, 0, -1):
        out_NN = eye_NN + scaled_NN @ out_NN / term
    for _ in range(halvings):
        out_NN = out_NN @ out_NN
    return out_NN


def discretise_dense(system: System, step: float, rule: str = "zoh") -> System:
    """x_k = A' x_{k-1} + B' u_k, one step of length `step`.

    Args:
        system: x' = A x + B u.
        step: > 0, in the time of the matrices.
        rule: `"zoh"` (the input holds still during a step) or `"bilinear"` (the trapezium rule).

    Raises:
        InputError: an unknown rule, or a step that is not a positive number.
    """
    if not 0 < step < math.inf:
        raise InputError(f"got a step of {step}; expected a number > 0")
    order = system.b_N.size
    if rule == "zoh":
        # e^((A B; 0 0) s) = (A' B'; 0 1): no inverse of A is needed, which may not exist.
        both = np.zeros((order + 1, order + 1))
        both[:order, :order], both[:order, order] = system.a_NN, system.b_N
        both = expm(both * step)
        return System(a_NN=both[:order, :order], b_N=both[:order, order])
    if rule == "bilinear":
        half_NN, eye_NN = system.a_NN * step / 2, np.eye(order)
        solved = np.linalg.solve(eye_NN - half_NN, np.column_stack([eye_NN + half_NN, step * system.b_N]))
        solved = solved.astype(np.float64)
        return System(a_NN=solved[:, :order], b_N=solved[:, order])
    raise InputError(f"no discretisation {rule!r}; expected 'zoh' or 'bilinear'")

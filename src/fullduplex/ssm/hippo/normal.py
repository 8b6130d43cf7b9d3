"""The normal part of a HiPPO matrix, and its spectrum.

Axes: N state size, M = N / 2 one eigenvalue of each conjugate pair, R rank of the correction.

A + P P^T = c I + S with S skew, so -i S is Hermitian and is diagonalised as such, in float64: orthonormal eigenvectors
and exactly equal real parts. `eig(A)` is never taken: at N = 64 the eigenvectors of `legs` have a condition number
above 1e20.

For `legs` the imaginary parts also solve an equation without a matrix (`legs_frequencies`), which is the oracle of the
tests and the exact form of what arXiv 2206.11893 approximates by its S4D-Inv.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import correction, transition

__all__ = ["Spectrum", "legs_frequencies", "spectrum"]

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """A = V (Lambda - p p^H) V^H restricted to the eigenvalues of positive frequency.

    Args:
        eigenvalues_M: Lambda, frequencies rising.
        b_M: V^H B.
        p_MR: V^H P.
        v_NM: eigenvectors as columns, orthonormal.
    """

    eigenvalues_M: C128
    b_M: C128
    p_MR: C128
    v_NM: C128


def spectrum(kind: str, order: int) -> Spectrum:
    """Diagonalise the normal part of a family; outputs are read as twice the real part.

    Args:
        kind: a family with a low-rank correction.
        order: even state size N; half of it are modes.

    Raises:
        InputError: an odd state size, or no correction for this kind.
    """
    if order % 2:
        raise InputError(f"{kind} got a state size of {order}; expected an even one, because modes come in pairs")
    system, p_NR = transition(kind, order), correction(kind, order)
    normal_NN = system.a_NN + p_NR @ p_NR.T
    skew_NN = (normal_NN - normal_NN.T) / 2
    solved = np.linalg.eigh(-1j * skew_NN)
    frequencies_N, v_NN = solved[0].astype(np.float64), solved[1].astype(np.complex128)
    # eigh sorts upwards and a skew matrix has +-w: the upper half is one of each pair.
    half = slice(order // 2, order)
    w_M, v_NM = frequencies_N[half], v_NN[:, half]
    if w_M[0] <= 1e-9 * max(float(w_M[-1]), 1.0):
        # A Fourier family stands still in a plane, of which eigh gives any two vectors.
        plane_N2 = v_NN[:, order // 2 - 1 : order // 2 + 1]
        real_N2 = np.linalg.svd(np.hstack([plane_N2.real, plane_N2.imag]))[0][:, :2]
        w_M[0], v_NM[:, 0] = 0.0, (real_N2[:, 0] - 1j * real_N2[:, 1]) / math.sqrt(2)
    real = float(np.mean(np.diag(normal_NN)))
    return Spectrum(
        eigenvalues_M=(real + 1j * w_M).astype(np.complex128),
        b_M=v_NM.conj().T @ system.b_N,
        p_MR=v_NM.conj().T @ p_NR,
        v_NM=v_NM,
    )


def legs_frequencies(order: int) -> F64:
    """Imaginary parts of the eigenvalues of the normal part of `legs`, rising, without a matrix.

    They are the solutions w > 0 of sum_{j=1..N} arctan(w / (j - 1/2)) = (k + 1/2) pi, k = 0 ... N/2 - 1, found by
    bisection: the left side only rises.

    Raises:
        InputError: an odd or non-positive state size.
    """
    if order < 2 or order % 2:
        raise InputError(f"legs_frequencies got a state size of {order}; expected an even one >= 2")
    poles_N = np.arange(1, order + 1) - 0.5
    target_M = (np.arange(order // 2) + 0.5) * math.pi
    low_M, high_M = np.zeros(order // 2), np.full(order // 2, float(order**2))
    for _ in range(200):
        middle_M = (low_M + high_M) / 2
        above_M = np.arctan(middle_M[:, None] / poles_N).sum(1) > target_M
        low_M, high_M = np.where(above_M, low_M, middle_M), np.where(above_M, middle_M, high_M)
    return (low_M + high_M) / 2

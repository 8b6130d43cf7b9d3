"""A HiPPO memory in O(N) a step: the bilinear rule on a diagonal plus a low rank.

Axes: M = N / 2 modes, one of each conjugate pair, R rank of the correction.

With A = V (Lambda - p p^H) V^H (`fullduplex.ssm.hippo.normal`) both halves of the bilinear rule stay cheap:

    (2/s + A) x + 2 B u      = e x - p (p^H x) + 2 b u,        e = 2/s + lambda
    (2/s - A)^-1 v           = d (v - p (1 + p^H d p)^-1 p^H d v),   d = 1 / (2/s - lambda)

(the matrix inversion lemma; Gu, Goel, Ré, arXiv 2111.00396, appendix C). Sums over all N modes are twice the real part
of sums over M, because the other half is the conjugate.
"""

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.hippo.timescale import Timescale

__all__ = ["LowRankMemory"]

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]


class LowRankMemory:
    """The numbers of `fullduplex.ssm.hippo.memory.Memory` with `rule="bilinear"`, for large N.

    The state is z_M, the state of the matrices seen from their eigenvectors; `to_state` turns it back.

    Args:
        timescale: what to remember and how far back.
        order: even state size N.

    Raises:
        InputError: an odd state size, or a family with no low-rank correction.
    """

    def __init__(self, timescale: Timescale, order: int) -> None:
        normal = spectrum(timescale.kind, order)
        self.timescale, self.order = timescale, order
        self._v_NM = normal.v_NM
        self._b_M, self._p_MR = 2 * normal.b_M, normal.p_MR
        self._e_M = 2 / timescale.step + normal.eigenvalues_M
        self._d_M = 1 / (2 / timescale.step - normal.eigenvalues_M)
        rank = normal.p_MR.shape[1]
        inner_RR = 2 * (normal.p_MR.conj().T @ (self._d_M[:, None] * normal.p_MR)).real
        self._solve_RM = 2 * np.linalg.solve(np.eye(rank) + inner_RR, (self._d_M[:, None] * normal.p_MR.conj()).T)

    def init(self) -> C128:
        """Nothing heard yet."""
        return np.zeros(self._b_M.size, dtype=np.complex128)

    def step(self, sample: float, z_M: C128) -> C128:
        """One sample later.

        Raises:
            InputError: a state of another size.
        """
        if z_M.shape != self._b_M.shape:
            raise InputError(f"got a state of shape {z_M.shape}; expected {self._b_M.shape}, see init()")
        v_M = self._e_M * z_M - self._p_MR @ (2 * (self._p_MR.conj().T @ z_M).real) + self._b_M * sample
        return self._d_M * (v_M - self._p_MR @ (self._solve_RM @ v_M).real)

    def to_state(self, z_M: C128) -> F64:
        """x_N, the state of the matrices."""
        return 2 * (self._v_NM @ z_M).real

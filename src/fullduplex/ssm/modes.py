"""Where the modes of a diagonal state space start: the seven initialisations of S4D, and the two of PTD.

Axes: M = N / 2 modes, one of each conjugate pair, n = 0 ... M - 1; M is a little more for PTD, see there.

    legs    eigenvalues of the normal part of HiPPO-LegS, with its B / 2
    inv     -1/2 + i N/pi (N/(2n+1) - 1)      equation 8: the asymptotics of `legs`
    inv2    -1/2 + i N/pi (N/(n+1) - 1)       the same without the 2
    lin     -1/2 + i pi n                     equation 9: decaying Fourier
    quad    -1/2 + i (1+2n)^2 / pi
    real    -(n+1)                            no turning at all
    rand    -1/2 + i e^g, g normal
    ptd     eigenvalues of HiPPO-LegS, perturbed as little as makes it diagonalisable (arXiv 2310.01698): S4-PTD
    ptd-random    the same with a perturbation that is drawn instead of searched for: the control

Source: Gu, Gupta, Goel, Ré, "On the Parameterization and Initialization of Diagonal State Space Models"
(arXiv 2206.11893), section 4; `rand` as in its reference code. That code starts `legs` with B instead of the B / 2 of
theorem 3; C absorbs the difference.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.normal import spectrum
from fullduplex.ssm.ptd.start import perturbed_modes

__all__ = ["Start", "modes"]

C128 = NDArray[np.complex128]
Start = Literal["legs", "inv", "inv2", "lin", "quad", "real", "rand", "ptd", "ptd-random"]


def modes(start: Start, order: int, *, seed: int = 0) -> tuple[C128, C128]:
    """a_M and b_M, modes and how the input enters them.

    Args:
        start: one of the nine names.
        order: even state size N >= 2, counted in real numbers: N / 2 modes.
        seed: of `rand`; the others are the same for every seed.

    Raises:
        InputError: an unknown name, or a state size that is odd or below 2.
    """
    if order < 2 or order % 2:
        raise InputError(f"a diagonal state space got a state size of {order}; expected an even number >= 2")
    if start not in get_args(Start):
        raise InputError(f"no initialisation {start!r}; expected one of {', '.join(get_args(Start))}")
    n_M = np.arange(order // 2)
    ones_M = np.ones(order // 2, dtype=np.complex128)
    if start in ("ptd", "ptd-random"):
        return perturbed_modes(order, "optimised" if start == "ptd" else "random")
    if start == "legs":
        normal = spectrum("legs", order)
        return normal.eigenvalues_M, normal.b_M / 2
    if start == "real":
        return -(n_M + 1.0) * ones_M, ones_M
    frequencies = {
        "inv": order / np.pi * (order / (2 * n_M + 1) - 1),
        "inv2": order / np.pi * (order / (n_M + 1) - 1),
        "lin": np.pi * n_M,
        "quad": (1 + 2.0 * n_M) ** 2 / np.pi,
        "rand": np.exp(np.random.default_rng(seed).standard_normal(order // 2)),
    }
    return -0.5 + 1j * frequencies[start], ones_M

"""Where a diagonal state space answers what its HiPPO matrix would not: the spike, for each discretisation.

Axes: M modes, one of each conjugate pair; F angles, radians a sample, 0 to pi.

Without its low-rank part `legs` has a spike of height 2/pi at the frequency w* near N^2 / pi (arXiv 2310.01698,
theorem 2). Sampled, the spike sits at an angle a tone can have:

    zoh         w* Delta, folded into 0 ... pi (aliased)         bilinear     2 atan(w* Delta / 2), and lower: warped

so where to look, and whether there is anything to see, depends on step and rule.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.normal import legs_frequencies, spectrum

__all__ = ["Spike", "discrete_modes", "gain_of_legs", "gain_of_modes", "spike_angle", "spike_of_legs"]

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]

_RULES = ("zoh", "bilinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """One tone, and how loud it comes out of the first number of the state.

    Args:
        angle: radians a sample.
        gain_diagonal: of S4D-LegS, which drops the low-rank part.
        gain_legs: of `legs` itself.
    """

    angle: float
    gain_diagonal: float
    gain_legs: float


def spike_angle(order: int, step: float, rule: str) -> float:
    """Where the spike of S4D-LegS lands, in radians a sample.

    Raises:
        InputError: an unknown rule, an odd order, or a step that is not positive.
    """
    turn = float(legs_frequencies(order)[-1]) * _positive(step)
    if rule == "bilinear":
        return 2 * math.atan(turn / 2)
    if rule != "zoh":
        raise InputError(f"no discretisation {rule!r}; expected one of {', '.join(_RULES)}")
    turn = math.fmod(turn, 2 * math.pi)
    return min(turn, 2 * math.pi - turn)


def spike_of_legs(order: int, step: float, rule: str) -> Spike:
    """The spike as a tone of that angle meets it; refined on a grid around the resonance.

    Raises:
        InputError: as `spike_angle`.
    """
    centre = spike_angle(order, step, rule)
    angles_F = np.clip(centre + np.linspace(-3, 3, 121) * step, 0.0, math.pi)
    half = spectrum("legs", order)
    modes = discrete_modes(half.eigenvalues_M, half.b_M / 2, step, rule)
    diagonal_F = gain_of_modes(*modes, half.v_NM[0], angles_F)
    loudest = int(np.argmax(diagonal_F))
    legs_F = gain_of_legs(order, step, rule, angles_F[loudest : loudest + 1])
    return Spike(angle=float(angles_F[loudest]), gain_diagonal=float(diagonal_F[loudest]), gain_legs=float(legs_F[0]))


def discrete_modes(a_M: C128, b_M: C128, step: float, rule: str) -> tuple[C128, C128]:
    """a' and b' of one step, as `fullduplex.kernels.discretise`, in NumPy.

    Raises:
        InputError: an unknown rule, or a step that is not positive.
    """
    turn_M = a_M * _positive(step)
    if rule == "bilinear":
        return (1 + turn_M / 2) / (1 - turn_M / 2), step * b_M / (1 - turn_M / 2)
    if rule != "zoh":
        raise InputError(f"no discretisation {rule!r}; expected one of {', '.join(_RULES)}")
    still = np.abs(turn_M) < 1e-8
    growth_M = np.where(still, 1 + turn_M / 2, np.expm1(turn_M) / np.where(still, 1, turn_M))
    return np.exp(turn_M), step * b_M * growth_M


def gain_of_modes(a_M: C128, b_M: C128, c_M: ArrayLike, angles_F: ArrayLike) -> F64:
    """|H(e^iθ)| of a discrete diagonal system that is read as twice the real part."""
    back_F1 = np.exp(-1j * np.asarray(angles_F, dtype=np.float64))[:, None]
    weights_M = np.asarray(c_M) * b_M
    both_FM = weights_M / (1 - a_M * back_F1) + weights_M.conj() / (1 - a_M.conj() * back_F1)
    return np.abs(both_FM.sum(1))


def gain_of_legs(order: int, step: float, rule: str, angles_F: ArrayLike) -> F64:
    """|H(e^iθ)| from the input to the first number of `legs`, by dense algebra."""
    system = discretise_dense(transition("legs", order), step, rule)
    eye_NN = np.eye(order)
    angles = np.asarray(angles_F, dtype=np.float64)
    return np.array(
        [
            abs(np.linalg.solve(eye_NN - np.exp(-1j * angle) * system.a_NN, system.b_N.astype(complex))[0])
            for angle in angles
        ]
    )


def _positive(step: float) -> float:
    if not 0 < step < math.inf:
        raise InputError(f"got a step of {step}; expected a number > 0")
    return step

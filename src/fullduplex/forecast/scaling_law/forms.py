"""The shapes a law may have, as curves with derivatives.

`log`: the logarithm of a positive loss is fitted, so a relative error counts the same at every size. `linear`: the loss
itself is fitted, which may be below 0; a likelihood in nats moves by a constant when the data change their unit, and only
a law with an offset of its own, fitted so, keeps its exponent then.

Axes: R problems, N points, K parameters. u is log x less its mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.forecast.scaling_law.robust import Curve

__all__ = ["FORMS", "Form", "additive", "linear_offset"]

_EXPONENTS = (0.03, 0.1, 0.3, 0.8, 2.0)  # where a search begins
_FLOORS = (0.1, 0.5, 0.9, 0.99)  # share of the smallest loss that the offset begins at


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One shape.

    Args:
        name: `"constant"`, `"power"` or `"offset"`.
        text: as a formula.
        offset: whether there is an irreducible part E.
        powers: how many powers there are, 0 or 1.
    """

    name: str
    text: str
    offset: bool
    powers: int

    @property
    def num_parameters(self) -> int:
        """K: E, and a factor and an exponent for the power."""
        return int(self.offset) + 2 * self.powers


FORMS = (
    Form(name="constant", text="E", offset=True, powers=0),
    Form(name="power", text="(x0 / x)^a", offset=False, powers=1),
    Form(name="offset", text="E + A x^-a", offset=True, powers=1),
)


def additive(u_NJ: Float64Array, *, offset: bool) -> Curve:
    """log(E + sum over j of exp(b_j - a_j u_j)); parameters (log E,) if any, then b_j, a_j for every power j."""

    def curve(theta_RK: Float64Array) -> tuple[Float64Array, Float64Array]:
        first = int(offset)
        b_RJ, a_RJ = theta_RK[:, first::2], theta_RK[:, first + 1 :: 2]
        terms = b_RJ[:, None, :] - a_RJ[:, None, :] * u_NJ
        if offset:
            terms = np.concatenate([np.broadcast_to(theta_RK[:, :1, None], (*terms.shape[:2], 1)), terms], axis=2)
        top = terms.max(axis=2, keepdims=True)
        share = np.exp(terms - top)
        total = share.sum(axis=2, keepdims=True)
        made_RN, share = (top + np.log(total))[..., 0], share / total
        slope_RNK = np.empty((*made_RN.shape, theta_RK.shape[1]))
        if offset:
            slope_RNK[..., 0] = share[..., 0]
        slope_RNK[..., first::2] = share[..., first:]
        slope_RNK[..., first + 1 :: 2] = -share[..., first:] * u_NJ
        return made_RN, slope_RNK

    return curve


def linear_offset(u_N: Float64Array, *, powers: int) -> Curve:
    """E + exp(b - a u), or E alone, of the loss itself; parameters E, b, a."""

    def curve(theta_RK: Float64Array) -> tuple[Float64Array, Float64Array]:
        made_RN = np.repeat(theta_RK[:, :1], u_N.size, axis=1)
        slope_RNK = np.ones((*made_RN.shape, theta_RK.shape[1]))
        if powers:
            part_RN = np.exp(np.clip(theta_RK[:, 1:2] - theta_RK[:, 2:3] * u_N, -700, 700))
            made_RN = made_RN + part_RN
            slope_RNK[..., 1], slope_RNK[..., 2] = part_RN, -part_RN * u_N
        return made_RN, slope_RNK

    return curve


def starts(form: Form, y_N: Float64Array, *, logarithmic: bool) -> Float64Array:
    """Where the search for `form` begins, shape (R, K), from observations as they are fitted."""
    middle, span = float(np.median(y_N)), float(np.ptp(y_N)) or 1e-6
    if not form.powers:
        return np.array([[middle]])
    if not form.offset:
        return np.array([[middle, a] for a in _EXPONENTS])
    if logarithmic:
        least, centre = float(np.exp(y_N.min())), float(np.exp(middle))
        pairs = [(np.log(share * least), np.log(max(centre - share * least, 1e-3 * centre))) for share in _FLOORS]
    else:
        pairs = [
            (y_N.min() - share * span, np.log(max(middle - y_N.min() + share * span, 1e-300))) for share in _FLOORS
        ]
    return np.array([[e, b, a] for e, b in pairs for a in _EXPONENTS])


def powers_starts(y_N: Float64Array, exponents: Sequence[float] = (0.05, 0.2, 0.6)) -> Float64Array:
    """Where the search for a law of two powers and an offset begins, shape (R, 5)."""
    least, centre = float(np.exp(y_N.min())), float(np.exp(np.median(y_N)))
    rows = []
    for share in (0.1, 0.7, 0.97):
        part = np.log(max(centre - share * least, 1e-3 * centre) / 2)
        rows += [[np.log(share * least), part, a, part, b] for a in exponents for b in exponents]
    return np.array(rows)

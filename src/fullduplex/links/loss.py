"""Loss in decibels, and the two capacities of pure loss, down to transmissivity 1e-300 and up to 1.

Loss adds along a path, so decibels are what the rest of this package computes with. A transmissivity eta is
10^(-loss_db / 10). Near eta = 0 the textbook `-log2(1 - eta)` rounds to 0 below 1.1e-16, and near eta = 1 a stored eta
has lost what matters; both capacities are therefore computed from x = -ln(eta) with log1p and expm1.

Two-way: Pirandola, Laurenza, Ottaviani, Banchi (2017), -log2(1 - eta). One-way: Wolf, Pérez-García, Giedke (2007),
max(0, log2(eta / (1 - eta))).
"""

import math
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.links.rates import Strategy

__all__ = [
    "FIBRE_DB_PER_KM",
    "capacity_from_db",
    "capacity_of_transmissivity",
    "checked_loss_db",
    "checked_probability",
    "loss_db_for_rate",
    "loss_db_from_transmissivity",
    "lost_fraction",
    "transmissivity_from_db",
]

FIBRE_DB_PER_KM = 0.2  # standard telecom fibre at 1550 nm

_LN2 = math.log(2)
_NEPERS_PER_DB = math.log(10) / 10
# eta = 1/2 written in decibels is not exactly 1/2; within rounding of it the one-way capacity is 0.
_ONE_WAY_END = _LN2 * (1 - 4 * np.finfo(np.float64).eps)


def checked_loss_db(loss_db: float, name: str = "loss_db") -> float:
    """`loss_db` as a float in [0, inf]; infinite loss is a cut link.

    Raises: InputError for NaN, a negative loss or something that is no number.
    """
    if isinstance(loss_db, bool) or not isinstance(loss_db, int | float | np.floating | np.integer):
        raise InputError(f"{name} is {loss_db!r}; expected a number of decibels, 0 or more")
    if not loss_db >= 0:
        raise InputError(f"{name} is {loss_db}; expected decibels of loss, 0 (none) to inf (cut)")
    return float(loss_db)


def checked_probability(value: float, name: str) -> float:
    """`value` as a float in [0, 1].

    Raises: InputError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InputError(f"{name} is {value!r}; expected a number from 0 to 1")
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value}; expected a number from 0 to 1")
    return float(value)


def loss_db_from_transmissivity(transmissivity: float) -> float:
    """Decibels of a transmissivity in [0, 1]; 0 gives inf.

    Raises: InputError outside [0, 1].
    """
    eta = checked_probability(transmissivity, "transmissivity")
    return math.inf if eta == 0 else -10 * math.log10(eta) + 0.0


def transmissivity_from_db(loss_db: float) -> float:
    """Transmissivity of a loss in decibels.

    Raises: InputError for a negative loss or NaN.
    """
    return math.exp(-checked_loss_db(loss_db) * _NEPERS_PER_DB)


def lost_fraction(loss_db: float) -> float:
    """1 - eta, exact where eta itself rounds to 1.

    Raises: InputError for a negative loss or NaN.
    """
    return -math.expm1(-checked_loss_db(loss_db) * _NEPERS_PER_DB)


def _refuse_outside(values: Float64Array, low: float, high: float, name: str) -> None:
    inside = (values >= low) & (values <= high)
    if not inside.all():
        raise InputError(f"{name} holds {values[~inside].flat[0]}; expected values from {low:g} to {high:g}")


def _two_way(eta: Float64Array, x: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore"):
        near_one = -np.log(-np.expm1(-np.minimum(x, _LN2)))
        near_zero = -np.log1p(-np.minimum(eta, 0.5))
    # 0.0 is added to turn the -0.0 of a cut link into 0.0.
    return cast("Float64Array", np.where(x < _LN2, near_one, near_zero) / _LN2 + 0.0)


def _one_way(x: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore"):
        bits = (-np.minimum(x, _LN2) - np.log(-np.expm1(-np.minimum(x, _LN2)))) / _LN2
    return cast("Float64Array", np.where(x >= _ONE_WAY_END, 0.0, np.maximum(bits, 0.0)))


def capacity_from_db(loss_db: ArrayLike, strategy: Strategy = "two-way") -> Float64Array:
    """Exact capacity of pure loss.

    Args:
        loss_db: any shape, 0 to inf.
        strategy: "two-way" gives -log2(1 - eta), "one-way" max(0, log2(eta / (1 - eta))).

    Returns: bits per use, the shape of `loss_db`; inf at 0 dB, 0 at inf dB.

    Raises: InputError for NaN, a negative loss, or an unknown strategy.
    """
    loss = np.asarray(loss_db, dtype=np.float64)
    _refuse_outside(loss, 0.0, math.inf, "loss_db")
    x = loss * _NEPERS_PER_DB
    return _by_strategy(np.exp(-x), x, strategy)


def capacity_of_transmissivity(transmissivity: ArrayLike, strategy: Strategy = "two-way") -> Float64Array:
    """`capacity_from_db` for transmissivities, exact from 1e-300 to 1.

    Raises: InputError outside [0, 1], for NaN, or for an unknown strategy.
    """
    eta = np.asarray(transmissivity, dtype=np.float64)
    _refuse_outside(eta, 0.0, 1.0, "transmissivity")
    with np.errstate(divide="ignore"):
        x = np.where(eta > 0.5, -np.log1p(eta - 1), -np.log(eta))
    return _by_strategy(eta, x, strategy)


def _by_strategy(eta: Float64Array, x: Float64Array, strategy: Strategy) -> Float64Array:
    if strategy == "two-way":
        return _two_way(eta, x)
    if strategy == "one-way":
        return _one_way(x)
    raise InputError(f"strategy is {strategy!r}; expected 'two-way' or 'one-way'")


def loss_db_for_rate(bits_per_use: float, strategy: Strategy = "two-way") -> float:
    """The most loss at which pure loss still has this capacity: the inverse of `capacity_from_db`.

    Args:
        bits_per_use: the target, above 0.

    Returns: decibels.

    Raises: InputError when the target is not a positive finite number.
    """
    if not 0 < bits_per_use < math.inf:
        raise InputError(f"bits_per_use is {bits_per_use}; expected a finite target above 0")
    if strategy == "two-way":
        # eta = 1 - 2^-R; beyond one bit the complement 2^-R is the accurate side.
        lost = math.exp2(-bits_per_use)
        minus_ln_eta = -math.log(-math.expm1(-bits_per_use * _LN2)) if lost > 0.5 else -math.log1p(-lost)
    elif strategy == "one-way":
        minus_ln_eta = math.log1p(math.exp2(-bits_per_use))
    else:
        raise InputError(f"strategy is {strategy!r}; expected 'two-way' or 'one-way'")
    return minus_ln_eta / _NEPERS_PER_DB

"""From x' = a x + b u to x_k = a' x_{k-1} + b' u_k, for diagonal systems and any step.

    zoh:         a' = e^(s a),              b' = b (e^(s a) - 1) / a         the input holds still during a step
    bilinear:    a' = (1 + s a/2)/(1 - s a/2),  b' = s b / (1 - s a/2)        the trapezium rule

(arXiv 2206.11893, section 2; 2111.00396, section 2.3.) The quotient of `zoh` is computed through expm1 and a series
near zero, so a mode that stands still (a = 0) and a step of 1e-8 are exact rather than NaN.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from fullduplex.base.errors import InputError

__all__ = ["Rule", "discretise"]

Rule = Literal["zoh", "bilinear"]

_NEAR_ZERO = 1e-4


def discretise(a_XN: Tensor, b_XN: Tensor, step_X: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """The discrete system of one step.

    Args:
        a_XN: modes, complex.
        b_XN: how the input enters each mode, complex.
        step_X: length of a step > 0, real; one for each leading index of `a_XN`.
        rule: `"zoh"` or `"bilinear"`.

    Returns:
        a', b', both of the shape of `a_XN`.

    Raises:
        InputError: an unknown rule.
    """
    if rule not in get_args(Rule):
        raise InputError(f"no discretisation {rule!r}; expected one of {', '.join(get_args(Rule))}")
    turn_XN = a_XN * step_X.unsqueeze(-1)
    if rule == "bilinear":
        denominator_XN = 1 - turn_XN / 2
        return (1 + turn_XN / 2) / denominator_XN, step_X.unsqueeze(-1) * b_XN / denominator_XN
    return torch.exp(turn_XN), step_X.unsqueeze(-1) * b_XN * _mean_growth(turn_XN)


def _mean_growth(z: Tensor) -> Tensor:
    """(e^z - 1) / z, with its limit 1 at zero."""
    small = z.abs() < _NEAR_ZERO
    # The branch that is not taken must not divide by zero either: its gradient would be NaN times zero.
    safe = torch.where(small, torch.ones_like(z), z)
    series = 1 + z / 2 * (1 + z / 3 * (1 + z / 4))
    return torch.where(small, series, torch.expm1(safe) / safe)

"""How a free parameter becomes the real part of a mode, which must stay below zero while the layer learns.

    exp        Re a = -e^r              relu      Re a = -max(r, 0) - 1e-4
    softplus   Re a = -log(1 + e^r)     sigmoid   Re a = -1 / (1 + e^-r), so never below -1
    none       Re a = r                 nothing keeps it negative

Source: arXiv 2206.11893, section 3.3 and its ablation of the real part.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from fullduplex.base.errors import InputError

__all__ = ["Decay", "decay_from_free", "free_from_decay"]

Decay = Literal["exp", "relu", "softplus", "sigmoid", "none"]

_RELU_FLOOR = 1e-4


def decay_from_free(free: Tensor, kind: Decay) -> Tensor:
    """The real parts, from any parameter values."""
    if kind == "exp":
        return -torch.exp(free)
    if kind == "relu":
        return -functional.relu(free) - _RELU_FLOOR
    if kind == "softplus":
        return -functional.softplus(free)
    return -torch.sigmoid(free) if kind == "sigmoid" else free


def free_from_decay(decay: Tensor, kind: Decay) -> Tensor:
    """The parameter values that give these real parts.

    Args:
        decay: real parts < 0.
        kind: one of the five names.

    Raises:
        InputError: an unknown name, or a real part this kind cannot give.
    """
    if kind not in get_args(Decay):
        raise InputError(f"no transform {kind!r} of the real part; expected one of {', '.join(get_args(Decay))}")
    lowest, highest = (-1.0, 0.0) if kind == "sigmoid" else (-math.inf, -_RELU_FLOOR if kind == "relu" else 0.0)
    if not bool(((decay > lowest) & (decay < highest)).all()):
        span = f"{decay.min().item():g} to {decay.max().item():g}"
        raise InputError(f"{kind} got real parts of {span}; expected them between {lowest:g} and {highest:g}")
    if kind == "exp":
        return torch.log(-decay)
    if kind == "relu":
        return -decay - _RELU_FLOOR
    if kind == "softplus":
        return torch.log(torch.expm1(-decay))
    return torch.logit(-decay) if kind == "sigmoid" else decay.clone()

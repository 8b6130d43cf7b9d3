"""The modes S4-PTD and S5-PTD start from: `legs`, perturbed and diagonalised."""

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.ptd.cache import cached_ptd
from fullduplex.ssm.ptd.perturb import Ptd, PtdConfig

__all__ = ["SLOWEST", "perturbed_legs", "perturbed_modes"]

C128 = NDArray[np.complex128]

SLOWEST = -0.5  # real part of the normal part of `legs`: no mode may fade more slowly than those of S4D


def perturbed_legs(order: int, method: Literal["optimised", "random"] = "optimised", *, seed: int = 0) -> Ptd:
    """`legs` with a perturbation of the given kind, from the cache where it was made before.

    The random control is shrunk until its eigenvalues are where they may be: large draws are unstable. Twelve
    halvings from 3 % reach any size of interest.

    Args:
        order: state size N >= 1.
        method: the paper's search, or its control.
        seed: of the draw.

    Raises:
        InputError: an order below 1.
    """
    a_NN = transition("legs", order).a_NN
    config = PtdConfig(method=method, seed=seed, abscissa=SLOWEST)
    if method == "optimised":
        return cached_ptd(a_NN, config)
    for _ in range(12):
        free = cached_ptd(a_NN, dataclasses.replace(config, abscissa=None))
        if free.report.abscissa <= SLOWEST:
            break
        config = dataclasses.replace(config, size=config.size / 2)
    return cached_ptd(a_NN, config)


def perturbed_modes(
    order: int, method: Literal["optimised", "random"] = "optimised", *, seed: int = 0
) -> tuple[C128, C128]:
    """a_M and b_M for a layer that reads twice the real part; M is N / 2 and half the number of real eigenvalues."""
    values_M, b_M, _ = perturbed_legs(order, method, seed=seed).modes(transition("legs", order).b_N)
    return values_M, b_M

"""Where S4 starts: a HiPPO family, diagonal plus low rank, or several families side by side.

Axes: D channels, M = N / 2 modes, one of each conjugate pair, R rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import correction, family
from fullduplex.ssm.hippo.normal import spectrum

__all__ = ["DplrStart", "dplr_start"]

C128 = NDArray[np.complex128]

_SLOWEST = -1e-4  # without their low-rank part the windows do not fade at all; a parameter needs room below zero


@dataclass(frozen=True, slots=True, kw_only=True)
class DplrStart:
    """Lambda_DM, P_DMR and B_DM."""

    lambda_DM: C128
    p_DMR: C128
    b_DM: C128


def dplr_start(
    kinds: Sequence[str], width: int, order: int, *, rank: int | None = None, slowest: float = _SLOWEST
) -> DplrStart:
    """The numbers of `width` channels, the first share of the first family, and so on.

    Args:
        kinds: families of `fullduplex.ssm.hippo.families.KINDS` that have a correction; one, or several to mix.
        width: channels D, a multiple of the number of families.
        order: even state size N.
        rank: columns of P; None for as many as the neediest family has. More than needed are zero.
        slowest: largest real part of Lambda, <= 0; 0 keeps every family exact.

    Raises:
        InputError: no family, an unknown one or one without a correction, channels that cannot be shared out, a rank
            that is too small, or an odd state size.
    """
    if not kinds or width < 1 or width % len(kinds):
        raise InputError(
            f"got {width} channels for {len(kinds)} families {tuple(kinds)}; expected a positive multiple of their number"
        )
    needed = [family(kind).rank for kind in kinds]
    columns = max([1, *(each or 0 for each in needed)]) if rank is None else rank
    lambdas, ps, bs = [], [], []
    for kind in kinds:
        correction(kind, order, rank=columns)  # refuses a rank that is too small, and a family without a correction
        half = spectrum(kind, order)
        lambdas.append(np.minimum(half.eigenvalues_M.real, slowest) + 1j * half.eigenvalues_M.imag)
        ps.append(np.pad(half.p_MR, ((0, 0), (0, columns - half.p_MR.shape[1]))))
        bs.append(half.b_M)
    share = width // len(kinds)
    return DplrStart(
        lambda_DM=np.repeat(np.stack(lambdas), share, axis=0),
        p_DMR=np.repeat(np.stack(ps), share, axis=0),
        b_DM=np.repeat(np.stack(bs), share, axis=0),
    )

"""A state space that is diagonal plus low rank, and the one step of the bilinear rule through it.

Axes: D channels, M = N / 2 modes, one of each conjugate pair, R rank of the correction.

    x' = (Lambda - P P^H) x + B u,     y = 2 Re(C x)

The bilinear rule keeps the form: with d = 1 / (2/s - lambda) and k = (1 + P^H d P)^-1 one step is

    h_t = a h_{t-1} + b x_t - u Re(w h_{t-1}),   a = d (2/s + lambda),  u = d P,  w = 8/s k P^H d,  b = 2 d (B - P k P^H d B)

where sums over all N modes are twice the real part of sums over M. So a step costs O(N R), and the matrix of a step is
a turn of each mode less a matrix of rank R. The symmetric part of Lambda - P P^H is negative as long as the real parts
of Lambda are, so the step never lengthens a state, whatever the parameters become.

Sources: Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv 2111.00396), appendix C
(one factor less here, because 1 + a = 4 d / s).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dplr", "DplrStep", "dense_step", "one_step", "pair_from_real", "real_from_pair"]


@dataclass(frozen=True, slots=True)
class Dplr:
    """The continuous system: complex128, and a step length > 0 a channel."""

    lambda_DM: Tensor
    p_DMR: Tensor
    b_DM: Tensor
    c_DM: Tensor
    step_D: Tensor


@dataclass(frozen=True, slots=True)
class DplrStep:
    """The numbers of one step, complex."""

    a_DM: Tensor
    u_DMR: Tensor
    w_DRM: Tensor
    b_DM: Tensor
    c_DM: Tensor


def one_step(system: Dplr) -> DplrStep:
    """The bilinear rule, differentiable."""
    rate_D1 = 2 / system.step_D.unsqueeze(-1)
    d_DM = 1 / (rate_D1 - system.lambda_DM)
    u_DMR = d_DM.unsqueeze(-1) * system.p_DMR
    back_DRM = system.p_DMR.mH * d_DM.unsqueeze(-2)  # P^H d
    inner_DRR = 2 * (system.p_DMR.mH @ u_DMR).real
    eye_RR = torch.eye(inner_DRR.shape[-1], dtype=inner_DRR.dtype, device=inner_DRR.device)
    k_DRR = torch.linalg.inv(eye_RR + inner_DRR)
    heard_DR1 = 2 * (back_DRM @ system.b_DM.unsqueeze(-1)).real
    lost_DM = (u_DMR @ (k_DRR @ heard_DR1).to(u_DMR.dtype)).squeeze(-1)
    return DplrStep(
        a_DM=d_DM * (rate_D1 + system.lambda_DM),
        u_DMR=u_DMR,
        w_DRM=4 * rate_D1.unsqueeze(-1) * (k_DRR.to(back_DRM.dtype) @ back_DRM),
        b_DM=2 * (d_DM * system.b_DM - lost_DM),
        c_DM=system.c_DM,
    )


def dense_step(numbers: DplrStep) -> Tensor:
    """The matrix of one step on states written as real numbers, real parts first: (D, N, N)."""
    turn_DM2 = numbers.a_DM
    real_DMM, imag_DMM = torch.diag_embed(turn_DM2.real), torch.diag_embed(turn_DM2.imag)
    turn_DNN = torch.cat([torch.cat([real_DMM, -imag_DMM], -1), torch.cat([imag_DMM, real_DMM], -1)], -2)
    u_DNR = torch.cat([numbers.u_DMR.real, numbers.u_DMR.imag], dim=-2)
    w_DRN = torch.cat([numbers.w_DRM.real, -numbers.w_DRM.imag], dim=-1)
    return turn_DNN - u_DNR @ w_DRN


def real_from_pair(h_XM: Tensor) -> Tensor:
    """Complex modes as N real numbers, real parts first."""
    return torch.cat([h_XM.real, h_XM.imag], dim=-1)


def pair_from_real(h_XN: Tensor) -> Tensor:
    """The other way."""
    real_XM, imag_XM = h_XN.chunk(2, dim=-1)
    return torch.complex(real_XM.contiguous(), imag_XM.contiguous())

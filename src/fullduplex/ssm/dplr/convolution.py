"""The kernel of a diagonal-plus-low-rank system, exactly L long, by the Cauchy product of S4.

Axes: D channels, M modes, R rank, L steps, F = L/2 + 1 nodes.

The kernel's generating function has a closed form,

    K(z) = sum_{l<L} K_l z^l = C (1 - A'^L z^L) (1 - A' z)^-1 B'

and with A = Lambda - P P^H, alpha = 1 - z, beta = (1 + z)/2, mu = s Lambda the Woodbury identity turns it into

    K(z) = s S_cb - s^2 beta S_cP (1 + s beta S_PP)^-1 S_Pb,     S_vw = sum over modes of v w / (alpha - mu beta)

for any rank: four kinds of Cauchy sums (`fullduplex.kernels.cauchy`). The kernel is K at L nodes on a circle, turned
back by one FFT. Two things differ from the reference code. The nodes lie on a circle a little inside the unit circle, so a
mode that never fades (`fout`) is met at a distance of 1/L instead of none. And C (1 - A'^L z^L) is computed from C each time,
by log L squarings of the matrix of a step; the reference code stores it in place of C, so that its checkpoints are bound
to one length. The step is a contraction, so its powers are harmless.

Source: Gu, Goel, Ré (arXiv 2111.00396), theorem 3 and appendix C.
"""

import math

import torch
from torch import Tensor

from fullduplex.kernels.cauchy import cauchy_sums
from fullduplex.ssm.dplr.system import Dplr, DplrStep, dense_step, pair_from_real

__all__ = ["response", "response_ref"]


def response(system: Dplr, numbers: DplrStep, num_steps: int) -> Tensor:
    """K_DL = 2 Re(C A'^l B'), float64, differentiable.

    Args:
        system: the continuous system.
        numbers: `one_step(system)`, which the caller has anyway.
        num_steps: L >= 0.
    """
    width, rank = system.lambda_DM.shape[0], system.p_DMR.shape[-1]
    if num_steps == 0:
        return system.step_D.new_zeros(width, 0)
    # Every node is exp(-1/L) from the origin: the L-th power shrinks by e, and undoing it multiplies by e at most.
    radius = math.exp(-1 / num_steps)
    cut_DM = _cut(system.c_DM, numbers, num_steps)
    turns_F = torch.arange(num_steps // 2 + 1, device=cut_DM.device, dtype=torch.float64) * (-2 * math.pi / num_steps)
    z_F = torch.polar(torch.full_like(turns_F, radius), turns_F)
    alpha_F, beta_F = 1 - z_F, (1 + z_F) / 2
    left_DLM = torch.cat([cut_DM.unsqueeze(-2), system.p_DMR.mH], dim=-2)  # c~ and the rows of P^H
    right_DLM = torch.cat([system.b_DM.unsqueeze(-2), system.p_DMR.mT], dim=-2)  # b and the columns of P
    v_DKM = (left_DLM.unsqueeze(-2) * right_DLM.unsqueeze(-3)).flatten(-3, -2)
    mu_DM = system.step_D.unsqueeze(-1) * system.lambda_DM
    sums_DKF = cauchy_sums(torch.cat([v_DKM, v_DKM.conj()], -1), torch.cat([mu_DM, mu_DM.conj()], -1), alpha_F, beta_F)
    sums_DFLL = sums_DKF.movedim(-1, -2).unflatten(-1, (rank + 1, rank + 1)) * system.step_D[:, None, None, None]
    cb_DF, cp_DF1R = sums_DFLL[..., 0, 0], sums_DFLL[..., :1, 1:]
    pb_DFR1, pp_DFRR = sums_DFLL[..., 1:, :1], sums_DFLL[..., 1:, 1:]
    beta_F11 = beta_F[:, None, None]
    eye_RR = torch.eye(rank, dtype=pp_DFRR.dtype, device=pp_DFRR.device)
    if rank == 1:  # no solver needed, and most systems are of rank one
        bent_DFR1 = pb_DFR1 / (1 + beta_F11 * pp_DFRR)
    else:
        bent_DFR1 = torch.linalg.solve(eye_RR + beta_F11 * pp_DFRR, pb_DFR1)
    spectrum_DF = cb_DF - beta_F * (cp_DF1R @ bent_DFR1)[..., 0, 0]
    grow_L = radius ** -torch.arange(num_steps, dtype=torch.float64, device=cut_DM.device)
    return torch.fft.irfft(spectrum_DF, n=num_steps) * grow_L


def response_ref(numbers: DplrStep, num_steps: int) -> Tensor:
    """`response`, written to be read: the recurrence of one unit of input."""
    out, h_DM = [], numbers.b_DM
    for _ in range(num_steps):
        out.append(2 * (numbers.c_DM * h_DM).sum(-1).real)
        fed_DR = (numbers.w_DRM @ h_DM.unsqueeze(-1)).squeeze(-1).real
        h_DM = numbers.a_DM * h_DM - (numbers.u_DMR @ fed_DR.unsqueeze(-1).to(h_DM.dtype)).squeeze(-1)
    return torch.stack(out, dim=-1) if out else numbers.a_DM.real.new_zeros(numbers.a_DM.shape[0], 0)


def _cut(c_DM: Tensor, numbers: DplrStep, num_steps: int) -> Tensor:
    """C (1 - A'^L z^L): what makes the endless kernel stop after L steps. z^L = 1/e at every node."""
    power_DNN = torch.linalg.matrix_power(dense_step(numbers), num_steps) * math.exp(-1)
    row_DN = torch.cat([c_DM.real, -c_DM.imag], dim=-1)
    gone_DN = (row_DN.unsqueeze(-2) @ power_DNN).squeeze(-2)
    return pair_from_real(row_DN - gone_DN).conj()

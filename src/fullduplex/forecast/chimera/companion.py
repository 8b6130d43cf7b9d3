"""The two-dimensional system with companion matrices along time, steps chosen by the input (arXiv 2406.04320).

Axes: B batch, T time, V variates, E channels, N states of a channel (even).

The exponential of s A1 is dense for a companion matrix. A1 is therefore given by its roots r, N / 2 pairs of conjugates with
real parts below zero; with the Vandermonde matrix W[i, j] = r_i^j, W A1 = diag(r) W, and g1 = W h1 moves by itself:

    g1[t,v] = e^(s1 r) g1[t-1,v] + (e^(s1 r) - 1) / r * W (K2 h2[t-1,v] + b1 u)
    h2[t,v] = (1 - A4) tanh w3 * (W^-1 g1[t,v-1]) + A4 h2[t,v-1] + hold(s2, r4) b2 u

K2 is a companion matrix too, times a gain. The states are complex; W^-1 g1 and h2 are real up to rounding. The roots start on
half the unit circle, where W has the condition number 2, 15 and 1060 for N = 2, 4 and 8 (8e6 for 16, so more than 8 states
are refused); nothing holds them there. Unlike the diagonal system
this one has no bound on |A1| + |A2|. One matrix a cell: it needs N times the memory of the diagonal one.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.core import Drive
from fullduplex.kernels.scan2d import Grid, GridState, scan2d

__all__ = ["CompanionCore"]


class CompanionCore(nn.Module):
    """One two-dimensional system over (time, variates), with A1 and A2 companion, A3 and A4 diagonal.

    Args:
        config: of the layer, with coupling `"grid"` and an even order.
        head: where the steps of the two axes begin.
        generator: source of the initial weights.
    """

    def __init__(self, config: ChimeraConfig, head: HeadConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inner, order = config.inner, config.order
        self.along = Drive(config, head.time, generator=generator)
        self.across = Drive(config, head.variates, generator=generator)
        self.along.register_parameter("log_rate_EN", None)  # the roots stand in for it
        angle = math.pi / 2 + math.pi * (torch.arange(order // 2) + 0.5) / order
        self.log_fade_EM = nn.Parameter((-angle.cos()).log().expand(inner, order // 2).clone())
        self.turn_EM = nn.Parameter(angle.sin().expand(inner, order // 2).clone())
        self.skip_E = nn.Parameter(torch.ones(inner))
        self.gain_E = nn.Parameter(torch.full((inner,), 0.1))
        self.last_EN = nn.Parameter(torch.randn(inner, order, generator=generator) / 2)
        self.w3_EN = nn.Parameter(torch.randn(inner, order, generator=generator) / 2)

    def roots(self) -> Tensor:
        """r_EN, the eigenvalues of A1, conjugates side by side."""
        upper_EM = torch.complex(-self.log_fade_EM.exp(), self.turn_EM)
        return torch.stack([upper_EM, upper_EM.conj()], dim=-1).flatten(-2)

    def basis(self) -> Tensor:
        """W_ENN, the Vandermonde matrix of the roots."""
        roots_EN = self.roots()
        powers = [torch.ones_like(roots_EN)]
        for _ in range(self.config.order - 1):
            powers.append(powers[-1] * roots_EN)
        return torch.stack(powers, dim=-1)

    def coupling(self) -> Tensor:
        """K2_ENN: companion matrices, ones below the diagonal and a learnt last column, times a gain."""
        shift_NN = torch.diag(self.last_EN.new_ones(self.config.order - 1), -1)
        last_EN1 = self.last_EN.unsqueeze(-1)
        end_N = torch.eye(self.config.order, dtype=last_EN1.dtype, device=last_EN1.device)[-1]
        return self.gain_E[:, None, None] * (shift_NN + last_EN1 * end_N)

    def init(self, batch: int, num_variates: int) -> GridState:
        """Nothing heard yet."""
        zero = self.skip_E.new_zeros(batch, num_variates, 2 * self.config.inner * self.config.order)
        return GridState(zero, zero.clone())

    def scan(self, u_BTVE: Tensor, state: GridState, *, backwards: bool = False) -> tuple[Tensor, GridState]:
        """T columns at once, T >= 1; `backwards` runs through the variates from the last to the first."""
        u_BTVE = u_BTVE.flip(2) if backwards else u_BTVE
        b1, read1, step1 = self.along.ports(u_BTVE)
        _, decay2, enter2, read2 = self.across(u_BTVE)
        enter1 = b1 * u_BTVE.unsqueeze(-1)
        roots_EN, basis_ENN = self.roots(), self.basis()
        kind = roots_EN.dtype
        back_ENN = torch.linalg.inv(basis_ENN)
        decay1 = torch.exp(step1 * roots_EN)
        held = (decay1 - 1) / roots_EN
        enter_g = held * (basis_ENN @ enter1.to(kind).expand(held.shape).unsqueeze(-1)).squeeze(-1)
        a2 = held.unsqueeze(-1) * (basis_ENN @ self.coupling().to(kind))
        a3 = ((1 - decay2) * torch.tanh(self.w3_EN)).to(kind).unsqueeze(-1) * back_ENN
        folded = [_fold(x) for x in (decay1, a2, a3, decay2.to(kind), enter_g, enter2.to(kind))]
        names = ("a1", "a2", "a3", "a4", "u1_BTVN", "u2_BTVN")
        start = GridState(self._fold_state(state.h1_BVN), self._fold_state(state.h2_BVN))
        g1, h2, end = scan2d(Grid(**dict(zip(names, folded, strict=True))), start, "rows")
        batch = u_BTVE.shape[0]
        g1, h2 = (h.unflatten(0, (batch, -1)).permute(0, 2, 3, 1, 4) for h in (g1, h2))
        h1 = (back_ENN @ g1.unsqueeze(-1)).squeeze(-1).real
        y_BTVE = (h1 * read1).sum(-1) + (h2.real * read2).sum(-1) + self.skip_E * u_BTVE
        state = GridState(self._unfold_state(end.h1_BVN, batch), self._unfold_state(end.h2_BVN, batch))
        return (y_BTVE.flip(2) if backwards else y_BTVE), state

    def undecayed_parameters(self) -> tuple[nn.Parameter, ...]:
        """Roots, rates, skip and step bias."""
        drives = (self.along.bias_E, self.across.log_rate_EN, self.across.bias_E)
        own = (self.log_fade_EM, self.turn_EM, self.skip_E)
        return (*own, *(cast("nn.Parameter", p) for p in drives))

    def _fold_state(self, h_BVX: Tensor) -> Tensor:
        """States are kept as pairs of real numbers, so that every state is of floats."""
        h_BVEN = torch.view_as_complex(h_BVX.unflatten(2, (self.config.inner, self.config.order, 2)))
        return h_BVEN.transpose(1, 2).flatten(0, 1)

    def _unfold_state(self, h_XVN: Tensor, batch: int) -> Tensor:
        return torch.view_as_real(h_XVN.unflatten(0, (batch, -1)).transpose(1, 2)).flatten(2).clone()


def _fold(x_BTVEN: Tensor) -> Tensor:
    """Channels into the batch: (B E, T, V, ...)."""
    return x_BTVEN.movedim(3, 1).flatten(0, 1)

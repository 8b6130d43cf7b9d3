"""The selective two-dimensional system inside a Chimera layer (arXiv 2406.04320).

Axes: B batch, T time, V variates, E channels, N states of a channel, R rank of a step.

    s1, b1, c1 = functions of u,  s2, b2, c2 likewise            softplus(linear) for the steps, linear for the others
    h1[t,v] = A1 h1[t-1,v] + A2 h2[t-1,v] + hold(s1, r1) b1 u
    h2[t,v] = A3 h1[t,v-1] + A4 h2[t,v-1] + hold(s2, r4) b2 u
    y[t,v] = c1 h1[t,v] + c2 h2[t,v] + skip u

With rates r < 0 and weights w, the blocks of one step are

    principled:  A1 = e^(s1 r1),  A2 = (1 - A1) tanh w2,   A3 = (1 - A4) tanh w3,   A4 = e^(s2 r4)
    paper:       A1 = e^(s1 r1),  A2 = e^(-s1 e^w2),       A3 = e^(-s2 e^w3),       A4 = e^(s2 r4)

`principled` integrates h1' = r1 h1 + k2 h2 with h2 held still, k2 = -r1 tanh w2; then |A1| + |A2| <= 1 and
|A3| + |A4| <= 1 for every input, so a bounded input cannot make the states grow without bound. `paper` has no such
bound: its coupling nears 1 as steps get short.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.kernels.scan import linear_scan
from fullduplex.kernels.scan2d import Grid, GridState, scan2d
from fullduplex.kernels.selective2d import Selective2d, selective_scan2d
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.exact import StepStart, first_step_bias

__all__ = ["Drive", "GridCore", "pool"]


class Drive(nn.Module):
    """Steps and ports of one axis: length of a step, how the input enters, how the state is read.

    Args:
        config: of the layer.
        start: where the steps begin.
        generator: source of the initial weights.
    """

    def __init__(self, config: ChimeraConfig, start: StepStart, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        inner, order, rank = config.inner, config.order, config.step_rank
        self.order, self.rank, self.hold = order, rank, config.hold
        self.log_rate_EN = nn.Parameter(torch.arange(1.0, order + 1).log().expand(inner, order).clone())
        self.bias_E = nn.Parameter(first_step_bias(inner, start, generator))
        self.x_proj: Linear | None = None
        if config.selective:
            self.x_proj = Linear(inner, rank + 2 * order, bias=False, generator=generator)
            bound = rank**-0.5
            self.dt_weight_ER = nn.Parameter(torch.empty(inner, rank).uniform_(-bound, bound, generator=generator))
        else:
            self.b_EN, self.c_EN = (
                nn.Parameter(torch.randn(inner, order, generator=generator) / order**0.5) for _ in range(2)
            )

    def forward(self, u_BTVE: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The step s, the decay e^(s r), what enters, and how the state is read; of axes E, N behind B, T, V."""
        b, c, step = self.ports(u_BTVE)
        rate_EN = -self.log_rate_EN.exp()
        decay = torch.exp(step * rate_EN)
        held = step if self.hold == "euler" else torch.expm1(step * rate_EN) / rate_EN
        return step, decay, held * b * u_BTVE.unsqueeze(-1), c

    def ports(self, u_BTVE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """b and c, of axes (.., 1 or E, N), and the step, of axes B, T, V, E, 1."""
        if self.x_proj is None:
            step_BTVE = functional.softplus(self.bias_E).expand(u_BTVE.shape)
            return self.b_EN, self.c_EN, step_BTVE.unsqueeze(-1)
        dt_BTVE, b_BTVN, c_BTVN = self.project(u_BTVE)
        step_BTVE = functional.softplus(dt_BTVE + self.bias_E)
        return b_BTVN.unsqueeze(-2), c_BTVN.unsqueeze(-2), step_BTVE.unsqueeze(-1)

    def project(self, u_BTVE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step before bias and softplus, b and c, as the input chooses them."""
        assert self.x_proj is not None
        low, b_BTVN, c_BTVN = functional.linear(u_BTVE, self.x_proj.weight).split(
            [self.rank, self.order, self.order], dim=-1
        )
        return functional.linear(low, self.dt_weight_ER), b_BTVN, c_BTVN

    def rate_NE(self) -> Tensor:
        """r, states first."""
        return -self.log_rate_EN.exp().T


class GridCore(nn.Module):
    """One two-dimensional system over (time, variates), forwards through the variates.

    Args:
        config: of the layer.
        head: where the steps of the two axes begin.
        generator: source of the initial weights.
    """

    def __init__(self, config: ChimeraConfig, head: HeadConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inner, order = config.inner, config.order
        self.along = Drive(config, head.time, generator=generator)
        self.skip_E = nn.Parameter(torch.ones(inner))
        if config.coupling != "none":
            self.across = Drive(config, head.variates, generator=generator)
            self.w2_EN = nn.Parameter(torch.randn(inner, order, generator=generator) / 2)
        if config.coupling == "grid":
            self.w3_EN = nn.Parameter(torch.randn(inner, order, generator=generator) / 2)

    def init(self, batch: int, num_variates: int) -> GridState:
        """Nothing heard yet; the pooled state is one for all variates, and without coupling there is none."""
        new, size = self.skip_E.new_zeros, self.config.inner * self.config.order
        across = {"grid": num_variates, "pooled": 1, "none": 0}[self.config.coupling]
        return GridState(new(batch, num_variates, size), new(batch, across, size))

    def scan(self, u_BTVE: Tensor, state: GridState, *, backwards: bool = False) -> tuple[Tensor, GridState]:
        """T columns at once, T >= 1; `backwards` runs through the variates from the last to the first."""
        config = self.config
        if config.selective and (config.coupling, config.discretisation, config.hold) == ("grid", "principled", "zoh"):
            return selective_scan2d(self._lay_out(u_BTVE), state, backwards=backwards)
        y_BTVE, state = self.scan_by_cells(u_BTVE.flip(2) if backwards else u_BTVE, state)
        return (y_BTVE.flip(2) if backwards else y_BTVE), state

    def _lay_out(self, u_BTVE: Tensor) -> Selective2d:
        (dt1, b1, c1), (dt2, b2, c2) = self.along.project(u_BTVE), self.across.project(u_BTVE)
        return Selective2d(
            x_BTVE=u_BTVE, dt1_BTVE=dt1, dt2_BTVE=dt2, b1_BTVN=b1, c1_BTVN=c1, b2_BTVN=b2, c2_BTVN=c2,
            rate1_NE=self.along.rate_NE(), rate2_NE=self.across.rate_NE(),
            k2_NE=torch.tanh(self.w2_EN).T, k3_NE=torch.tanh(self.w3_EN).T,
            bias1_E=self.along.bias_E, bias2_E=self.across.bias_E, skip_E=self.skip_E,
        )  # fmt: skip

    def scan_by_cells(self, u_BTVE: Tensor, state: GridState) -> tuple[Tensor, GridState]:
        """`scan` with the transitions of every cell written out: of any setting. Its states lie channel by channel."""
        step1, decay1, enter1, read1 = self.along(u_BTVE)
        skipped = self.skip_E * u_BTVE
        if self.config.coupling == "none":
            h1_BTX = linear_scan(decay1.flatten(2), enter1.flatten(2), state.h1_BVN.flatten(1))
            h1 = h1_BTX.unflatten(2, tuple(decay1.shape[2:]))
            return (h1 * read1).sum(-1) + skipped, GridState(h1[:, -1].flatten(2).clone(), state.h2_BVN)
        step2, decay2, enter2, read2 = self.across(u_BTVE)
        a2 = self._couple(self.w2_EN, step1, decay1)
        if self.config.coupling == "pooled":
            h1, h2, state = _scan_pooled((decay1, a2, enter1), (pool(decay2), pool(enter2)), state)
        else:
            a3 = self._couple(self.w3_EN, step2, decay2)
            a1, a2, a3, a4, u1, u2 = (x.flatten(3) for x in (decay1, a2, a3, decay2, enter1, enter2))
            h1, h2, state = scan2d(Grid(a1=a1, a2=a2, a3=a3, a4=a4, u1_BTVN=u1, u2_BTVN=u2), state)
            h1, h2 = (h.unflatten(3, (self.config.inner, self.config.order)) for h in (h1, h2))
        return (h1 * read1).sum(-1) + (h2 * read2).sum(-1) + skipped, state

    def step_places(self) -> list[tuple[nn.Module, str]]:
        """Where the weights are that native/chimera.h reads of one system, in its order."""
        along, across = self.along, self.across
        assert along.x_proj is not None and across.x_proj is not None
        return [
            (along.x_proj, "weight"), (across.x_proj, "weight"), (along, "dt_weight_ER"), (across, "dt_weight_ER"),
            (along, "log_rate_EN"), (across, "log_rate_EN"), (self, "w2_EN"), (self, "w3_EN"),
            (along, "bias_E"), (across, "bias_E"), (self, "skip_E"),
        ]  # fmt: skip

    def undecayed_parameters(self) -> tuple[nn.Parameter, ...]:
        """Rates, skip and step bias: weight decay would pull them towards a memory nobody chose."""
        drives = [self.along] if self.config.coupling == "none" else [self.along, self.across]
        return (self.skip_E, *(cast("nn.Parameter", p) for d in drives for p in (d.log_rate_EN, d.bias_E)))

    def _couple(self, w_EN: Tensor, step: Tensor, decay: Tensor) -> Tensor:
        if self.config.discretisation == "paper":
            return torch.exp(-step * w_EN.exp())
        return (1 - decay) * torch.tanh(w_EN)


def pool(x_BTVEN: Tensor) -> Tensor:
    """The mean over variates, of axis V = 1. Sorted first: a sum in another order would round otherwise."""
    return x_BTVEN.sort(dim=2).values.mean(dim=2, keepdim=True)


def _scan_pooled(
    along: tuple[Tensor, Tensor, Tensor], across: tuple[Tensor, Tensor], state: GridState
) -> tuple[Tensor, Tensor, GridState]:
    """h2 is one state that hears the mean of all variates; each h1 hears h2: two scans along time."""
    decay1, a2, enter1 = along
    h2_BTX = linear_scan(across[0].flatten(2), across[1].flatten(2), state.h2_BVN.flatten(1))
    before_BTX = torch.cat([state.h2_BVN.flatten(1).unsqueeze(1), h2_BTX[:, :-1]], dim=1)
    h2, before = (h.unflatten(2, tuple(across[0].shape[2:])) for h in (h2_BTX, before_BTX))
    h1_BTX = linear_scan(decay1.flatten(2), (enter1 + a2 * before).flatten(2), state.h1_BVN.flatten(1))
    h1 = h1_BTX.unflatten(2, tuple(decay1.shape[2:]))
    return h1, h2, GridState(h1[:, -1].flatten(2).clone(), h2[:, -1].flatten(2).clone())

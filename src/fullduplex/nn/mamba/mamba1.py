"""Mamba: a selective state space between a short convolution and a gate (Gu and Dao, arXiv 2312.00752, section 3.4).

Axes: B batch, T time, D features of the model, E = expand D channels inside, N states of a channel, K taps, S = K - 1,
R rank of the step.

    [x, z] = W_in u,   x = SiLU(conv(x)),   [r, b, c] = W_x x
    y = selective_scan(x, dt = W_dt r, b, c; A, skip, bias, gate z),   out = W_out y

The state is the last S inputs of the convolution and N numbers a channel, whatever was heard before.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.conv import causal_conv
from fullduplex.kernels.selective import SelectiveSystem, selective_scan
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.exact import ExactParameters, StepStart, first_step_bias
from fullduplex.nn.mamba.stepping import BlockNorm, StepCall, run_step
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["Mamba", "MambaConfig", "MambaState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MambaConfig:
    """What a Mamba layer is made of.

    Args:
        width: features D of the model.
        expand: inner channels E over D.
        order: states N of a channel.
        num_taps: length K of the convolution, 1 to 16.
        step_rank: R; None: D / 16, rounded up.
        bias: whether the two large projections have one.
        conv_bias: whether the convolution has one.
        step_start: the steps of an untrained layer.
    """

    width: int
    expand: int = 2
    order: int = 16
    num_taps: int = 4
    step_rank: int | None = None
    bias: bool = False
    conv_bias: bool = True
    step_start: StepStart = StepStart()

    def __post_init__(self) -> None:
        sizes = (self.width, self.expand, self.order, self.rank)
        if min(sizes) < 1 or not 1 <= self.num_taps <= 16:
            raise InputError(
                f"MambaConfig got width {self.width}, expand {self.expand}, order {self.order}, step_rank {self.rank}, "
                f"num_taps {self.num_taps}; expected all 1 or more, and at most 16 taps"
            )

    @property
    def inner(self) -> int:
        """Channels E."""
        return self.expand * self.width

    @property
    def rank(self) -> int:
        """R, whether given or derived."""
        return math.ceil(self.width / 16) if self.step_rank is None else self.step_rank


@dataclass(frozen=True, slots=True)
class MambaState:
    """The last inputs of the convolution, oldest first, and the states."""

    past_BSE: Tensor
    h_BEN: Tensor


class Mamba(nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        generator: source of the initial weights: those of the reference code, S4D-Real rates, biases of zero.
    """

    growth: Growth = "constant"

    def __init__(self, config: MambaConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inner, order, rank = config.inner, config.order, config.rank
        self.in_proj = Linear(config.width, 2 * inner, bias=config.bias, generator=generator)
        bound = 1 / math.sqrt(config.num_taps)
        self.conv_weight_EK = nn.Parameter(
            torch.empty(inner, config.num_taps).uniform_(-bound, bound, generator=generator)
        )
        self.conv_bias_E: Tensor
        if config.conv_bias:
            self.conv_bias_E = nn.Parameter(torch.zeros(inner))
        else:
            self.register_buffer("conv_bias_E", torch.zeros(inner), persistent=False)
        self.x_proj = Linear(inner, rank + 2 * order, bias=False, generator=generator)
        bound = rank**-0.5
        self.dt_weight_ER = nn.Parameter(torch.empty(inner, rank).uniform_(-bound, bound, generator=generator))
        log_rate = torch.arange(1, order + 1, dtype=torch.float32).log().expand(inner, order).clone()
        self.exact = ExactParameters(log_rate, torch.ones(inner), first_step_bias(inner, config.step_start, generator))
        self.out_proj = Linear(inner, config.width, bias=config.bias, generator=generator)

    def init(self, batch: int) -> MambaState:
        """Nothing heard yet."""
        inner, order = self.exact.log_rate.shape
        new = self.exact.log_rate.new_zeros
        return MambaState(new(batch, self.config.num_taps - 1, inner), new(batch, inner, order))

    def step(self, x_BD: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """One step."""
        check_piece("Mamba", x_BD, 2, self.config.width, state.h_BEN)
        done = self.step_at_once(x_BD, state, None)
        if done is not None:
            return done
        y_BTD, state = self._scan(x_BD.unsqueeze(1), state)
        return y_BTD.squeeze(1), state

    def scan(self, x_BTD: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """T steps at once."""
        check_piece("Mamba", x_BTD, 3, self.config.width, state.h_BEN)
        return self._scan(x_BTD, state)

    def undecayed_parameters(self) -> tuple[nn.Parameter, ...]:
        """Rates, skip and step bias: weight decay would pull them towards a memory nobody chose."""
        return (self.exact.log_rate, self.exact.skip, self.exact.bias)

    def step_call(self) -> StepCall:
        """What the compiled step of this layer borrows; see `stepping.py`."""
        exact, wide, narrow, config = self.exact, self.in_proj, self.out_proj, self.config
        weights = (
            wide.weight, wide.bias, self.conv_weight_EK, self.conv_bias_E, self.x_proj.weight, self.dt_weight_ER,
            exact.log_rate, exact.skip, exact.bias, narrow.weight, narrow.bias,
        )  # fmt: skip
        sizes = (config.width, config.inner, config.order, config.num_taps, config.rank)
        shapes = ((config.num_taps - 1, config.inner), (config.inner, config.order))
        return StepCall("mamba_step", weights, sizes, shapes)

    def step_at_once(self, x_BD: Tensor, state: MambaState, norm: BlockNorm | None) -> tuple[Tensor, MambaState] | None:
        """One step in one compiled call, or None; with `norm`, of the whole block. See `stepping.py`."""
        if torch.is_grad_enabled():
            return None
        done = run_step(x_BD, self.step_call(), (state.past_BSE, state.h_BEN), norm)
        return None if done is None else (done[0], MambaState(done[1], done[2]))

    def _scan(self, x_BTD: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        exact, order = self.exact, self.config.order
        kind = exact.log_rate.dtype
        x_BTD = x_BTD.to(self.in_proj.weight.dtype)
        x_BTE, z_BTE = functional.linear(x_BTD, self.in_proj.weight, self.in_proj.bias).to(kind).chunk(2, dim=-1)
        x_BTE, past_BSE = causal_conv(
            x_BTE, self.conv_weight_EK.to(kind), self.conv_bias_E.to(kind), state.past_BSE, silu=True
        )
        projected = functional.linear(x_BTE.to(self.x_proj.weight.dtype), self.x_proj.weight)
        low_BTR, b_BTN, c_BTN = projected.split([self.config.rank, order, order], dim=-1)
        dt_BTE = functional.linear(low_BTR, self.dt_weight_ER).to(kind)
        with torch.autocast(x_BTD.device.type, enabled=False):
            system = SelectiveSystem(-exact.log_rate.exp(), exact.skip, exact.bias)
            y_BTE, h_BEN = selective_scan(x_BTE, dt_BTE, b_BTN.to(kind), c_BTN.to(kind), system, state.h_BEN, z_BTE)
        out_BTD = functional.linear(y_BTE.to(self.out_proj.weight.dtype), self.out_proj.weight, self.out_proj.bias)
        return out_BTD, MambaState(past_BSE, h_BEN)

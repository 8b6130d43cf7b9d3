"""Mamba-2: state space duality behind one projection and one convolution (Dao and Gu, arXiv 2405.21060, section 7).

Axes: B batch, T time, D features of the model, E = expand D = H P channels inside, H heads of P numbers, G groups of heads
that share b and c, N states, C = E + 2 G N channels of the convolution, K taps, S = K - 1.

    [z, x b c, dt] = W_in u,   x b c = SiLU(conv(x b c))
    y = ssd(x, step = clamp(softplus(dt + bias)), b, c; A, skip),   out = W_out norm(y SiLU(z))

The normalisation is over E / G channels at a time, so that groups can be computed apart.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.conv import causal_conv
from fullduplex.kernels.ssd import ssd
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.exact import ExactParameters, StepStart, first_step_bias
from fullduplex.nn.mamba.stepping import BlockNorm, StepCall, run_step
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["Mamba2", "Mamba2Config", "Mamba2State"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2Config:
    """What a Mamba-2 layer is made of.

    Args:
        width: features D of the model.
        expand: inner channels E over D.
        order: states N.
        head_width: P; E is a multiple of it.
        num_groups: G; the number of heads is a multiple of it.
        num_taps: length K of the convolution, 1 to 16.
        bias: whether the two large projections have one.
        conv_bias: whether the convolution has one.
        step_start: the steps of an untrained layer.
        step_limit: shortest and longest step a trained layer may take.
        chunk_steps: how often the scan keeps a state; the result does not depend on it.
        epsilon: of the normalisation.
    """

    width: int
    expand: int = 2
    order: int = 128
    head_width: int = 64
    num_groups: int = 1
    num_taps: int = 4
    bias: bool = False
    conv_bias: bool = True
    step_start: StepStart = StepStart()
    step_limit: tuple[float, float] = (0.0, math.inf)
    chunk_steps: int = 256
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (self.width, self.expand, self.order, self.head_width, self.num_groups, self.chunk_steps)
        if min(sizes) < 1 or not 1 <= self.num_taps <= 16:
            raise InputError(
                f"Mamba2Config got width, expand, order, head_width, num_groups, chunk_steps {sizes} and num_taps "
                f"{self.num_taps}; expected all 1 or more, and at most 16 taps"
            )
        if self.inner % self.head_width or self.num_heads % self.num_groups:
            raise InputError(
                f"Mamba2Config got {self.inner} inner channels, head_width {self.head_width}, num_groups "
                f"{self.num_groups}; expected heads that fill the channels and groups of equally many heads"
            )
        if not 0 <= self.step_limit[0] < self.step_limit[1]:
            raise InputError(f"Mamba2Config got step_limit {self.step_limit}; expected 0 <= shortest < longest")

    @property
    def inner(self) -> int:
        """Channels E."""
        return self.expand * self.width

    @property
    def num_heads(self) -> int:
        """H."""
        return self.inner // self.head_width

    @property
    def conv_width(self) -> int:
        """Channels C of the convolution."""
        return self.inner + 2 * self.num_groups * self.order


@dataclass(frozen=True, slots=True)
class Mamba2State:
    """The last inputs of the convolution, oldest first, and the states."""

    past_BSC: Tensor
    h_BHPN: Tensor


class Mamba2(nn.Module):
    """The layer of this file.

    Args:
        config: what it is made of.
        generator: source of the initial weights: those of the reference code, -A uniform in 1 to 16, biases of zero.
    """

    growth: Growth = "constant"

    def __init__(self, config: Mamba2Config, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inner, heads, channels = config.inner, config.num_heads, config.conv_width
        self.in_proj = Linear(config.width, inner + channels + heads, bias=config.bias, generator=generator)
        bound = 1 / math.sqrt(config.num_taps)
        self.conv_weight_CK = nn.Parameter(
            torch.empty(channels, config.num_taps).uniform_(-bound, bound, generator=generator)
        )
        self.conv_bias_C: Tensor
        if config.conv_bias:
            self.conv_bias_C = nn.Parameter(torch.zeros(channels))
        else:
            self.register_buffer("conv_bias_C", torch.zeros(channels), persistent=False)
        rate = torch.empty(heads).uniform_(1, 16, generator=generator)
        self.exact = ExactParameters(
            rate.log(), torch.ones(heads), first_step_bias(heads, config.step_start, generator)
        )
        self.norm_gain_E = nn.Parameter(torch.ones(inner))
        self.out_proj = Linear(inner, config.width, bias=config.bias, generator=generator)

    def init(self, batch: int) -> Mamba2State:
        """Nothing heard yet."""
        config, new = self.config, self.exact.log_rate.new_zeros
        return Mamba2State(
            new(batch, config.num_taps - 1, config.conv_width),
            new(batch, config.num_heads, config.head_width, config.order),
        )

    def step(self, x_BD: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """One step."""
        check_piece("Mamba2", x_BD, 2, self.config.width, state.h_BHPN)
        done = self.step_at_once(x_BD, state, None)
        if done is not None:
            return done
        y_BTD, state = self._scan(x_BD.unsqueeze(1), state)
        return y_BTD.squeeze(1), state

    def scan(self, x_BTD: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        """T steps at once."""
        check_piece("Mamba2", x_BTD, 3, self.config.width, state.h_BHPN)
        return self._scan(x_BTD, state)

    def undecayed_parameters(self) -> tuple[nn.Parameter, ...]:
        """Rates, skip and step bias: weight decay would pull them towards a memory nobody chose."""
        return (self.exact.log_rate, self.exact.skip, self.exact.bias)

    def step_call(self) -> StepCall:
        """What the compiled step of this layer borrows; see `stepping.py`."""
        exact, wide, narrow, config = self.exact, self.in_proj, self.out_proj, self.config
        weights = (
            wide.weight, wide.bias, self.conv_weight_CK, self.conv_bias_C, exact.log_rate, exact.skip, exact.bias,
            self.norm_gain_E, narrow.weight, narrow.bias,
        )  # fmt: skip
        sizes = (config.width, config.inner, config.num_heads, config.num_groups, config.order, config.num_taps)
        heads = (config.num_heads, config.head_width, config.order)
        shapes = ((config.num_taps - 1, config.conv_width), heads)
        return StepCall("mamba2_step", weights, sizes, shapes, (*config.step_limit, config.epsilon))

    def step_at_once(
        self, x_BD: Tensor, state: Mamba2State, norm: BlockNorm | None
    ) -> tuple[Tensor, Mamba2State] | None:
        """One step in one compiled call, or None; with `norm`, of the whole block. See `stepping.py`."""
        if torch.is_grad_enabled():
            return None
        done = run_step(x_BD, self.step_call(), (state.past_BSC, state.h_BHPN), norm)
        return None if done is None else (done[0], Mamba2State(done[1], done[2]))

    def _scan(self, x_BTD: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        config, exact = self.config, self.exact
        kind, shared = exact.log_rate.dtype, config.num_groups * config.order
        x_BTD = x_BTD.to(self.in_proj.weight.dtype)
        projected = functional.linear(x_BTD, self.in_proj.weight, self.in_proj.bias).to(kind)
        z_BTE, mixed_BTC, dt_BTH = projected.split([config.inner, config.conv_width, config.num_heads], dim=-1)
        mixed_BTC, past_BSC = causal_conv(
            mixed_BTC, self.conv_weight_CK.to(kind), self.conv_bias_C.to(kind), state.past_BSC, silu=True
        )
        x_BTE, b_BTM, c_BTM = mixed_BTC.split([config.inner, shared, shared], dim=-1)
        with torch.autocast(x_BTD.device.type, enabled=False):
            step_BTH = functional.softplus(dt_BTH + exact.bias, threshold=200)
            if config.step_limit != (0.0, math.inf):
                step_BTH = step_BTH.clamp(*config.step_limit)
            y_BTHP, h_BHPN = ssd(
                x_BTE.unflatten(-1, (config.num_heads, config.head_width)),
                step_BTH,
                -exact.log_rate.exp(),
                b_BTM.unflatten(-1, (config.num_groups, config.order)),
                c_BTM.unflatten(-1, (config.num_groups, config.order)),
                state.h_BHPN,
                skip_H=exact.skip,
                chunk_steps=config.chunk_steps,
            )
            y_BTE = self._gated(y_BTHP.flatten(2), z_BTE)
        out_BTD = functional.linear(y_BTE.to(self.out_proj.weight.dtype), self.out_proj.weight, self.out_proj.bias)
        return out_BTD, Mamba2State(past_BSC, h_BHPN)

    def _gated(self, y_BTE: Tensor, z_BTE: Tensor) -> Tensor:
        """RMS norm of y SiLU(z) over each group's channels (arXiv 2405.21060, section 7.1)."""
        groups = self.config.num_groups
        gated_BTGF = (y_BTE * functional.silu(z_BTE)).unflatten(-1, (groups, self.config.inner // groups))
        scale_BTG1 = torch.rsqrt(gated_BTGF.square().mean(-1, keepdim=True) + self.config.epsilon)
        return (gated_BTGF * scale_BTG1).flatten(2) * self.norm_gain_E.to(y_BTE.dtype)

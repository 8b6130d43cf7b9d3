"""The block around S4D that the paper stacks: the layer mixes time, a gated linear map mixes channels.

Axes: B batch, T time, D channels.

    prenorm:    y = x + mix(norm(x))            otherwise:    y = norm(x + mix(x))
    mix(x) = drop(GLU(W drop(GELU(S4D(x))) + b))

Dropout leaves out a channel for a whole piece, as the reference settings of arXiv 2206.11893 do: what is left out does
not flicker. The normalisation is over channels, so a block keeps the streaming contract; the paper's batch
normalisation would look at the whole batch and the whole time.
"""

import copy
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.nn.linear import Linear
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, check_piece
from fullduplex.ssm.diagonal import DiagonalModesState
from fullduplex.ssm.s4d import S4D, S4DConfig

__all__ = ["S4DBlock", "S4DBlockConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S4DBlockConfig:
    """What surrounds the layer.

    Args:
        layer: the S4D layer.
        dropout: share of channels left out while training, 0 <= dropout < 1.
        prenorm: normalise before the layer instead of after the sum.
    """

    layer: S4DConfig
    dropout: float = 0.0
    prenorm: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"S4DBlock got a dropout of {self.dropout}; expected 0 <= dropout < 1")


class S4DBlock(nn.Module):
    """The block of this file; as wide going out as coming in.

    Args:
        config: what it is made of.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: S4DBlockConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = config.layer.width
        self.config = config
        self.layer = S4D(config.layer, generator=generator)
        self.mix = Linear(width, 2 * width, generator=generator)
        self.norm = nn.LayerNorm(width)

    def init(self, batch: int) -> DiagonalModesState:
        """Nothing heard yet."""
        return self.layer.init(batch)

    def step(self, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """One step."""
        check_piece("S4DBlock", x_BD, 2, self.config.layer.width, state.h_BDM2.shape[0])
        x_BD = x_BD.to(self.norm.weight.dtype)
        heard_BD, state = self.layer.step(self._before(x_BD), state)
        return self._after(x_BD.unsqueeze(1), heard_BD.unsqueeze(1)).squeeze(1), state

    def scan(self, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """T steps at once."""
        check_piece("S4DBlock", x_BTD, 3, self.config.layer.width, state.h_BDM2.shape[0])
        x_BTD = x_BTD.to(self.norm.weight.dtype)
        heard_BTD, state = self.layer.scan(self._before(x_BTD), state)
        return self._after(x_BTD, heard_BTD), state

    def at_rate(self, rate: float) -> Self:
        """This block for input sampled at another rate, with the same parameters; see `S4D.at_rate`."""
        other = copy.copy(self)
        # A copy shares its table of parts with the original: it gets one of its own before a part is replaced.
        other._modules = {**self._modules, "layer": self.layer.at_rate(rate)}
        return other

    def _before(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.config.prenorm else x

    def _after(self, x_BTD: Tensor, heard_BTD: Tensor) -> Tensor:
        # The layer keeps single precision when the rest of the block has been cast to half.
        active_BTD = self._drop(functional.gelu(heard_BTD.to(x_BTD.dtype)))
        mixed_BTD = self._drop(functional.glu(self.mix.scan(active_BTD, Stateless())[0], dim=-1))
        return x_BTD + mixed_BTD if self.config.prenorm else self.norm(x_BTD + mixed_BTD)

    def _drop(self, x_BTD: Tensor) -> Tensor:
        if not self.training or self.config.dropout == 0:
            return x_BTD
        keep = 1 - self.config.dropout
        batch, _, width = x_BTD.shape
        return x_BTD * torch.full((batch, 1, width), keep, dtype=x_BTD.dtype, device=x_BTD.device).bernoulli() / keep

"""The block that the papers stack: a state space mixes time, a gated linear map mixes channels.

Axes: B batch, T time, D channels.

    prenorm:    y = x + mix(norm(x))            otherwise:    y = norm(x + mix(x))
    gate "glu":     mix(x) = drop(GLU(W drop(GELU(layer(x))) + b))              S4 and S4D
    gate "half":    mix(x) = drop(g sigmoid(W g + b)), g = drop(GELU(layer(x)))     S5

Dropout leaves out a channel for a whole piece, as the reference settings of arXiv 2206.11893 do: what is left out does
not flicker. The normalisation is over channels, so a block keeps the streaming contract; the papers' batch
normalisation would look at the whole batch and the whole time.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.nn.linear import Linear
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, Stream, check_piece
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig
from fullduplex.ssm.s5 import S5, S5Config

__all__ = ["Gate", "GatedBlock", "GatedBlockConfig"]

Gate = Literal["glu", "half"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedBlockConfig:
    """What surrounds the layer.

    Args:
        layer: the state space.
        dropout: share of channels left out while training, 0 <= dropout < 1.
        prenorm: normalise before the layer instead of after the sum.
        gate: `"glu"` or `"half"`, see the top of this file.
    """

    layer: S4DConfig | S4Config | S5Config
    dropout: float = 0.0
    prenorm: bool = True
    gate: Gate = "glu"

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"GatedBlock got a dropout of {self.dropout}; expected 0 <= dropout < 1")
        if self.gate not in get_args(Gate):
            raise InputError(f"GatedBlock got the gate {self.gate!r}; expected one of {', '.join(get_args(Gate))}")


class _Resampled(Protocol):
    def at_rate(self, rate: float) -> nn.Module: ...


class GatedBlock(nn.Module):
    """The block of this file; as wide going out as coming in. Its state is that of the layer.

    Args:
        config: what it is made of.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: GatedBlockConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = config.layer.width
        self.config = config
        self.layer = _layer(config.layer, generator)
        self.mix = Linear(width, 2 * width if config.gate == "glu" else width, generator=generator)
        self.norm = nn.LayerNorm(width)

    def init(self, batch: int) -> Any:
        """Nothing heard yet."""
        return self._stream().init(batch)

    def step(self, x_BD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step."""
        check_piece("GatedBlock", x_BD, 2, self.config.layer.width)
        x_BD = x_BD.to(self.norm.weight.dtype)
        heard_BD, state = self._stream().step(self._before(x_BD), state)
        return self._after(x_BD.unsqueeze(1), heard_BD.unsqueeze(1)).squeeze(1), state

    def scan(self, x_BTD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """T steps at once."""
        check_piece("GatedBlock", x_BTD, 3, self.config.layer.width)
        x_BTD = x_BTD.to(self.norm.weight.dtype)
        heard_BTD, state = self._stream().scan(self._before(x_BTD), state)
        return self._after(x_BTD, heard_BTD), state

    def at_rate(self, rate: float) -> Self:
        """This block for input sampled at another rate, with the same parameters; see `S4D.at_rate`."""
        other = copy.copy(self)
        # A copy shares its table of parts with the original: it gets one of its own before a part is replaced.
        other._modules = {**self._modules, "layer": cast("_Resampled", self.layer).at_rate(rate)}
        return other

    def _stream(self) -> Stream[Any]:
        return cast("Stream[Any]", self.layer)

    def _before(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.config.prenorm else x

    def _after(self, x_BTD: Tensor, heard_BTD: Tensor) -> Tensor:
        # The layer keeps single precision when the rest of the block has been cast to half.
        active_BTD = self._drop(functional.gelu(heard_BTD.to(x_BTD.dtype)))
        gate_BTD = self.mix.scan(active_BTD, Stateless())[0]
        if self.config.gate == "glu":
            mixed_BTD = self._drop(functional.glu(gate_BTD, dim=-1))
        else:
            mixed_BTD = self._drop(active_BTD * torch.sigmoid(gate_BTD))
        return x_BTD + mixed_BTD if self.config.prenorm else self.norm(x_BTD + mixed_BTD)

    def _drop(self, x_BTD: Tensor) -> Tensor:
        if not self.training or self.config.dropout == 0:
            return x_BTD
        keep = 1 - self.config.dropout
        batch, _, width = x_BTD.shape
        return x_BTD * torch.full((batch, 1, width), keep, dtype=x_BTD.dtype, device=x_BTD.device).bernoulli() / keep


def _layer(config: S4DConfig | S4Config | S5Config, generator: torch.Generator | None) -> nn.Module:
    if isinstance(config, S4DConfig):
        return S4D(config, generator=generator)
    return S4(config, generator=generator) if isinstance(config, S4Config) else S5(config, generator=generator)

"""A Chimera over patches of a window: the forecaster of fixed context and horizon (arXiv 2406.04320).

Axes: B batch, L context, H horizon, V variates, P steps of a patch, T = L / P patches, D features.

    standardise each variate by its own window -> patches -> Stack over (patch, variate) -> decoder -> undo

Two decoders. `"closed"` is the paper's closed loop, a patch at a time: the prediction of the next patch of all variates is the
next column. `"direct"` reads all H steps of a variate from its features at all T patches, in one linear map. With
`base` a map of `baselines.base_map`, solved or chosen on the past before the training, stands beside the stack, which starts by
adding nothing and learns what the map leaves over. The paper says nothing of patches or of such a base: both are ours.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.baselines import Base
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.layer import Stack
from fullduplex.nn.linear import Linear

__all__ = ["Decoder", "PatchConfig", "PatchForecaster"]

Decoder = Literal["direct", "closed"]
_EPSILON = 1e-5  # as in baselines.py, whose map this one extends


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConfig:
    """Settings of the model.

    Args:
        num_variates: V.
        context: L, a multiple of `patch`.
        horizon: H.
        layer: of every layer.
        patch: P.
        num_layers: 1 or more.
        decoder: see the top of the file.
        base: see the top of the file.
        dropout: of the features in front of the decoder, in training.

    Raises:
        ConfigError: a size below 1, a context that is no multiple of the patch, or an unknown name.
    """

    num_variates: int
    context: int
    horizon: int
    layer: ChimeraConfig
    patch: int = 16
    num_layers: int = 1
    decoder: Decoder = "direct"
    base: Base = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.num_variates, self.context, self.horizon, self.patch, self.num_layers) < 1:
            raise ConfigError(
                f"PatchConfig got {self.num_variates} variates, context {self.context}, horizon {self.horizon}, patch "
                f"{self.patch}, {self.num_layers} layers; expected 1 or more each"
            )
        if self.context % self.patch or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"PatchConfig got context {self.context}, patch {self.patch}, dropout {self.dropout}; expected a context "
                "that is a multiple of the patch, and a dropout in [0, 1)"
            )
        for name, value, known in (("decoder", self.decoder, get_args(Decoder)), ("base", self.base, get_args(Base))):
            if value not in known:
                raise ConfigError(f"PatchConfig got {name} {value!r}; expected one of {', '.join(known)}")


class PatchForecaster(nn.Module):
    """The model of this file.

    Args:
        config: what it is made of.
        generator: source of the initial weights.
    """

    def __init__(self, config: PatchConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width, num_patches = config.layer.width, config.context // config.patch
        self.enter = Linear(config.patch, width, generator=generator)
        self.names_VD = nn.Parameter(torch.randn(config.num_variates, width, generator=generator) / 10)
        self.stack = Stack(config.layer, config.num_variates, config.num_layers, generator=generator)
        size = (num_patches * width, config.horizon) if config.decoder == "direct" else (width, config.patch)
        self.read = Linear(*size, generator=generator)
        if config.base != "none":
            self.register_buffer("base_LH", torch.zeros(config.context, config.horizon))
            with torch.no_grad():  # the stack starts by adding nothing
                self.read.weight.zero_()

    def forward(self, x_BLV: Tensor) -> Tensor:
        """y_BHV, the forecast of windows x_BLV.

        Raises:
            InputError: the shape is not the configured one.
        """
        config = self.config
        if x_BLV.ndim != 3 or x_BLV.shape[1:] != (config.context, config.num_variates):
            raise InputError(
                f"windows of shape {tuple(x_BLV.shape)} for a model of {config.context} steps and {config.num_variates} "
                "channels; were columns or --context changed since the fit?"
            )
        mean_B1V = x_BLV.mean(dim=1, keepdim=True)
        std_B1V = (x_BLV.var(dim=1, unbiased=False, keepdim=True) + _EPSILON).sqrt()
        z_BLV = (x_BLV - mean_B1V) / std_B1V
        y_BHV = self._decode(z_BLV)
        if config.base != "none":
            base_LH = self.get_buffer("base_LH")
            y_BHV = y_BHV + torch.einsum("blv,lh->bhv", z_BLV, base_LH)
        return y_BHV * std_B1V + mean_B1V

    def _decode(self, z_BLV: Tensor) -> Tensor:
        config = self.config
        patches_BTVP = z_BLV.unflatten(1, (-1, config.patch)).transpose(2, 3)
        h_BTVD, state = self.stack.scan(self._embed(patches_BTVP), self.stack.init(z_BLV.shape[0]))
        if config.decoder == "direct":
            h_BVX = functional.dropout(h_BTVD.transpose(1, 2).flatten(2), config.dropout, self.training)
            return functional.linear(h_BVX, self.read.weight, self.read.bias).transpose(1, 2)
        made: list[Tensor] = []
        h_BVD = h_BTVD[:, -1]
        while True:
            h_BVD = functional.dropout(h_BVD, config.dropout, self.training)
            made.append(functional.linear(h_BVD, self.read.weight, self.read.bias))
            if len(made) * config.patch >= config.horizon:
                return torch.cat(made, dim=2)[..., : config.horizon].transpose(1, 2)
            h_BVD, state = self.stack.step(self._embed(made[-1]), state)

    def _embed(self, patches: Tensor) -> Tensor:
        return functional.linear(patches, self.enter.weight, self.enter.bias) + self.names_VD

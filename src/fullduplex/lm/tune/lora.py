"""Low-rank adaptation (Hu et al., arXiv 2106.09685, equation 3): y = W x + (alpha / r) B A x, W frozen.

A is drawn at random and B begins at zero, so an adapted model begins as the model it adapts.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fullduplex.base.errors import ConfigError, FormatError

__all__ = ["LoraConfig", "LoraLinear", "adapt", "adapter_state", "load_adapter", "merge"]

_TARGETS = ("query", "key", "value", "out", "gate", "up", "down")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """`rank` r, `alpha`, which linear layers (by the last part of their name), `seed` of A.

    Raises `ConfigError` for a rank below 1, an alpha that is not positive, or an unknown target.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = _TARGETS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.alpha < math.inf:
            raise ConfigError(f"rank is {self.rank} and alpha {self.alpha}; expected 1 or more and a positive number")
        unknown = set(self.targets) - set(_TARGETS)
        if unknown or not self.targets:
            raise ConfigError(f"targets {sorted(unknown)} are not known; choose from {', '.join(_TARGETS)}")


class LoraLinear(nn.Module):
    """A frozen linear layer and its low-rank change. The factors stay float32 whatever the frozen weight is."""

    def __init__(self, base: nn.Linear, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = config.alpha / config.rank
        bound = 1 / math.sqrt(base.in_features)
        down = (2 * torch.rand(config.rank, base.in_features, generator=generator) - 1) * bound
        self.down = nn.Parameter(down.to(base.weight.device))
        self.up = nn.Parameter(torch.zeros(base.out_features, config.rank, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        narrow = nn.functional.linear(x, self.down.to(x.dtype))
        return self.base(x) + self.scale * nn.functional.linear(narrow, self.up.to(x.dtype))

    def merged(self) -> nn.Linear:
        """The same map as one plain layer."""
        change = self.scale * (self.up.detach() @ self.down.detach())
        self.base.weight.data = (self.base.weight.data.float() + change).to(self.base.weight.dtype)
        return self.base


def adapt(model: nn.Module, config: LoraConfig) -> nn.Module:
    """Freeze `model` and put low-rank changes on its target layers, in place.

    Raises:
        ConfigError: the model has no such layer.
    """
    generator = torch.Generator().manual_seed(config.seed)
    model.requires_grad_(False)
    found = [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in list(parent.named_children())
        if name in config.targets and isinstance(child, nn.Linear)
    ]
    if not found:
        raise ConfigError(f"{type(model).__name__} has no linear layer named {', '.join(config.targets)}")
    for parent, name, child in found:
        setattr(parent, name, LoraLinear(child, config, generator))
    return model


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The factors alone, copies on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters() if value.requires_grad}


def load_adapter(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put factors into an adapted model.

    Raises:
        FormatError: a factor is missing, unknown or of another shape.
    """
    wanted = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if wanted.keys() != state.keys():
        odd = sorted(wanted.keys() ^ state.keys())
        raise FormatError(f"the adapter does not fit this model: {len(odd)} names differ, the first is {odd[0]}")
    for name, value in wanted.items():
        if value.shape != state[name].shape:
            raise FormatError(f"{name} is {tuple(state[name].shape)}; the model expects {tuple(value.shape)}")
        value.data.copy_(state[name])


def merge(model: nn.Module) -> nn.Module:
    """Fold every low-rank change into its layer, in place: the model is a plain one again."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                setattr(parent, name, child.merged())
    return model

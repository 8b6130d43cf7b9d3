"""The named layers: one name, one way to mix time, at sizes that can be compared.

`order` is the size N of the HiPPO matrix behind a layer. S4, S4D and S4-PTD give it to every channel; S5 shares one state
of about as many numbers as there are channels, in blocks of N; Mamba gives N states to every inner channel, Mamba-2 to
every head.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fullduplex.base.errors import InputError
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2Config
from fullduplex.nn.prenorm import PreNorm
from fullduplex.ssm.block import GatedBlock, GatedBlockConfig
from fullduplex.ssm.modes import Start
from fullduplex.ssm.s4 import S4Config
from fullduplex.ssm.s4d import S4DConfig
from fullduplex.ssm.s5 import S5Config, S5Start

__all__ = ["LAYERS", "LayerConfig", "make_block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """A layer by name.

    Args:
        name: one of `LAYERS`.
        width: channels D.
        order: N, see the top of this file.
        steps: shortest and longest step Delta at the start; the Mamba layers keep their own.
        dropout: share of channels left out while training; the Mamba blocks have none.
        prenorm: normalise before the layer; the Mamba blocks always do.
    """

    name: str
    width: int
    order: int = 64
    steps: tuple[float, float] = (1e-3, 1e-1)
    dropout: float = 0.0
    prenorm: bool = True

    def __post_init__(self) -> None:
        if self.name not in LAYERS:
            raise InputError(f"no layer {self.name!r}; expected one of {', '.join(LAYERS)}")


def make_block(config: LayerConfig, *, generator: torch.Generator | None = None) -> nn.Module:
    """The block around a named layer: gated for state spaces, as its paper has it for Mamba. A stream, D in and out.

    Raises:
        InputError: sizes that the layer does not have.
    """
    return LAYERS[config.name](config, generator)


Make = Callable[[LayerConfig, torch.Generator | None], nn.Module]


def _gated(config: LayerConfig, layer: S4DConfig | S4Config | S5Config, generator: torch.Generator | None) -> nn.Module:
    settings = GatedBlockConfig(
        layer=layer,
        dropout=config.dropout,
        prenorm=config.prenorm,
        gate="half" if isinstance(layer, S5Config) else "glu",
    )
    return GatedBlock(settings, generator=generator)


def _diagonal(start: Start) -> Make:
    def make(config: LayerConfig, generator: torch.Generator | None) -> nn.Module:
        layer = S4DConfig(width=config.width, order=config.order, start=start, steps=config.steps)
        return _gated(config, layer, generator)

    return make


def _dplr(*kinds: str) -> Make:
    def make(config: LayerConfig, generator: torch.Generator | None) -> nn.Module:
        layer = S4Config(width=config.width, order=config.order, kinds=kinds, steps=config.steps)
        return _gated(config, layer, generator)

    return make


def _shared(start: S5Start) -> Make:
    def make(config: LayerConfig, generator: torch.Generator | None) -> nn.Module:
        blocks = max(1, round(config.width / max(1, config.order)))
        layer = S5Config(
            width=config.width, order=blocks * config.order, blocks=blocks, start=start, steps=config.steps
        )
        return _gated(config, layer, generator)

    return make


def _mamba(config: LayerConfig, generator: torch.Generator | None) -> nn.Module:
    return PreNorm(Mamba(MambaConfig(width=config.width, order=config.order), generator=generator), config.width)


def _mamba2(config: LayerConfig, generator: torch.Generator | None) -> nn.Module:
    head = next(size for size in (64, 32, 16, 8, 4, 2, 1) if 2 * config.width % size == 0 and size <= config.width)
    layer = Mamba2(Mamba2Config(width=config.width, order=config.order, head_width=head), generator=generator)
    return PreNorm(layer, config.width)


LAYERS: dict[str, Make] = {
    "s4d-lin": _diagonal("lin"),
    "s4d-inv": _diagonal("inv"),
    "s4d-legs": _diagonal("legs"),
    "s4": _dplr("legs"),
    "s4-legt": _dplr("legt"),
    "s4-fout": _dplr("fout"),
    "s4-mixed": _dplr("legs", "fout"),
    "s4-ptd": _diagonal("ptd"),
    "s4-ptd-random": _diagonal("ptd-random"),
    "s5": _shared("legs"),
    "s5-ptd": _shared("ptd"),
    "s5-ptd-random": _shared("ptd-random"),
    "mamba": _mamba,
    "mamba2": _mamba2,
}

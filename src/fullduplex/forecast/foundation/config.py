"""Sizes of a patch Transformer, the published ladder of them, and how many parameters each has."""

import math
from dataclasses import dataclass
from typing import Literal

from fullduplex.base.errors import ConfigError

__all__ = ["LADDER", "PatchConfig", "block_parameters", "ladder_config", "total_parameters"]

# Width and layers of the published sizes (arXiv:2410.12360 and its released configurations), by the published name.
LADDER: dict[str, tuple[int, int]] = {
    "1K": (8, 1),
    "10K": (24, 2),
    "100K": (64, 2),
    "300K": (64, 6),
    "1M": (192, 4),
    "3M": (256, 6),
    "10M": (384, 8),
    "30M": (512, 12),
    "100M": (768, 18),
    "300M": (1024, 24),
    "1B": (1536, 36),
}
_DECODER_1B_LAYERS = 32  # the released decoder of that name is shallower than the encoder
_HEAD_WIDTH = 64  # the widest head


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConfig:
    """A patch Transformer; the defaults are the paper's but for the size.

    Args:
        kind: `"encoder"` sees all patches and fills in masked ones; `"decoder"` sees the past and says the next patch.
        width: features d; above 64 a multiple of 64, and even.
        num_layers: blocks.
        patch: steps of a patch.
        num_components: Student-t distributions in the mixture of every step.

    Raises:
        ConfigError: a number is out of range.
    """

    kind: Literal["encoder", "decoder"]
    width: int
    num_layers: int
    patch: int = 32
    num_components: int = 4

    def __post_init__(self) -> None:
        if self.kind not in ("encoder", "decoder"):
            raise ConfigError(f"kind is {self.kind!r}; expected 'encoder' or 'decoder'")
        for name in ("width", "num_layers", "patch", "num_components"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.width % self.head_width or self.head_width % 4:
            raise ConfigError(f"width is {self.width}; expected a multiple of 4 up to 64, or a multiple of 64")

    @property
    def head_width(self) -> int:
        """Features of a head: 64, or all of them in a narrower model."""
        return min(self.width, _HEAD_WIDTH)

    @property
    def hidden(self) -> int:
        """Features inside the gated feed-forward layer: two thirds of 4 d, rounded up to a multiple of 8."""
        return 8 * math.ceil((8 * self.width // 3) / 8)

    @property
    def num_outputs(self) -> int:
        """Numbers the head gives for a patch: weight, degrees of freedom, place and scale of every component."""
        return self.patch * 4 * self.num_components


def ladder_config(name: str, kind: Literal["encoder", "decoder"]) -> PatchConfig:
    """The published size `name`, such as `"100K"`.

    Raises:
        ConfigError: the ladder has no such size.
    """
    if name not in LADDER:
        raise ConfigError(f"the ladder has no size {name!r}; expected one of {', '.join(LADDER)}")
    width, num_layers = LADDER[name]
    if name == "1B" and kind == "decoder":
        num_layers = _DECODER_1B_LAYERS
    return PatchConfig(kind=kind, width=width, num_layers=num_layers)


def block_parameters(config: PatchConfig) -> int:
    """N as the paper counts it: the blocks and the last normalisation, without input and output layers."""
    d = config.width
    block = 4 * d * d + 3 * d * config.hidden + 2 * d + 2 * config.head_width
    return config.num_layers * block + d


def total_parameters(config: PatchConfig) -> int:
    """Everything that is trained. Of the smallest published encoder, 5,752 where its name says 1K."""
    read = (config.patch + 1) * config.width + (config.width if config.kind == "encoder" else 0)
    return block_parameters(config) + read + (config.width + 1) * config.num_outputs

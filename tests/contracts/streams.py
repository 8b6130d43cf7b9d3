"""Every class that claims the streaming contract, once or more. A new layer is a new line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fullduplex.nn.attention import CausalAttention
from fullduplex.nn.compose import Chain, Residual
from fullduplex.nn.conv import CausalConv
from fullduplex.nn.diagonal import DiagonalRecurrence
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2Config
from fullduplex.nn.norm import RMSNorm
from fullduplex.nn.prenorm import PreNorm
from fullduplex.ssm.block import GatedBlock, GatedBlockConfig
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s4d import S4D, S4DConfig
from fullduplex.ssm.s5 import S5, S5Config

__all__ = ["STREAMS", "StreamCase"]


@dataclass(frozen=True, kw_only=True)
class StreamCase:
    """One stream to test: `make(generator)` builds it, `width` is that of its input."""

    name: str
    make: Callable[[torch.Generator], Any]
    width: int = 6


def _block(generator: torch.Generator) -> Chain:
    mixer = Chain(
        [
            RMSNorm(6),
            CausalConv(6, 4, generator=generator),
            DiagonalRecurrence(6, generator=generator),
            Linear(6, 6, generator=generator),
        ]
    )
    return Chain([Residual(mixer), Residual(CausalAttention(6, 2, generator=generator))])


STREAMS = (
    StreamCase(name="linear", make=lambda g: Linear(6, 4, generator=g)),
    StreamCase(name="norm", make=lambda g: RMSNorm(6)),
    StreamCase(name="conv-4", make=lambda g: CausalConv(6, 4, generator=g)),
    StreamCase(name="conv-1", make=lambda g: CausalConv(6, 1, generator=g)),
    StreamCase(name="diagonal", make=lambda g: DiagonalRecurrence(6, generator=g)),
    StreamCase(name="attention", make=lambda g: CausalAttention(6, 2, generator=g)),
    StreamCase(name="attention-window-5", make=lambda g: CausalAttention(6, 2, window_steps=5, generator=g)),
    StreamCase(name="attention-window-1", make=lambda g: CausalAttention(6, 2, window_steps=1, generator=g)),
    StreamCase(name="residual", make=lambda g: Residual(CausalConv(6, 3, generator=g))),
    StreamCase(name="chain", make=_block),
    StreamCase(name="chain-empty", make=lambda g: Chain([])),
    StreamCase(name="mamba", make=lambda g: Mamba(MambaConfig(width=6, order=5), generator=g)),
    StreamCase(
        name="mamba-one-tap",
        make=lambda g: Mamba(MambaConfig(width=6, expand=3, num_taps=1, bias=True, conv_bias=False), generator=g),
    ),
    StreamCase(name="mamba2", make=lambda g: Mamba2(Mamba2Config(width=6, order=5, head_width=4), generator=g)),
    StreamCase(
        name="mamba2-groups-limit",
        make=lambda g: Mamba2(
            Mamba2Config(width=6, order=3, head_width=3, num_groups=2, step_limit=(0.01, 0.05), chunk_steps=8),
            generator=g,
        ),
    ),
    StreamCase(
        name="mamba-block",
        make=lambda g: Chain([PreNorm(Mamba(MambaConfig(width=6, order=4), generator=g), 6) for _ in range(2)]),
    ),
    StreamCase(name="s4-legs", make=lambda g: S4(S4Config(width=6, order=8), generator=g)),
    StreamCase(
        name="s4-mixed-rank-2",
        make=lambda g: S4(S4Config(width=6, order=8, kinds=("legt", "fout"), steps=(0.01, 0.1)), generator=g).at_rate(
            2.0
        ),
    ),
    StreamCase(name="s4-ptd", make=lambda g: S4D(S4DConfig(width=6, order=8, start="ptd"), generator=g)),
    StreamCase(name="s5", make=lambda g: S5(S5Config(width=6, order=8, blocks=2), generator=g)),
    StreamCase(name="s5-ptd", make=lambda g: S5(S5Config(width=6, order=8, start="ptd", clip=False), generator=g)),
    StreamCase(
        name="s5-block-half-gate",
        make=lambda g: GatedBlock(GatedBlockConfig(layer=S5Config(width=6, order=4), gate="half"), generator=g),
    ),
    StreamCase(name="s4d-legs-zoh", make=lambda g: S4D(S4DConfig(width=6, order=16, start="legs"), generator=g)),
    StreamCase(name="s4d-lin-bilinear", make=lambda g: S4D(S4DConfig(width=6, order=8, rule="bilinear"), generator=g)),
    StreamCase(
        name="s4d-real-softplus",
        make=lambda g: S4D(S4DConfig(width=6, order=4, start="real", decay="softplus"), generator=g).at_rate(2.0),
    ),
    StreamCase(
        name="s4d-block-prenorm",
        make=lambda g: GatedBlock(GatedBlockConfig(layer=S4DConfig(width=6, order=8)), generator=g),
    ),
    StreamCase(
        name="s4d-block-postnorm",
        make=lambda g: GatedBlock(GatedBlockConfig(layer=S4DConfig(width=6, order=8), prenorm=False), generator=g),
    ),
)

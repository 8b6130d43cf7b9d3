"""What a Chimera layer is made of (arXiv 2406.04320)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from fullduplex.base.errors import ConfigError
from fullduplex.nn.mamba.exact import StepStart

__all__ = ["ChimeraConfig", "Coupling", "Discretisation", "HeadConfig", "Hold", "Transition"]

Coupling = Literal["grid", "pooled", "none"]
Discretisation = Literal["principled", "paper"]
Hold = Literal["zoh", "euler"]
Transition = Literal["diagonal", "companion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """One head: a two-dimensional system of its own, told from others by where its steps begin.

    Args:
        time: steps along time; short ones forget slowly (trend), long ones quickly (season).
        variates: steps across variates; short ones mix far, long ones near.
    """

    time: StepStart
    variates: StepStart = StepStart(shortest=0.1, longest=1.0)


TREND = HeadConfig(time=StepStart(shortest=1e-3, longest=1e-1))
SEASON = HeadConfig(time=StepStart(shortest=1e-1, longest=1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChimeraConfig:
    """Settings of one layer.

    Args:
        width: features D of the model.
        expand: inner channels E over D.
        order: states N of a channel, along time and across variates each.
        num_taps: length of the short convolution along time, 1 to 16; 1 is none in effect.
        step_rank: rank of the two step projections.
        coupling: `"grid"` for the paper's recurrence over the order of the variates; `"pooled"` for one state of all
            variates, which knows no order; `"none"` for variates by themselves (Mamba).
        discretisation: `"principled"` holds the other state constant during a step, so that A2 = 0 means no coupling;
            `"paper"` takes the exponential of every block, where A2 = 0 means a coupling of 1.
        hold: how the input enters: `"zoh"`, or Mamba's `"euler"`.
        transition: of A1 and A2: `"diagonal"`, or the paper's `"companion"`, which needs `"grid"`, `"principled"`,
            `"zoh"` and an order of 2, 4, 6 or 8.
        selective: whether steps, B and C depend on the input.
        bidirectional: whether a second system runs through the variates backwards; for `"grid"` only.
        heads: one system each; the default is a trend and a seasonal one.

    Raises:
        ConfigError: a size below 1, no head, or an unknown name.
    """

    width: int
    expand: int = 2
    order: int = 8
    num_taps: int = 4
    step_rank: int = 1
    coupling: Coupling = "grid"
    discretisation: Discretisation = "principled"
    hold: Hold = "zoh"
    transition: Transition = "diagonal"
    selective: bool = True
    bidirectional: bool = True
    heads: tuple[HeadConfig, ...] = field(default=(TREND, SEASON))

    def __post_init__(self) -> None:
        sizes = (self.width, self.expand, self.order, self.step_rank, len(self.heads))
        if min(sizes) < 1 or not 1 <= self.num_taps <= 16:
            raise ConfigError(
                f"ChimeraConfig got width {self.width}, expand {self.expand}, order {self.order}, step_rank "
                f"{self.step_rank}, {len(self.heads)} heads, num_taps {self.num_taps}; expected all 1 or more, and at "
                "most 16 taps"
            )
        for name, value, known in (
            ("coupling", self.coupling, get_args(Coupling)),
            ("discretisation", self.discretisation, get_args(Discretisation)),
            ("hold", self.hold, get_args(Hold)),
            ("transition", self.transition, get_args(Transition)),
        ):
            if value not in known:
                raise ConfigError(f"ChimeraConfig got {name} {value!r}; expected one of {', '.join(known)}")
        fits = (self.coupling, self.discretisation, self.hold) == ("grid", "principled", "zoh")
        if self.transition == "companion" and not (fits and self.order in (2, 4, 6, 8)):
            raise ConfigError(
                f"ChimeraConfig got transition 'companion' with coupling {self.coupling!r}, discretisation "
                f"{self.discretisation!r}, hold {self.hold!r}, order {self.order}; expected 'grid', 'principled', 'zoh' "
                "and an order of 2, 4, 6 or 8: beyond, the basis of a companion matrix loses the digits of float32"
            )

    @property
    def inner(self) -> int:
        """Channels E."""
        return self.expand * self.width

    @property
    def directions(self) -> tuple[bool, ...]:
        """Of the systems of one head: whether each runs through the variates backwards."""
        return (False, True) if self.bidirectional and self.coupling == "grid" else (False,)

"""What a TimeMixer is made of: its sizes, and how its scales are mixed."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from fullduplex.base.errors import ConfigError
from fullduplex.forecast.baselines import Base

__all__ = ["Direction", "MixingConfig", "TimeMixerConfig", "scale_lengths"]

Direction = Literal["fine_to_coarse", "coarse_to_fine", "none"]
_DIRECTIONS = ("fine_to_coarse", "coarse_to_fine", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixingConfig:
    """The choices of the paper's ablation (its table 5); the defaults are the paper's model.

    Args:
        decomposition: `"moving_average"`; `"dft"`, the strongest frequencies of each series; `"none"`, nothing is split.
        kernel: odd length of the moving average.
        top_k: frequencies that `"dft"` calls season.
        season: direction in which seasons are mixed; with decomposition `"none"`, that of the whole.
        trend: direction in which trends are mixed.
        future: sum the forecasts of all scales; False forecasts from the finest scale alone.
        downsample: `"average"`, `"max"` or `"conv"`, a convolution that is learned.

    Raises:
        ConfigError: a choice is unknown or a number is out of range.
    """

    decomposition: Literal["moving_average", "dft", "none"] = "moving_average"
    kernel: int = 25
    top_k: int = 5
    season: Direction = "fine_to_coarse"
    trend: Direction = "coarse_to_fine"
    future: bool = True
    downsample: Literal["average", "max", "conv"] = "average"

    def __post_init__(self) -> None:
        choices = {
            "decomposition": ("moving_average", "dft", "none"),
            "season": _DIRECTIONS,
            "trend": _DIRECTIONS,
            "downsample": ("average", "max", "conv"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(map(repr, allowed))}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel is {self.kernel}; expected an odd number above 0")
        if self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMixerConfig:
    """Sizes; the defaults are the paper's unified setting for ETTh1.

    Args:
        context: L, steps the model sees.
        horizon: H, steps it forecasts.
        num_channels: C, series at once.
        num_scales: M, coarser copies of the window beside the window itself.
        factor: w, steps of one scale that make one of the next.
        depth: E, past-decomposable-mixing blocks.
        width: d, features.
        hidden: features inside the feed-forward layers.
        num_marks: calendar features given with every step, 0 for none.
        per_channel: one model over every channel alone; False lets channels mix.
        normalise: standardise every window and undo it on the forecast (reversible instance norm).
        mixing: how scales are mixed.
        base: `"none"`, the paper's model; or a map of `baselines.base_map` that stands beside the mixing, which then starts
            by adding nothing (ours).

    Raises:
        ConfigError: a number is out of range, a name is unknown, or the context is too short for the scales.
    """

    context: int
    horizon: int
    num_channels: int
    num_scales: int = 3
    factor: int = 2
    depth: int = 2
    width: int = 16
    hidden: int = 32
    num_marks: int = 0
    per_channel: bool = True
    normalise: bool = True
    mixing: MixingConfig = field(default_factory=MixingConfig)
    base: Base = "none"

    def __post_init__(self) -> None:
        if self.base not in get_args(Base):
            raise ConfigError(f"base is {self.base!r}; expected one of {', '.join(map(repr, get_args(Base)))}")
        for name in ("context", "horizon", "num_channels", "depth", "width", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.num_scales < 0 or self.num_marks < 0 or self.factor < 2:
            raise ConfigError(
                f"num_scales {self.num_scales}, num_marks {self.num_marks}, factor {self.factor}; expected 0, 0, 2 or more"
            )
        if scale_lengths(self)[-1] < 1:
            needed = self.factor**self.num_scales
            raise ConfigError(
                f"a context of {self.context} has no scale {self.num_scales}; expected {needed} steps or more"
            )


def scale_lengths(config: TimeMixerConfig) -> tuple[int, ...]:
    """Steps of every scale, the finest first; a rest that fills no step is dropped at the old end."""
    lengths = [config.context]
    for _ in range(config.num_scales):
        lengths.append(lengths[-1] // config.factor)
    return tuple(lengths)

"""One TimeMixer for many series of different lengths, as in the M4 competition (arXiv:2405.14616, section 4.1).

Every series is alone in its window; the loss is the competition's own percentage error. The last horizon of every series
is kept to choose the step by; nothing later than the series is an argument here.

Axes: N series or windows, L context, H horizon.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.backtest import Fitted
from fullduplex.forecast.baselines import FittedLinear, repeat_map
from fullduplex.forecast.fitted import FittedNetwork
from fullduplex.forecast.timemixer.config import TimeMixerConfig
from fullduplex.forecast.timemixer.fit import network
from fullduplex.forecast.timemixer.model import TimeMixer
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["PanelConfig", "fit_panel", "newest_contexts", "smape_loss"]

_LOOKS = 10  # at the rows kept back, over a whole training


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelConfig:
    """How it is trained.

    Args:
        num_steps: optimiser steps.
        batch_size: windows of a step, each of one series.
        peak_lr: largest learning rate.
        seed: of weights, windows and dropout.
        season: steps of the season that a base of `"season"` or `"best"` repeats.

    Raises:
        ConfigError: a number is below 1.
    """

    num_steps: int = 1_000
    batch_size: int = 256
    peak_lr: float = 0.01
    seed: int = 0
    season: int = 1

    def __post_init__(self) -> None:
        if min(self.num_steps, self.batch_size, self.season) < 1:
            raise ConfigError(
                f"num_steps {self.num_steps}, batch_size {self.batch_size}, season {self.season}; expected 1 or more each"
            )


def smape_loss(made: Tensor, target: Tensor) -> Tensor:
    """200 |f - a| / (|a| + |f|) in the mean: the competition's error, as a loss."""
    size = (made.abs() + target.abs()).clamp(min=1e-8)
    return 200 * ((made - target).abs() / size).mean()


def newest_contexts(series: Sequence[Float64Array], context: int) -> Float64Array:
    """The last `context` steps of every series, shape (N, L, 1); a shorter one begins with its first value repeated.

    Raises:
        InputError: a series is empty or has a missing or infinite value.
    """
    rows = []
    for index, values_T in enumerate(series):
        if not values_T.size or not np.isfinite(values_T).all():
            raise InputError(f"series {index} is empty or has a missing value; fill or drop it")
        rows.append(np.pad(values_T[-context:], (max(0, context - values_T.size), 0), mode="edge"))
    return np.stack(rows)[..., None]


def fit_panel(
    series: Sequence[Float64Array],
    config: TimeMixerConfig,
    how: PanelConfig,
    *,
    report: Callable[[StepReport], None] | None = None,
) -> FittedNetwork:
    """Train on windows of all series, keep the weights that are best on every series' last horizon.

    A base of `"best"` is the last value or the last season, whichever is better there.

    Args:
        series: the past of each, shape (T,); those shorter than context + 2 horizons are not trained on.
        config: of one channel.
        how: the training. An epoch draws every series as often as it has windows.
        report: called after every step.

    Raises:
        InputError: a value is missing, or no series is long enough.
        DivergedError: a loss is no longer finite; lower `peak_lr`.
    """
    length, horizon = config.context + config.horizon, config.horizon
    newest_contexts(series, 1)  # refuses what is missing
    long = [values_T for values_T in series if values_T.size >= length + horizon]
    if not long or config.num_channels != 1 or config.base == "linear":
        raise InputError(
            f"{len(long)} series of {length + horizon} steps, {config.num_channels} channels, base {config.base!r}; expected 1 "
            "or more, 1, and another base than 'linear'"
        )
    flat_T = torch.from_numpy(np.concatenate(long).astype(np.float32))
    ends = np.cumsum([0, *(values_T.size for values_T in long)])
    starts = np.concatenate([np.arange(a, b - length - horizon + 1) for a, b in itertools.pairwise(ends)])
    steps_L = torch.arange(length)

    def collate(indices: Int64Array) -> Tensor:
        return flat_T[torch.from_numpy(starts[indices])[:, None] + steps_L].unsqueeze(1)

    kept_NL1 = newest_contexts([values_T[:-horizon] for values_T in long], config.context)
    kept_NH = np.stack([values_T[-horizon:] for values_T in long])
    losses: list[float] = []
    weights: dict[str, Tensor] = {}

    def error(fitted: Fitted) -> float:
        made_NH = fitted.predict(kept_NL1)[..., 0]
        return float(smape_loss(torch.from_numpy(made_NH), torch.from_numpy(kept_NH)))

    def look(model: nn.Module) -> Mapping[str, float]:
        losses.append(error(network(cast("TimeMixer", model))))
        if losses[-1] == min(losses):
            weights.update((name, value.detach().clone()) for name, value in model.state_dict().items())
        return {"validation_smape": losses[-1]}

    def loss(model: nn.Module, batch_BCW: Tensor) -> Tensor:
        return smape_loss(model(batch_BCW[..., : config.context]), batch_BCW[..., config.context :])

    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        model = TimeMixer(config)
    if config.base != "none":
        seasons = {"last": [1], "season": [how.season], "best": [1, how.season]}[config.base]
        maps = [repeat_map(config.context, horizon, season) for season in seasons]
        chosen_LH = min(maps, key=lambda weights_LH: error(FittedLinear(weights_LH=weights_LH)))
        model.get_buffer("base_LH").copy_(torch.from_numpy(chosen_LH))
    look(model)
    settings = TrainConfig(
        num_steps=how.num_steps,
        peak_lr=how.peak_lr,
        seed=how.seed,
        schedule=ScheduleConfig(warmup_steps=max(1, how.num_steps // 5)),
        weight_decay=0.0,
        betas=(0.9, 0.999),
        clip_norm=5.0,
        evaluate_every_steps=max(1, how.num_steps // _LOOKS),
    )
    batch_size = min(how.batch_size, starts.size)
    batches = ShuffledBatches(collate=collate, num_items=starts.size, batch_size=batch_size, seed=how.seed)
    train(model, batches, loss, settings, report=report, evaluate=look)
    model.load_state_dict(weights)
    return replace(network(model), losses=tuple(losses))

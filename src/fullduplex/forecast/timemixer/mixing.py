"""Past-decomposable mixing, equations 2 to 5 of arXiv:2405.14616.

Axes: D features, N rows, T steps of one scale. A list holds the scales, the finest first. With features first and steps
last, a map along time and a map along features are both one plain matrix product, without a copy of the data.
"""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fullduplex.forecast.timemixer.config import Direction, MixingConfig, TimeMixerConfig, scale_lengths
from fullduplex.forecast.timemixer.decompose import moving_average_matrix, split_by_dft
from fullduplex.forecast.timemixer.feed_forward import feed_forward
from fullduplex.forecast.timemixer.gelu_map import gelu_map

__all__ = ["FeedForward", "PastMixing", "ScaleMixer"]


class ScaleMixer(nn.Module):
    """Adds to every scale what its neighbour knows, through two linear maps along time with a GELU between them.

    Args:
        lengths: steps of the scales, the finest first.
        direction: `"fine_to_coarse"` goes up the pyramid, `"coarse_to_fine"` down; each scale passes on its sum.
    """

    def __init__(self, lengths: Sequence[int], direction: Direction) -> None:
        super().__init__()
        order = list(range(len(lengths)))
        if direction == "coarse_to_fine":
            order.reverse()
        self.hops = list(itertools.pairwise(order)) if direction != "none" else []
        self.maps = nn.ModuleList(
            nn.Sequential(
                nn.Linear(lengths[source], lengths[target]), nn.GELU(), nn.Linear(lengths[target], lengths[target])
            )
            for source, target in self.hops
        )

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """The mixed scales, same shapes (D, N, T)."""
        mixed = list(scales)
        for (source, target), along_time in zip(self.hops, self.maps, strict=True):
            into, _, out_of = cast("nn.Sequential", along_time)
            hidden_RT = into(mixed[source]).flatten(0, 1)
            added = gelu_map(hidden_RT, cast("Tensor", out_of.weight), cast("Tensor", out_of.bias))
            mixed[target] = mixed[target] + added.reshape(mixed[target].shape)
        return mixed


class FeedForward(nn.Module):
    """Linear, GELU, linear along the features of (D, N, T)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, s_DNT: Tensor, t_DNT: Tensor | None = None, *, onto_DNT: Tensor | None = None) -> Tensor:
        """The layer of s + t, added onto another tensor; all of one shape."""
        weights = (self.widen.weight, self.widen.bias, self.narrow.weight, self.narrow.bias)
        onto_DR, s_DR, t_DR = (None if each is None else each.flatten(1) for each in (onto_DNT, s_DNT, t_DNT))
        assert s_DR is not None
        return feed_forward(onto_DR, s_DR, t_DR, weights).reshape(s_DNT.shape)


class PastMixing(nn.Module):
    """One block: split every scale, mix seasons up and trends down, add them through a feed-forward layer.

    The residual and the feed-forward layer are there in both channel modes; the released code drops them where
    channels mix. That mode has a second feed-forward layer on season and trend before they are mixed.
    """

    def __init__(self, config: TimeMixerConfig) -> None:
        super().__init__()
        lengths = scale_lengths(config)
        self.mixing: MixingConfig = config.mixing
        self.season = ScaleMixer(lengths, config.mixing.season)
        splits = config.mixing.decomposition != "none"
        self.trend = ScaleMixer(lengths, config.mixing.trend if splits else "none")
        self.cross = None if config.per_channel else FeedForward(config.width, config.hidden)
        self.out = FeedForward(config.width, config.hidden)
        for index, length in enumerate(lengths):
            # A constant, computed anew from the configuration: not part of what is saved.
            self.register_buffer(f"mean_{index}", moving_average_matrix(length, config.mixing.kernel), persistent=False)

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """The next features of every scale, same shapes (D, N, T)."""
        if self.mixing.decomposition == "none":
            mixed = self.season([self._crossed(x_DNT) for x_DNT in scales])
            return [self.out(y_DNT, onto_DNT=x_DNT) for x_DNT, y_DNT in zip(scales, mixed, strict=True)]
        seasons, trends = zip(*(self._split(index, x_DNT) for index, x_DNT in enumerate(scales)), strict=True)
        seasons = self.season([self._crossed(s_DNT) for s_DNT in seasons])
        trends = self.trend([self._crossed(t_DNT) for t_DNT in trends])
        return [self.out(s, t, onto_DNT=x) for x, s, t in zip(scales, seasons, trends, strict=True)]

    def _crossed(self, x_DNT: Tensor) -> Tensor:
        return x_DNT if self.cross is None else self.cross(x_DNT)

    def _split(self, index: int, x_DNT: Tensor) -> tuple[Tensor, Tensor]:
        if self.mixing.decomposition == "dft":
            return split_by_dft(x_DNT, min(self.mixing.top_k, x_DNT.shape[-1] // 2))
        trend_DNT = torch.matmul(x_DNT, getattr(self, f"mean_{index}"))
        return x_DNT - trend_DNT, trend_DNT

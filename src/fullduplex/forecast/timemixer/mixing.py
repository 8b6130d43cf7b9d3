"""Past-decomposable mixing, equations 2 to 5 of arXiv:2405.14616.

Axes: N rows, D features, T steps of one scale. A list holds the scales, the finest first.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullduplex.forecast.timemixer.config import Direction, MixingConfig, TimeMixerConfig, scale_lengths
from fullduplex.forecast.timemixer.decompose import moving_average_matrix, split_by_dft

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
        """The mixed scales, same shapes (N, D, T)."""
        mixed = list(scales)
        for (source, target), along_time in zip(self.hops, self.maps, strict=True):
            mixed[target] = mixed[target] + along_time(mixed[source])
        return mixed


class FeedForward(nn.Module):
    """Linear, GELU, linear along the features of (N, D, T)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Conv1d(width, hidden, 1)
        self.narrow = nn.Conv1d(hidden, width, 1)

    def forward(self, x_NDT: Tensor) -> Tensor:
        """Same shape as the input."""
        return self.narrow(F.gelu(self.widen(x_NDT)))


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
        """The next features of every scale, same shapes (N, D, T)."""
        if self.mixing.decomposition == "none":
            mixed = self.season([self._crossed(x_NDT) for x_NDT in scales])
            return [x_NDT + self.out(y_NDT) for x_NDT, y_NDT in zip(scales, mixed, strict=True)]
        seasons, trends = zip(*(self._split(index, x_NDT) for index, x_NDT in enumerate(scales)), strict=True)
        seasons = self.season([self._crossed(s_NDT) for s_NDT in seasons])
        trends = self.trend([self._crossed(t_NDT) for t_NDT in trends])
        return [x + self.out(s + t) for x, s, t in zip(scales, seasons, trends, strict=True)]

    def _crossed(self, x_NDT: Tensor) -> Tensor:
        return x_NDT if self.cross is None else self.cross(x_NDT)

    def _split(self, index: int, x_NDT: Tensor) -> tuple[Tensor, Tensor]:
        if self.mixing.decomposition == "dft":
            return split_by_dft(x_NDT, min(self.mixing.top_k, x_NDT.shape[-1] // 2))
        trend_NDT = torch.matmul(x_NDT, getattr(self, f"mean_{index}"))
        return x_NDT - trend_NDT, trend_NDT

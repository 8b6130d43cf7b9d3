"""TimeMixer: scales, past mixing and the sum of every scale's forecast (arXiv:2405.14616, equations 1 to 6).

Axes: B windows, C channels, L context, H horizon, I input channels (1 where every channel is alone, else C), N rows (B C,
else B), D features, T steps of one scale, K calendar features. Nothing is kept on the module between calls: threads may
share one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullduplex.base.errors import InputError
from fullduplex.forecast.timemixer.config import TimeMixerConfig, scale_lengths
from fullduplex.forecast.timemixer.decompose import moving_average
from fullduplex.forecast.timemixer.mixing import PastMixing

__all__ = ["TimeMixer", "WindowStats"]

_EPSILON = 1e-5  # of the window's variance
_DROPOUT = 0.1  # on the embedding, in training


@dataclass(frozen=True, slots=True)
class WindowStats:
    """Mean and deviation of every window and channel, shape (B, C, 1)."""

    mean_BC1: Tensor
    std_BC1: Tensor


class TimeMixer(nn.Module):
    """The forecaster. `forward(x_BCL)` gives (B, C, H).

    Args:
        config: its sizes and choices.
    """

    def __init__(self, config: TimeMixerConfig) -> None:
        super().__init__()
        self.config = config
        lengths = scale_lengths(config)
        channels_in = 1 if config.per_channel else config.num_channels
        self.down = _learned_downsampling(config)
        self.gain = nn.Parameter(torch.ones(len(lengths), config.num_channels), requires_grad=config.normalise)
        self.shift = nn.Parameter(torch.zeros(len(lengths), config.num_channels), requires_grad=config.normalise)
        self.embed = nn.Conv1d(channels_in, config.width, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.embed.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.embed_marks = nn.Linear(config.num_marks, config.width, bias=False) if config.num_marks else None
        self.blocks = nn.ModuleList(PastMixing(config) for _ in range(config.depth))
        forecasting = lengths if config.mixing.future else lengths[:1]
        self.heads = nn.ModuleList(nn.Linear(length, config.horizon) for length in forecasting)
        self.project = nn.Linear(config.width, channels_in)
        self.trend_heads = nn.ModuleList(
            nn.Sequential(nn.Linear(length, length), nn.Linear(length, config.horizon))
            for length in (() if config.per_channel else forecasting)
        )
        if config.base != "none":
            self.register_buffer("base_LH", torch.zeros(config.context, config.horizon))
            self._add_nothing()

    def forward(self, x_BCL: Tensor, marks_BKL: Tensor | None = None) -> Tensor:
        """Forecasts of shape (B, C, H).

        Args:
            x_BCL: the windows.
            marks_BKL: calendar features of every step, where the configuration has any.

        Raises:
            InputError: the shapes are not those of the configuration.
        """
        self._check(x_BCL, marks_BKL)
        scales, stats = self._pyramid(x_BCL)
        rest: Sequence[Tensor] = ()
        if not self.config.per_channel:
            rest = [moving_average(x, self.config.mixing.kernel) for x in scales]
            scales = [x - trend for x, trend in zip(scales, rest, strict=True)]
        hidden = self._embedded(scales, marks_BKL)
        for block in self.blocks:
            hidden = block(hidden)
        y_BCH = self._forecast(hidden, rest, x_BCL.shape[0])
        if self.config.normalise:
            y_BCH = (y_BCH - self.shift[0, :, None]) / (self.gain[0, :, None] + _EPSILON**2)
        if self.config.base != "none":
            z_BCL = (x_BCL - stats.mean_BC1) / stats.std_BC1 if self.config.normalise else x_BCL
            y_BCH = y_BCH + z_BCL @ self.get_buffer("base_LH")
        return y_BCH * stats.std_BC1 + stats.mean_BC1 if self.config.normalise else y_BCH

    def _add_nothing(self) -> None:
        """Beside a base the mixing starts as 0; the maps along time, which are not 0, pass the gradient on."""
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        for head in self.trend_heads:
            last = cast("nn.Sequential", head)[1]
            nn.init.zeros_(cast("Tensor", last.weight))
            nn.init.zeros_(cast("Tensor", last.bias))

    def _pyramid(self, x_BCL: Tensor) -> tuple[list[Tensor], WindowStats]:
        scales = [x_BCL]
        for index in range(self.config.num_scales):
            scales.append(self._coarser(scales[-1], index))
        stats = _window_stats(x_BCL)
        if not self.config.normalise:
            return scales, stats
        normal: list[Tensor] = []
        for index, scale_BCT in enumerate(scales):
            own = stats if index == 0 else _window_stats(scale_BCT)
            z_BCT = (scale_BCT - own.mean_BC1) / own.std_BC1
            normal.append(z_BCT * self.gain[index, :, None] + self.shift[index, :, None])
        return normal, stats

    def _coarser(self, x_BCT: Tensor, index: int) -> Tensor:
        # A rest that fills no step is dropped at the old end: the newest values are the ones a forecast needs.
        x_BCT = x_BCT[..., x_BCT.shape[-1] % self.config.factor :]
        kind = self.config.mixing.downsample
        if kind == "average":
            return F.avg_pool1d(x_BCT, self.config.factor)
        if kind == "max":
            return F.max_pool1d(x_BCT, self.config.factor)
        return self.down[index](x_BCT)

    def _coarser_marks(self, marks_BKT: Tensor) -> Tensor:
        """The mark of the first of the steps that make one, the same steps as in `_coarser`."""
        return marks_BKT[..., marks_BKT.shape[-1] % self.config.factor :][..., :: self.config.factor]

    def _marks_of_rows(self, m_DBT: Tensor) -> Tensor:
        """Every channel of a window has the marks of that window; shape (D, N, T)."""
        return m_DBT.repeat_interleave(self.config.num_channels if self.config.per_channel else 1, dim=1)

    def _embedded(self, scales: Sequence[Tensor], marks_BKL: Tensor | None) -> list[Tensor]:
        hidden: list[Tensor] = []
        marks = marks_BKL
        for index, scale_BCT in enumerate(scales):
            # Rows lie window by window: all channels of one window, then those of the next.
            rows_INT = (
                scale_BCT.reshape(1, -1, scale_BCT.shape[-1]) if self.config.per_channel else scale_BCT.transpose(0, 1)
            )
            x_DNT = self._convolved(rows_INT)
            if self.embed_marks is not None and marks is not None:
                if index:
                    marks = self._coarser_marks(marks)
                x_DNT = x_DNT + self._marks_of_rows(self.embed_marks(marks.transpose(1, 2)).permute(2, 0, 1))
            hidden.append(F.dropout(x_DNT, _DROPOUT, self.training))
        return hidden

    def _convolved(self, x_INT: Tensor) -> Tensor:
        """The circular convolution of three steps, from input channels I to features D, as one matrix product."""
        taps_IKNT = torch.stack([x_INT.roll(1, -1), x_INT, x_INT.roll(-1, -1)], dim=1)
        y_DR = self.embed.weight.flatten(1) @ taps_IKNT.flatten(0, 1).flatten(1)
        return y_DR.reshape(-1, *x_INT.shape[1:])

    def _forecast(self, hidden: Sequence[Tensor], rest: Sequence[Tensor], num_windows: int) -> Tensor:
        """Future-multipredictor mixing: the sum of what every scale forecasts (equation 6).

        Published as a map along time, then one along features. They commute, and features first is D times less work; the
        bias of the first then counts as often as the weights of the second add up to.
        """
        y: Tensor | None = None
        weight_ID = self.project.weight
        for head, x_DNT in zip(cast("Sequence[nn.Linear]", self.heads), hidden, strict=False):
            x_IR = weight_ID @ x_DNT.flatten(1)
            y_INH = F.linear(x_IR.reshape(-1, *x_DNT.shape[1:]), head.weight)
            y_INH = y_INH + (weight_ID.sum(1, keepdim=True) * head.bias + self.project.bias[:, None]).unsqueeze(1)
            y = y_INH if y is None else y + y_INH
        assert y is not None
        if self.config.per_channel:
            return y.reshape(num_windows, self.config.num_channels, self.config.horizon)
        y_BCH = y.transpose(0, 1)
        for head, trend_BCT in zip(self.trend_heads, rest, strict=False):
            y_BCH = y_BCH + head(trend_BCT)
        return y_BCH

    def _check(self, x_BCL: Tensor, marks_BKL: Tensor | None) -> None:
        config = self.config
        if x_BCL.ndim != 3 or x_BCL.shape[1:] != (config.num_channels, config.context):
            expected = f"(batch, {config.num_channels}, {config.context})"
            raise InputError(
                f"the windows have shape {tuple(x_BCL.shape)}; expected {expected}: (batch, channel, step)"
            )
        wanted = (x_BCL.shape[0], config.num_marks, config.context) if config.num_marks else None
        given = None if marks_BKL is None else tuple(marks_BKL.shape)
        if wanted != given:
            raise InputError(f"the calendar features have shape {given}; expected {wanted}")


def _learned_downsampling(config: TimeMixerConfig) -> nn.ModuleList:
    if config.mixing.downsample != "conv":
        return nn.ModuleList()
    width = config.num_channels
    return nn.ModuleList(
        nn.Conv1d(width, width, config.factor, stride=config.factor, bias=False) for _ in range(config.num_scales)
    )


def _window_stats(x_BCT: Tensor) -> WindowStats:
    """Statistics of every window; they carry no gradient."""
    x_BCT = x_BCT.detach()
    variance_BC1 = x_BCT.var(dim=-1, keepdim=True, unbiased=False)
    return WindowStats(x_BCT.mean(dim=-1, keepdim=True), torch.sqrt(variance_BC1 + _EPSILON))

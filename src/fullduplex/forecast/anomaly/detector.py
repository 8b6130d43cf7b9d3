"""Anomalies on a live stream: a Chimera predicts every column, and an error far above its usual size is one.

Axes: T rows in time, V channels. The rows it is fitted on give the scale of each channel, the weights of the model and the
usual error. From then on, a row at a time and in memory that does not grow:

    r_v = (x_v - predicted x_v) / deviation of that error on the fitted rows
    e = log(1 + root mean square of r over the channels that are there),  m = mean of e over about `short_rows`
    score = the larger of (e - its long mean) / its long deviation, and the same of m

The first finds a spike, the second a change that stays. The long statistics are those of about `long_rows` past rows, so
what was strange at first becomes usual. No label is used.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fullduplex.base.arrays import Float64Array
from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.coupled import Fit, fit_next_column
from fullduplex.forecast.chimera.layer import StackState
from fullduplex.forecast.chimera.model import ForecasterConfig, NextColumn, ScaledColumns
from fullduplex.forecast.scale import fit_scaler

__all__ = ["ChimeraDetector", "DetectorConfig", "DetectorState"]

_KIND = "detector"
_FEWEST_ROWS = 30
_LIMIT = 20.0  # standard scores are cut there on their way into the model: one broken value must not shake its state
_LEAST = 0.05  # of a deviation of log errors: what is predicted to the last digit makes no rounding error an anomaly


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """Settings.

    Args:
        layer: of the model.
        fit: how it is trained.
        short_rows: rows of the short mean.
        long_rows: rows that the usual error is taken from.
        seed: of the weights and the windows.

    Raises:
        ConfigError: not 1 < short_rows < long_rows.
    """

    layer: ChimeraConfig = field(default_factory=lambda: ChimeraConfig(width=8, expand=1, order=4, num_taps=4))
    fit: Fit = field(default_factory=lambda: Fit(num_updates=150, batch=16, num_steps=64, rate=1e-2))
    short_rows: int = 10
    long_rows: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 < self.short_rows < self.long_rows:
            raise ConfigError(f"short_rows {self.short_rows}, long_rows {self.long_rows}; expected 1 < short < long")


@dataclass(frozen=True, slots=True)
class DetectorState:
    """Where a stream stands: the model's states, its prediction of the next row in standard scores, and the statistics.

    `usual_B5`: rows counted; mean and variance of e; mean and variance of m. `short_B1`: m.
    """

    stack: StackState
    ahead_BV: Tensor
    usual_B5: Tensor
    short_B1: Tensor


class ChimeraDetector:
    """The detector of this file.

    Args:
        config: settings.
    """

    def __init__(self, config: DetectorConfig | None = None) -> None:
        self.config = config or DetectorConfig()
        self._columns: ScaledColumns | None = None
        self._deviation_V: Float64Array = np.empty(0)
        self._after: DetectorState | None = None

    @property
    def num_channels(self) -> int:
        """V.

        Raises:
            InputError: not fitted.
        """
        return self._fitted().model.config.num_variates

    def fit(self, past_TV: Float64Array) -> "ChimeraDetector":
        """Learn what is usual from rows taken as normal; returns self.

        Raises:
            InputError: fewer than 30 rows, a missing or an infinite value.
        """
        if past_TV.ndim != 2 or len(past_TV) < _FEWEST_ROWS:
            raise InputError(
                f"the past has shape {past_TV.shape}; expected (time, channel), {_FEWEST_ROWS} rows or more"
            )
        if not np.isfinite(past_TV).all():
            raise InputError("the rows to learn from hold a missing or infinite value; fill gaps first (--gaps linear)")
        how, num_variates = self.config, past_TV.shape[1]
        # One variate has no order: a second direction would be the first again.
        layer = replace(how.layer, bidirectional=how.layer.bidirectional and num_variates > 1)
        scaler = fit_scaler(past_TV)
        x_TV = torch.from_numpy(np.clip(scaler.scale(past_TV), -_LIMIT, _LIMIT).astype(np.float32))
        generator = torch.Generator().manual_seed(how.seed)
        model = NextColumn(ForecasterConfig(num_variates=num_variates, layer=layer), generator=generator)

        def draw(batch: int, num_steps: int) -> Tensor:
            length = min(num_steps, len(x_TV))
            starts_B = torch.randint(len(x_TV) - length + 1, (batch, 1), generator=generator)
            return x_TV[starts_B + torch.arange(length)]

        fit_next_column(model, draw, how.fit)
        with torch.no_grad():
            made_TV = model.scan(x_TV[None, :-1], model.init(1))[0][0]
        errors_TV = (made_TV - x_TV[1:]).double().numpy()
        # The median resists the anomalies that rows taken as normal may hold; 1.4826 makes it a Gaussian's deviation.
        self._deviation_V = np.maximum(1.4826 * np.median(np.abs(errors_TV), axis=0), 1e-3)
        self._columns = ScaledColumns(model.eval(), scaler)
        _, self._after = self._score(past_TV, _empty(model))
        return self

    def init(self) -> DetectorState:
        """The state behind the rows it was fitted on.

        Raises:
            InputError: not fitted.
        """
        if self._after is None:
            raise InputError("the detector is not fitted; call fit or load first")
        return self._after

    def step(self, column_V: Float64Array, state: DetectorState) -> tuple[float, DetectorState]:
        """One row in; its score, in deviations above the usual error, and the state behind it.

        A missing value (NaN) counts for nothing, and the model goes on with its own prediction in its place; a row
        without any value has score 0.

        Raises:
            InputError: an infinite value, or another number of channels than in `fit`.
        """
        columns = self._fitted()
        z_V, ahead_V = columns.standard(column_V), state.ahead_BV[0].double().numpy()
        there_V = ~np.isnan(z_V)
        ahead_BV, stack = columns.step(np.clip(np.where(there_V, z_V, ahead_V), -_LIMIT, _LIMIT), state.stack)
        if not there_V.any():
            return 0.0, DetectorState(stack, ahead_BV, state.usual_B5, state.short_B1)
        r_V = (z_V - ahead_V)[there_V] / self._deviation_V[there_V]
        error = math.log1p(math.sqrt(float(np.mean(r_V**2))))
        score, usual = self._judge(error, _Usual.of(state))
        return score, DetectorState(stack, ahead_BV, *usual.tensors())

    def score(self, values_TV: Float64Array) -> Float64Array:
        """Scores of rows that follow the fitted ones, shape (T,): `step` after `step`, the model in one scan if it can be.

        Raises:
            InputError: as `step`.
        """
        return self._score(values_TV, self.init())[0]

    def _score(self, values_TV: Float64Array, state: DetectorState) -> tuple[Float64Array, DetectorState]:
        columns = self._fitted()
        model = columns.model
        scores_T = np.empty(len(values_TV))
        whole = values_TV.ndim == 2 and values_TV.shape[1] == model.config.num_variates and len(values_TV) > 0
        if not (whole and np.isfinite(values_TV).all()):
            for row, column_V in enumerate(values_TV):
                scores_T[row], state = self.step(column_V, state)
            return scores_T, state
        z_TV = columns.scaler.scale(values_TV)
        with torch.no_grad():
            fed_BTV = torch.from_numpy(np.clip(z_TV, -_LIMIT, _LIMIT).astype(np.float32))[None]
            made_BTV, stack = model.scan(fed_BTV, state.stack)
        ahead_TV = torch.cat([state.ahead_BV, made_BTV[0, :-1]]).double().numpy()
        errors_T = np.log1p(np.sqrt((((z_TV - ahead_TV) / self._deviation_V) ** 2).mean(axis=1)))
        usual = _Usual.of(state)
        for row, error in enumerate(errors_T.tolist()):
            scores_T[row], usual = self._judge(error, usual)
        return scores_T, DetectorState(stack, made_BTV[:, -1].clone(), *usual.tensors())

    def save(self, path: Path) -> None:
        """Write everything to `path`, the state behind the fitted rows included."""
        about = {"config": asdict(self.config), "deviation": torch.from_numpy(self._deviation_V)}
        self._fitted().save(path, _KIND, about, self.init())

    @classmethod
    def load(cls, path: Path) -> "ChimeraDetector":
        """Read what `save` wrote; its scores are bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        columns, about, state = ScaledColumns.load(path, _KIND, _empty)
        made = cls(config_from_mapping(DetectorConfig, about["config"]))
        made._columns, made._deviation_V, made._after = columns, about["deviation"].numpy(), state
        return made

    def _fitted(self) -> ScaledColumns:
        if self._columns is None:
            raise InputError("the detector is not fitted; call fit or load first")
        return self._columns

    def _judge(self, error: float, usual: "_Usual") -> tuple[float, "_Usual"]:
        """The score of an error, by the statistics before it; then the statistics with it."""
        how, rows = self.config, usual.rows
        short = usual.short + (error - usual.short) / min(rows + 1, how.short_rows)
        score = 0.0
        if rows >= how.short_rows:
            spike = (error - usual.mean) / max(math.sqrt(usual.variance), _LEAST)
            drift = (short - usual.mean_short) / max(math.sqrt(usual.variance_short), _LEAST)
            score = max(spike, drift, 0.0)
        pace = 1 / min(rows + 1, how.long_rows)
        off, off_short = error - usual.mean, short - usual.mean_short
        return score, _Usual(
            rows=rows + 1,
            mean=usual.mean + pace * off,
            variance=(1 - pace) * (usual.variance + pace * off**2),
            mean_short=usual.mean_short + pace * off_short,
            variance_short=(1 - pace) * (usual.variance_short + pace * off_short**2),
            short=short,
        )


def _empty(model: NextColumn) -> DetectorState:
    """Nothing seen yet."""
    zero = torch.zeros(1, model.config.num_variates)
    return DetectorState(model.init(1), zero, torch.zeros(1, 5, dtype=torch.float64), zero[:, :1].double())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """The statistics of a state as numbers."""

    rows: float
    mean: float
    variance: float
    mean_short: float
    variance_short: float
    short: float

    @classmethod
    def of(cls, state: DetectorState) -> "_Usual":
        rows, mean, variance, mean_short, variance_short = state.usual_B5[0].tolist()
        return cls(
            rows=rows, mean=mean, variance=variance, mean_short=mean_short, variance_short=variance_short,
            short=state.short_B1.item(),
        )  # fmt: skip

    def tensors(self) -> tuple[Tensor, Tensor]:
        kept = [self.rows, self.mean, self.variance, self.mean_short, self.variance_short]
        return torch.tensor([kept], dtype=torch.float64), torch.tensor([[self.short]], dtype=torch.float64)

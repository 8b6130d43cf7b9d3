"""A Chimera to use: fit on a series, predict any horizon, go on a column at a time, save and load.

Axes: T rows in time, V variates, H steps ahead, K steps of the closed loop in training.

Trained with both losses of a closed-loop decoder (SpaceTime, arXiv 2303.09489; Chimera does the same): each column predicts
the next (open loop), and the columns behind a window are predicted from the model's own predictions (closed loop). The
newest tenth of the rows trains nothing; it says which of the weights seen on the way are kept.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fullduplex.base.arrays import Float64Array
from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.layer import StackState
from fullduplex.forecast.chimera.model import ForecasterConfig, NextColumn, ScaledColumns, closed_loop
from fullduplex.forecast.scale import fit_scaler
from fullduplex.forecast.series import Series

__all__ = ["ChimeraModel", "ModelConfig", "ModelState"]

_LOOKS = 5  # how often the newest rows are asked
_SHARE = 0.1  # of the rows, the newest
_KIND = "Chimera model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Settings.

    Args:
        layer: of every layer.
        num_layers: 1 or more.
        num_updates: of AdamW, the rate falling along half a cosine.
        batch: windows of an update.
        num_steps: columns of a window in open loop.
        num_ahead: K, columns behind it in closed loop; 0 trains open loop only.
        rate: the largest.
        seed: of the weights and the windows.

    Raises:
        ConfigError: a count below 1, or `num_ahead` below 0.
    """

    layer: ChimeraConfig = field(default_factory=lambda: ChimeraConfig(width=16, expand=1, order=4))
    num_layers: int = 1
    num_updates: int = 300
    batch: int = 16
    num_steps: int = 96
    num_ahead: int = 24
    rate: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.num_layers, self.num_updates, self.batch, self.num_steps) < 1 or self.num_ahead < 0:
            raise ConfigError(
                f"ModelConfig got {self.num_layers} layers, {self.num_updates} updates, batch {self.batch}, num_steps "
                f"{self.num_steps}, num_ahead {self.num_ahead}; expected 1 or more each, num_ahead 0 or more"
            )


@dataclass(frozen=True, slots=True)
class ModelState:
    """The states of the layers, and the prediction of the next column in standard scores."""

    stack: StackState
    ahead_BV: Tensor


class ChimeraModel:
    """The model of this file.

    Args:
        config: settings.
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        self.config = config or ModelConfig()
        self._columns: ScaledColumns | None = None
        self._after: ModelState | None = None

    def fit(
        self, series: Series | Float64Array, report: Callable[[int, float], object] | None = None
    ) -> "ChimeraModel":
        """Train on a series; returns self.

        Args:
            series: from `read_series`, or values of shape (T, V).
            report: called after every update with its number and loss.

        Raises:
            InputError: too few rows for a window, a missing or an infinite value.
        """
        values_TV = series.values_TC if isinstance(series, Series) else np.asarray(series, np.float64)
        how = self.config
        length = how.num_steps + how.num_ahead
        kept = int(_SHARE * len(values_TV))
        if values_TV.ndim != 2 or len(values_TV) - kept < length + 1:
            raise InputError(
                f"a series of shape {values_TV.shape}; expected (time, channel) and {length + 1} rows or more beside the "
                f"newest tenth: shorten num_steps ({how.num_steps}) or num_ahead ({how.num_ahead})"
            )
        if not np.isfinite(values_TV).all():
            raise InputError("the series holds a missing or infinite value; fill gaps first (--gaps linear)")
        scaler = fit_scaler(values_TV[: len(values_TV) - kept])
        x_TV = torch.from_numpy(scaler.scale(values_TV).astype(np.float32))
        generator = torch.Generator().manual_seed(how.seed)
        config = ForecasterConfig(num_variates=values_TV.shape[1], layer=how.layer, num_layers=how.num_layers)
        model = NextColumn(config, generator=generator)
        _train(model, x_TV[: len(x_TV) - kept], x_TV, how, generator, report)
        with torch.no_grad():
            made_BTV, stack = model.scan(x_TV[None], model.init(1))
        self._columns, self._after = ScaledColumns(model, scaler), ModelState(stack, made_BTV[:, -1].clone())
        return self

    def init(self) -> ModelState:
        """The state behind the last row of the series it was fitted on.

        Raises:
            InputError: not fitted.
        """
        if self._after is None:
            raise InputError("the model is not fitted; call fit or load first")
        return self._after

    def step(self, column_V: Float64Array, state: ModelState) -> tuple[Float64Array, ModelState]:
        """The next column that was seen; what the one behind it will be, in the units of the series, and the state.

        A missing value (NaN) is replaced by its own prediction.

        Raises:
            InputError: an infinite value, or another number of channels than in `fit`.
        """
        columns = self._fitted()
        z_V = columns.standard(column_V)
        z_V = np.where(np.isnan(z_V), state.ahead_BV[0].double().numpy(), z_V)
        ahead_BV, stack = columns.step(z_V, state.stack)
        return columns.scaler.unscale(ahead_BV[0].double().numpy()), ModelState(stack, ahead_BV)

    def predict(self, horizon: int, state: ModelState | None = None) -> Float64Array:
        """The next columns in closed loop, shape (H, V), in the units of the series.

        Args:
            horizon: H, 1 or more.
            state: where to start; None is the end of the series it was fitted on.

        Raises:
            InputError: not fitted, or a horizon below 1.
        """
        columns = self._fitted()
        if horizon < 1:
            raise InputError(f"the horizon is {horizon}; expected 1 or more")
        state = self.init() if state is None else state
        with torch.no_grad():
            made_BHV = closed_loop(columns.model, state.ahead_BV, state.stack, horizon)
        return columns.scaler.unscale(made_BHV[0].double().numpy())

    def save(self, path: Path) -> None:
        """Write everything to `path`, the state behind the series included."""
        self._fitted().save(path, _KIND, asdict(self.config), self.init())

    @classmethod
    def load(cls, path: Path) -> "ChimeraModel":
        """Read what `save` wrote; it goes on bit-equal.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        columns, plain, state = ScaledColumns.load(path, _KIND, _empty)
        made = cls(config_from_mapping(ModelConfig, plain))
        made._columns, made._after = columns, state
        return made

    def _fitted(self) -> ScaledColumns:
        if self._columns is None:
            raise InputError("the model is not fitted; call fit or load first")
        return self._columns


def _empty(model: NextColumn) -> ModelState:
    return ModelState(model.init(1), torch.zeros(1, model.config.num_variates))


def _losses(model: NextColumn, window_BTV: Tensor, how: ModelConfig) -> tuple[Tensor, Tensor]:
    """Mean squared error in open and in closed loop."""
    seen_BTV = window_BTV[:, : how.num_steps]
    y_BTV, stack = model.scan(seen_BTV, model.init(len(window_BTV)))
    open_loss = (y_BTV[:, :-1] - seen_BTV[:, 1:]).square().mean() if how.num_steps > 1 else y_BTV.new_zeros(())
    if not how.num_ahead:
        return open_loss, open_loss
    made_BHV = closed_loop(model, y_BTV[:, -1], stack, how.num_ahead)
    return open_loss, (made_BHV - window_BTV[:, how.num_steps :]).square().mean()


def _train(
    model: NextColumn,
    train_TV: Tensor,
    all_TV: Tensor,
    how: ModelConfig,
    generator: torch.Generator,
    report: Callable[[int, float], object] | None,
) -> None:
    length = how.num_steps + how.num_ahead
    # Windows whose closed loop lies in the rows that train nothing.
    ends = np.linspace(min(len(train_TV) + how.num_ahead, len(all_TV)), len(all_TV), 16).astype(int)
    look_BTV = torch.stack([all_TV[end - length : end] for end in np.unique(ends)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=how.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.num_updates)
    best, kept = float("inf"), {name: value.clone() for name, value in model.state_dict().items()}
    for number in range(how.num_updates):
        starts_B = torch.randint(len(train_TV) - length + 1, (how.batch, 1), generator=generator)
        open_loss, closed_loss = _losses(model, train_TV[starts_B + torch.arange(length)], how)
        loss = open_loss + closed_loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None:
            report(number, float(loss.detach()))
        if (number + 1) % max(1, how.num_updates // _LOOKS) == 0 or number + 1 == how.num_updates:
            with torch.no_grad():
                found = float(_losses(model, look_BTV, how)[1])
            if found < best:
                best, kept = found, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    model.eval()

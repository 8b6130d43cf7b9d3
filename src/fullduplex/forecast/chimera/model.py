"""A forecaster of Chimera layers: each column predicts the next, and a forecast feeds predictions back (closed loop).

Axes: B batch, T time, V variates, D features, H steps ahead.

    embed each value (and which variate it is) -> layers of x + Chimera(norm(x)) -> norm -> the next column

Closed loop (SpaceTime; of all variates together in Chimera): the prediction of a column is the input of the next, so a
forecast of any horizon needs the state alone. The outputs are of the scale of the data: standardise before.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Float64Array
from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.layer import Stack, StackState, check_columns
from fullduplex.forecast.scale import Scaler
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.nn.linear import Linear
from fullduplex.nn.state import leaves, map_leaves
from fullduplex.nn.stream import Growth

__all__ = ["ForecasterConfig", "NextColumn", "ScaledColumns", "closed_loop", "roll_out"]

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecasterConfig:
    """Settings of the model.

    Args:
        num_variates: V.
        layer: of every layer.
        num_layers: 1 or more.
        named: whether each variate has an embedding of its own; without it all are treated alike.

    Raises:
        ConfigError: a size below 1.
    """

    num_variates: int
    layer: ChimeraConfig
    num_layers: int = 1
    named: bool = True

    def __post_init__(self) -> None:
        if min(self.num_variates, self.num_layers) < 1:
            raise ConfigError(
                f"ForecasterConfig got {self.num_variates} variates and {self.num_layers} layers; expected 1 or more"
            )


class NextColumn(nn.Module):
    """The model of this file: a stream whose output at t is its prediction of the column at t + 1.

    Args:
        config: what it is made of.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: ForecasterConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width = config.layer.width
        self.enter = nn.Parameter(torch.randn(width, generator=generator) / 2)
        names = torch.randn(config.num_variates, width, generator=generator) / 2
        self.names_VD = nn.Parameter(names if config.named else names[:1])
        self.stack = Stack(config.layer, config.num_variates, config.num_layers, generator=generator)
        self.read = Linear(width, 1, generator=generator)

    def init(self, batch: int) -> StackState:
        """Nothing seen yet."""
        return self.stack.init(batch)

    def step(self, x_BV: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """One column in, the prediction of the next out."""
        check_columns("NextColumn", x_BV.unsqueeze(1), (self.config.num_variates,), state.layers[0].past_BVSE.shape[0])
        y_BVD, state = self.stack.step(x_BV.unsqueeze(-1) * self.enter + self.names_VD, state)
        return functional.linear(y_BVD, self.read.weight, self.read.bias).squeeze(-1), state

    def scan(self, x_BTV: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """T columns in, T predictions out.

        Raises:
            InputError: the number of variates or the batch does not fit.
        """
        check_columns("NextColumn", x_BTV, (self.config.num_variates,), state.layers[0].past_BVSE.shape[0])
        y_BTVD, state = self.stack.scan(x_BTV.unsqueeze(-1) * self.enter + self.names_VD, state)
        return functional.linear(y_BTVD, self.read.weight, self.read.bias).squeeze(-1), state

    def cut_coupling(self) -> None:
        """Set A2 = A3 = 0 and keep them there: the ablation that sees its own past and the present column only.

        Raises:
            InputError: the layers are not principled diagonal grids, whose couplings are the only ones that can be zero.
        """
        layer = self.config.layer
        if (layer.coupling, layer.discretisation, layer.transition) != ("grid", "principled", "diagonal"):
            raise InputError(
                f"cut_coupling needs coupling 'grid', discretisation 'principled', transition 'diagonal'; got "
                f"{layer.coupling!r}, {layer.discretisation!r}, {layer.transition!r}"
            )
        for name, weight in self.named_parameters():
            if name.endswith((".w2_EN", ".w3_EN")):
                weight.data.zero_()
                weight.requires_grad_(False)


def roll_out(model: NextColumn, past_BTV: Tensor, horizon: int) -> Tensor:
    """The forecast in closed loop.

    Args:
        model: a trained one.
        past_BTV: at least one column, all finite.
        horizon: columns to forecast, >= 1.

    Returns:
        y_BHV.

    Raises:
        InputError: no past, a value that is not finite, or a horizon below 1.
    """
    if horizon < 1 or past_BTV.ndim != 3 or past_BTV.shape[1] < 1:
        raise InputError(
            f"roll_out got a past {tuple(past_BTV.shape)} and horizon {horizon}; expected (B, T, V), T and H >= 1"
        )
    if not torch.isfinite(past_BTV).all():
        raise InputError("roll_out got a past with NaN or infinity; fill or drop the missing values first")
    y_BTV, state = model.scan(past_BTV, model.init(past_BTV.shape[0]))
    return closed_loop(model, y_BTV[:, -1], state, horizon)


def closed_loop(model: NextColumn, ahead_BV: Tensor, state: StackState, horizon: int) -> Tensor:
    """y_BHV: the prediction of the next column, then those the model makes of its own predictions."""
    columns = [ahead_BV]
    while len(columns) < horizon:
        ahead_BV, state = model.step(columns[-1], state)
        columns.append(ahead_BV)
    return torch.stack(columns, dim=1)


@dataclass(frozen=True, slots=True)
class ScaledColumns:
    """A trained model and the scale of the series it was trained on: columns in the units of the series, and one file."""

    model: NextColumn
    scaler: Scaler

    def standard(self, column_V: Float64Array) -> Float64Array:
        """A column of the series in standard scores; a missing value stays NaN.

        Raises:
            InputError: an infinite value, or another number of channels than the model's.
        """
        column_V = np.asarray(column_V, np.float64)
        if column_V.shape != (self.model.config.num_variates,) or np.isinf(column_V).any():
            raise InputError(
                f"a row of shape {column_V.shape}, or an infinite value; expected {self.model.config.num_variates} finite "
                "values or NaN: were channels changed since the fit?"
            )
        return self.scaler.scale(column_V)

    def step(self, z_V: Float64Array, stack: StackState) -> tuple[Tensor, StackState]:
        """The prediction of the next column in standard scores, of axes B = 1, V, and the states behind this one."""
        with torch.no_grad():
            return self.model.step(torch.from_numpy(z_V.astype(np.float32))[None], stack)

    def save(self, path: Path, kind: str, about: Mapping[str, object], state: object) -> None:
        """Write model, scale, `about`, what its owner adds, and where its stream stands."""
        payload: dict[str, object] = {
            "kind": kind,
            "config": asdict(self.model.config),
            "weights": self.model.state_dict(),
            "scale": torch.from_numpy(np.stack([self.scaler.mean_C, self.scaler.std_C])),
            "about": dict(about),
            "state": [leaf for _, leaf in leaves(state)],
        }
        write_archive(path, payload)

    @classmethod
    def load(
        cls, path: Path, kind: str, empty: Callable[[NextColumn], StateT]
    ) -> tuple["ScaledColumns", dict[str, Any], StateT]:
        """Read what `save` wrote: the model with its scale, `about`, and the state.

        Args:
            path: of the file.
            kind: as in `save`.
            empty: any state of that model.

        Raises:
            FormatError: the file is damaged or of another kind.
        """
        saved: dict[str, Any] = read_archive(path)
        if saved.get("kind") != kind:
            raise FormatError(f"{path.name} holds {saved.get('kind', sorted(saved))}; expected a fitted {kind}")
        model = NextColumn(config_from_mapping(ForecasterConfig, saved["config"])).eval()
        model.load_state_dict(saved["weights"])
        mean_C, std_C = saved["scale"].numpy()
        kept = iter(saved["state"])
        state = map_leaves(lambda _path, _leaf: next(kept), empty(model))
        return cls(model, Scaler(mean_C=mean_C, std_C=std_C)), cast("dict[str, Any]", saved["about"]), state

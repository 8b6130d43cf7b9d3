"""A forecaster of Chimera layers: each column predicts the next, and a forecast feeds predictions back (closed loop).

Axes: B batch, T time, V variates, D features, H steps ahead.

    embed each value (and which variate it is) -> layers of x + Chimera(norm(x)) -> norm -> the next column

Closed loop (SpaceTime; of all variates together in Chimera): the prediction of a column is the input of the next, so a
forecast of any horizon needs the state alone. The outputs are of the scale of the data: standardise before.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.forecast.chimera.config import ChimeraConfig
from fullduplex.forecast.chimera.layer import Stack, StackState, check_columns
from fullduplex.nn.linear import Linear
from fullduplex.nn.stream import Growth

__all__ = ["ForecasterConfig", "NextColumn", "roll_out"]


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
    columns = [y_BTV[:, -1]]
    while len(columns) < horizon:
        y_BV, state = model.step(columns[-1], state)
        columns.append(y_BV)
    return torch.stack(columns, dim=1)

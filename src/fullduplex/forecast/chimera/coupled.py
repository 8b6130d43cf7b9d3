"""A coupled vector autoregression with a known floor, and one small training on it: does the coupling help?

Axes: B batch, T time, V = 3 variates.

    x0[t] = 0.6 x0[t-1] + e0,   x1[t] = 0.6 x1[t-1] + e1,   x2[t] = g x0[t-lag] + 0.3 e2,    e of variance 1

The error of x2 one step ahead has a floor of 0.09, the variance of its innovation (Bayes). A model that sees the own past
of x2 and only the present column of the others (A2 = A3 = 0) has to guess the last of variate 0's innovations that
reaches x2 next, g^2 = 0.81 of variance, unless `lag` is 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fullduplex.base.errors import ConfigError
from fullduplex.forecast.chimera.model import NextColumn

__all__ = ["FLOOR", "CoupledVar", "Fit", "draw_coupled", "fit_next_column", "next_column_error"]

FLOOR = 0.3**2  # variance of the innovation of variate 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CoupledVar:
    """The process.

    Args:
        lag: after how many steps variate 0 reaches variate 2, >= 1.
        gain: g.

    Raises:
        ConfigError: `lag` < 1.
    """

    lag: int = 4
    gain: float = 0.9

    def __post_init__(self) -> None:
        if self.lag < 1:
            raise ConfigError(f"CoupledVar got lag {self.lag}; expected 1 or more steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How `fit_next_column` trains: `num_updates` of AdamW on fresh windows, the rate falling along half a cosine."""

    num_updates: int = 600
    batch: int = 16
    num_steps: int = 64
    rate: float = 1e-2


def draw_coupled(process: CoupledVar, batch: int, num_steps: int, generator: torch.Generator) -> Tensor:
    """x_BTV of the process, long after its start."""
    total = 50 + num_steps
    e_BTV = torch.randn(batch, total, 3, generator=generator)
    driver_B2, columns = e_BTV[:, 0, :2], []
    for t in range(total):
        driver_B2 = 0.6 * driver_B2 + e_BTV[:, t, :2]
        columns.append(driver_B2)
    drivers_BT2 = torch.stack(columns, dim=1)
    followed_BT = drivers_BT2[:, 50 - process.lag : total - process.lag, 0]
    follower_BT = process.gain * followed_BT + FLOOR**0.5 * e_BTV[:, 50:, 2]
    return torch.cat([drivers_BT2[:, 50:], follower_BT.unsqueeze(-1)], dim=-1)


def fit_next_column(
    model: NextColumn,
    draw: Callable[[int, int], Tensor],
    fit: Fit,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Train to predict every next column, on windows never seen twice.

    Args:
        model: changed in place.
        draw: (batch, num_steps) to x_BTV.
        fit: how.
        report: called with the update's number and its loss.
    """
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=fit.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, fit.num_updates)
    for number in range(fit.num_updates):
        x_BTV = draw(fit.batch, fit.num_steps)
        y_BTV, _ = model.scan(x_BTV[:, :-1], model.init(fit.batch))
        loss = (y_BTV - x_BTV[:, 1:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        schedule.step()
        if report is not None:
            report(number, float(loss.detach()))


def next_column_error(model: NextColumn, x_BTV: Tensor, skip: int = 16) -> Tensor:
    """Mean squared error of one-step predictions, one number a variate, after `skip` columns of run-in."""
    with torch.no_grad():
        y_BTV, _ = model.scan(x_BTV[:, :-1], model.init(x_BTV.shape[0]))
    return (y_BTV - x_BTV[:, 1:]).square()[:, skip:].mean(dim=(0, 1))

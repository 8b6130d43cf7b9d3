"""Prediction intervals from the errors a model made on rows it was not fitted on (split conformal prediction)."""

import math
from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = ["Intervals", "calibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Half widths by step ahead and channel.

    Args:
        width_HC: shape (H, C).
        level: share of future values that should fall inside.
    """

    width_HC: Float64Array
    level: float

    def around(self, forecast_HC: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Lower and upper end of the interval around forecasts of shape (..., H, C)."""
        if forecast_HC.shape[-2:] != self.width_HC.shape:
            raise InputError(f"forecasts of shape {forecast_HC.shape}; expected (..., {self.width_HC.shape})")
        return forecast_HC - self.width_HC, forecast_HC + self.width_HC


def calibrate(actual_NHC: Float64Array, forecast_NHC: Float64Array, level: float = 0.9) -> Intervals:
    """Intervals from N past forecasts: the ceil((N + 1) level)-th smallest absolute error of every step and channel.

    If past and coming errors are exchangeable, at least `level` of the values fall inside (Vovk et al. 2005; Lei et al.,
    JASA 2018, theorem 2.2). Errors of overlapping windows of a drifting series are not, so look at the coverage measured.

    Args:
        actual_NHC: what happened, shape (N, H, C); missing values (NaN) are left out.
        forecast_NHC: what was forecast.
        level: in (0, 1).

    Raises:
        InputError: there are too few past forecasts for the level.
    """
    if not 0 < level < 1:
        raise InputError(f"the level is {level}; expected a number between 0 and 1")
    if actual_NHC.shape != forecast_NHC.shape or actual_NHC.ndim != 3:
        raise InputError(f"{actual_NHC.shape} observations, {forecast_NHC.shape} forecasts; expected (N, H, C) twice")
    errors_NHC = np.sort(np.abs(actual_NHC - forecast_NHC), axis=0)  # NaN sorts last
    counts_HC = (~np.isnan(errors_NHC)).sum(axis=0)
    # The small number keeps 0.9 * 10 from being 9.000000000000002.
    ranks_HC = np.ceil((counts_HC + 1) * level - 1e-9).astype(np.int64)
    if errors_NHC.shape[0] == 0 or (ranks_HC > counts_HC).any():
        needed = math.ceil(level / (1 - level) - 1e-9)
        fewest = int(counts_HC.min()) if counts_HC.size else 0
        raise InputError(f"{fewest} past forecasts; intervals of level {level} need {needed} or more; lower --level")
    width_HC = np.take_along_axis(errors_NHC, ranks_HC[None] - 1, axis=0)[0]
    return Intervals(width_HC=width_HC, level=level)

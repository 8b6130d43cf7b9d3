"""Standard scores from the past only."""

from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = ["Scaler", "fit_scaler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Mean and standard deviation of every channel, shape (C,); a channel that never moves has 1."""

    mean_C: Float64Array
    std_C: Float64Array

    def scale(self, values: Float64Array) -> Float64Array:
        """Values of shape (..., C) in standard scores."""
        return (self._checked(values) - self.mean_C) / self.std_C

    def unscale(self, values: Float64Array) -> Float64Array:
        """The way back."""
        return self._checked(values) * self.std_C + self.mean_C

    def _checked(self, values: Float64Array) -> Float64Array:
        if values.ndim == 0 or values.shape[-1] != self.mean_C.size:
            raise InputError(
                f"{values.shape} values for a scaler of {self.mean_C.size} channels; were columns changed?"
            )
        return values


def fit_scaler(past_TC: Float64Array) -> Scaler:
    """The scaler of `past_TC`, shape (T, C), missing values (NaN) left out; population deviation, as the field's.

    Raises:
        InputError: there is no row, a channel has no value at all, or a value is infinite.
    """
    if past_TC.ndim != 2 or not len(past_TC):
        raise InputError(f"the past has shape {past_TC.shape}; expected (time, channel) with at least one row")
    if np.isinf(past_TC).any():
        raise InputError("the past holds an infinite value; mark missing values as NaN")
    if np.isnan(past_TC).all(axis=0).any():
        raise InputError("a channel has no value in the past; drop the column")
    std_C = np.nanstd(past_TC, axis=0)
    mean_C = np.nanmean(past_TC, axis=0)
    # Rounding can give a constant channel a deviation of 1e-17 of its level: dividing by it would make noise a signal.
    constant = std_C <= 1e-12 * np.abs(mean_C)
    return Scaler(mean_C=mean_C, std_C=np.where(constant, 1.0, std_C))

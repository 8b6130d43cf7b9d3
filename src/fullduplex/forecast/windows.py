"""Windows of a series and the split of its rows into training, validation and test.

Axes: T rows in time, C channels, N windows, L context, H horizon.
"""

from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = ["ETT_HOURLY", "History", "Split", "cut_windows", "filled", "num_windows", "split_by_share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How many rows train, validate and test; rows after them are left out.

    Args:
        train: rows of the first part, at least 1.
        validate: rows of the second part.
        test: rows of the third part.

    Raises:
        InputError: a part is negative, or nothing is left to train on.
    """

    train: int
    validate: int
    test: int

    def __post_init__(self) -> None:
        if self.train < 1 or min(self.validate, self.test) < 0:
            raise InputError(f"split {self.train}/{self.validate}/{self.test}; expected 1 or more, then 0 or more")

    @property
    def past(self) -> int:
        """Rows before the test part."""
        return self.train + self.validate


ETT_HOURLY = Split(train=12 * 30 * 24, validate=4 * 30 * 24, test=4 * 30 * 24)  # months of 30 days, as the field cuts


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that a model may see when it is fitted.

    Args:
        train_TC: rows to fit on, shape (T, C).
        validate_TC: the rows right after them, to choose by; shape (T', C), possibly of no row.
        season: steps of the main season, at least 1.
    """

    train_TC: Float64Array
    validate_TC: Float64Array
    season: int = 1

    @property
    def past_TC(self) -> Float64Array:
        """Both parts, one after the other."""
        return np.concatenate([self.train_TC, self.validate_TC])


def split_by_share(num_rows: int, train: float = 0.7, test: float = 0.2) -> Split:
    """A split by shares, rounded as the field does it: train and test down, validation the rest.

    Raises:
        InputError: the shares are not positive or leave nothing.
    """
    if not (0 < train < 1 and 0 < test < 1 and train + test <= 1):
        raise InputError(f"shares are {train} and {test}; expected two in (0, 1) of at most 1 together")
    first, last = int(num_rows * train), int(num_rows * test)
    return Split(train=first, validate=num_rows - first - last, test=last)


def num_windows(num_rows: int, context: int, horizon: int) -> int:
    """Windows of `context` and `horizon` rows that fit into `num_rows` rows."""
    return max(0, num_rows - context - horizon + 1)


def cut_windows(values_TC: Float64Array, context: int, horizon: int) -> tuple[Float64Array, Float64Array]:
    """Every window of a series: contexts of shape (N, L, C) and what followed them, (N, H, C); read-only views.

    Raises:
        InputError: a length is below 1, or the series is shorter than one window.
    """
    if context < 1 or horizon < 1:
        raise InputError(f"context is {context}, horizon {horizon}; expected 1 or more each")
    if values_TC.ndim != 2:
        raise InputError(f"the series has {values_TC.ndim} axes; expected (time, channel)")
    if num_windows(len(values_TC), context, horizon) < 1:
        raise InputError(
            f"the series has {len(values_TC)} rows, a window needs {context} + {horizon}; shorten --context or --horizon"
        )
    views = np.lib.stride_tricks.sliding_window_view(values_TC, context + horizon, axis=0)
    views_NWC = views.transpose(0, 2, 1)
    return views_NWC[:, :context], views_NWC[:, context:]


def filled(context_NLC: Float64Array, season: int = 1) -> Float64Array:
    """Contexts without missing values (NaN), each filled from its own past; what holds none comes back as it is.

    A missing value takes that of a season before, else the one just before; at the start of a context, the first that is
    there.

    Raises:
        InputError: a channel of a context has no value at all, or a value is infinite.
    """
    if np.isfinite(context_NLC).all():
        return context_NLC
    if np.isinf(context_NLC).any():
        raise InputError("a context holds an infinite value; mark missing values as NaN")
    if np.isnan(context_NLC).all(axis=1).any():
        raise InputError("a channel is missing in a whole context; give a longer context or leave the channel out")
    made_NLC = context_NLC.copy()
    first_NC = (~np.isnan(made_NLC)).argmax(axis=1)
    head_NC = np.take_along_axis(made_NLC, first_NC[:, None], axis=1)[:, 0]
    for step in range(made_NLC.shape[1]):
        row_NC = made_NLC[:, step]
        gone_NC = np.isnan(row_NC)
        if gone_NC.any():
            before_NC = made_NLC[:, step - season] if step >= season else made_NLC[:, step - 1] if step else head_NC
            made_NLC[:, step] = np.where(gone_NC, np.where(step < first_NC, head_NC, before_NC), row_NC)
    return made_NLC

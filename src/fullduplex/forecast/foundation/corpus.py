"""Series to pre-train on: made-up ones of four kinds, and windows of any others.

Axes: N windows, L steps of a window, T steps of a series.
"""

from collections.abc import Iterable

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError

__all__ = ["KINDS", "last_windows", "make_series", "training_windows"]

KINDS = ("arma", "seasonal", "chaotic", "trend")


def make_series(index: int, num_steps: int, seed: int = 0) -> Float64Array:
    """Series number `index` of an endless made-up collection, shape (T,); its kind is `KINDS[index % 4]`.

    ARMA(2, 1) with roots inside the unit circle; one to three waves of odd periods with a slow change of size; a coupled
    logistic map, smoothed; a broken line with a wave on it. All with observation noise of a random size.

    Raises:
        InputError: there is no step, or the index is negative.
    """
    if index < 0 or num_steps < 1:
        raise InputError(f"series {index} of {num_steps} steps; expected 0 or more, 1 or more")
    rng = np.random.default_rng([seed, index])
    made = (_arma, _seasonal, _chaotic, _trend)[index % len(KINDS)](rng, num_steps)
    noise = 10 ** rng.uniform(-2, -0.3) * (made.std() or 1.0)
    level, unit = rng.normal(0, 3), 10 ** rng.uniform(-2, 3)
    return unit * (made + level * made.std() + noise * rng.standard_normal(num_steps))


def _arma(rng: np.random.Generator, num_steps: int) -> Float64Array:
    radius, angle, moving = rng.uniform(0.6, 0.99), rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8)
    first, second = 2 * radius * np.cos(angle), -(radius**2)
    shocks = rng.standard_normal(num_steps + 200)
    made = np.zeros(num_steps + 200)
    for t in range(2, made.size):
        made[t] = first * made[t - 1] + second * made[t - 2] + shocks[t] + moving * shocks[t - 1]
    return made[200:]


def _seasonal(rng: np.random.Generator, num_steps: int) -> Float64Array:
    time, made = np.arange(num_steps), np.zeros(num_steps)
    for _ in range(rng.integers(1, 4)):
        period, change = 2 ** rng.uniform(2, 7), 2 ** rng.uniform(7, 11)
        size = rng.uniform(0.3, 1) * (1 + 0.5 * np.sin(2 * np.pi * time / change + rng.uniform(0, 6)))
        made += size * np.sin(2 * np.pi * time / period + rng.uniform(0, 6))
    return made


def _chaotic(rng: np.random.Generator, num_steps: int) -> Float64Array:
    rate, hold = rng.uniform(3.6, 4.0), int(rng.integers(2, 9))
    value, made = rng.uniform(0.1, 0.9), np.empty(num_steps // hold + 2)
    for t in range(made.size):
        value = rate * value * (1 - value)
        made[t] = value
    return np.interp(np.arange(num_steps) / hold, np.arange(made.size), made)


def _trend(rng: np.random.Generator, num_steps: int) -> Float64Array:
    bends = np.sort(rng.integers(0, num_steps, 3))
    slope = rng.normal(0, 1, 4)[np.searchsorted(bends, np.arange(num_steps), side="right")]
    line = np.cumsum(slope) / num_steps
    period = 2 ** rng.uniform(2.5, 6)
    return line + rng.uniform(0, 0.3) * np.sin(2 * np.pi * np.arange(num_steps) / period)


def training_windows(series: Iterable[Float64Array], length: int, held: int, stride: int) -> Float64Array:
    """Windows of `length` steps every `stride`, none of which reaches into the last `held` steps of its series.

    Raises:
        InputError: no series is long enough.
    """
    parts = [
        np.lib.stride_tricks.sliding_window_view(values_T[: values_T.size - held], length)[::stride]
        for values_T in series
        if values_T.size >= length + held
    ]
    if not parts:
        raise InputError(f"no series has {length} + {held} steps; shorten the windows")
    return np.concatenate(parts)


def last_windows(series: Iterable[Float64Array], length: int, target: int) -> Float64Array:
    """The last `length` steps of every series that has as many, is whole there and moves before the last `target`.

    Raises:
        InputError: there is none.
    """
    kept = [
        values_T[-length:]
        for values_T in series
        if values_T.size >= length and np.isfinite(values_T[-length:]).all() and np.ptp(values_T[-length:-target]) > 0
    ]
    if not kept:
        raise InputError(f"no series has {length} whole steps that move")
    return np.stack(kept)

"""What a receiver reports of a pilot: laws of noise, each drawn exactly for the mean of several pilots at once.

    gaussian   power + N(0, sigma^2)                                        the law of the error bound
    physical   |h + n|^2, n circular Gaussian of variance sigma^2           a non-central chi-square
    log        the mean of log |h + n|^2                                    what averaging decibels gives
    rssi       |h + n|^2 in decibels, rounded to a step                     what hardware reports

`sigma` is the noise's standard deviation: of power (gaussian) or amplitude (the others), beside an aligned amplitude of 1.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError

__all__ = ["Law", "Noise", "noise_from_snr"]

Float = NDArray[np.float64]
Law = Literal["gaussian", "physical", "log", "rssi"]
_TINY = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A law and its size. Raises `ConfigError` for an unknown law, a negative sigma or a step that is not positive."""

    law: Law = "physical"
    sigma: float = 0.1
    step_db: float = 1.0

    def __post_init__(self) -> None:
        if self.law not in get_args(Law):
            raise ConfigError(f"law is {self.law!r}; expected one of {', '.join(get_args(Law))}")
        if not (0 <= self.sigma < math.inf and self.step_db > 0):
            raise ConfigError(f"sigma is {self.sigma} and step_db {self.step_db}; expected 0 or more, and more than 0")

    def observe(self, amplitude: Float, pilots: int, draw: np.random.Generator) -> Float:
        """The mean report of `pilots` pilots for every amplitude; minus infinity when there are none."""
        if pilots < 1:
            return np.full(amplitude.shape, -np.inf)
        power = np.square(amplitude)
        if self.law == "gaussian":
            return power + self.sigma / math.sqrt(pilots) * draw.standard_normal(amplitude.shape)
        if self.law == "physical":
            if not self.sigma:
                return power
            scale = self.sigma**2 / 2
            return scale / pilots * draw.noncentral_chisquare(2 * pilots, pilots * power / scale)
        total = np.zeros(amplitude.shape)
        for _ in range(pilots):
            real, imaginary = draw.standard_normal((2, *amplitude.shape)) * (self.sigma / math.sqrt(2))
            level = np.log(np.maximum((np.abs(amplitude) + real) ** 2 + imaginary**2, _TINY))
            if self.law == "rssi":
                level = self.step_db * np.round(10 / math.log(10) * level / self.step_db)
            total += level
        return total / pilots


def noise_from_snr(peak_snr_db: float, law: Law = "physical") -> Noise:
    """Noise for a ratio of aligned power to noise power (amplitude laws), or of aligned power to sigma squared."""
    if not math.isfinite(peak_snr_db):
        raise ConfigError(f"peak_snr_db is {peak_snr_db}; expected a finite number of decibels")
    return Noise(law=law, sigma=10 ** (-peak_snr_db / 20))

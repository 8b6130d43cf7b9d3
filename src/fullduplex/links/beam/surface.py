"""The far field of a holographic surface whose phase is linear in position (2112.02874, equation 10 in our units).

With a phase gradient beta and a receiver in direction alpha (both sines, -1 to 1), a continuous aperture of K wavelengths
answers with sinc(K (alpha - beta)), one factor for each axis; N elements of spacing d answer with the Dirichlet kernel,
which is the sum over elements in closed form. Gains are relative to a perfectly aligned surface: amplitude 1.

Axes: B trials, M phase gradients tried, N elements.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError, InputError

__all__ = ["Surface", "element_sum", "gain", "link_amplitude", "two_path_gain"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """`size`: wavelengths K along one axis. `spacing`: wavelengths between elements, None for a continuous aperture.

    Raises `ConfigError` for a size below one wavelength or a spacing that is not positive.
    """

    size: float
    spacing: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size < math.inf:
            raise ConfigError(f"size is {self.size} wavelengths; expected at least 1 and finite")
        if self.spacing is not None and not 0 < self.spacing <= self.size:
            raise ConfigError(f"spacing is {self.spacing} wavelengths; expected more than 0 and at most the size")

    @property
    def elements(self) -> int | None:
        """How many elements N, None for a continuous aperture."""
        return None if self.spacing is None else max(1, round(self.size / self.spacing))


def gain(surface: Surface, offset: Float) -> Float:
    """Relative amplitude at `offset` = alpha - beta, any shape: sinc, or the Dirichlet kernel of N elements."""
    if surface.elements is None:
        return np.sinc(surface.size * offset)
    assert surface.spacing is not None
    phase = np.pi * surface.spacing * np.asarray(offset, np.float64)
    below = np.sin(phase)
    flat = np.abs(below) < 1e-12  # aligned, or a grating lobe: the limit is +-1
    lobe = np.cos(surface.elements * phase) / np.cos(phase)
    return np.where(flat, lobe, np.sin(surface.elements * phase) / (surface.elements * np.where(flat, 1.0, below)))


def element_sum(surface: Surface, direction: float, gradient: float, *, range_wavelengths: float = math.inf) -> complex:
    """Relative amplitude by summing every element: the slow twin of `gain`, and the near field it leaves out.

    Args:
        surface: with a spacing.
        direction, gradient: alpha and beta.
        range_wavelengths: distance of the receiver from the middle; infinite for the far field.

    Raises:
        InputError: the surface is continuous, or the receiver is on it.
    """
    if surface.elements is None or surface.spacing is None:
        raise InputError("element_sum needs a surface with a spacing")
    if not range_wavelengths > 0:
        raise InputError(f"range_wavelengths is {range_wavelengths}; expected more than 0")
    place_N = (np.arange(surface.elements) - (surface.elements - 1) / 2) * surface.spacing
    if math.isinf(range_wavelengths):
        path_N, weight_N = -direction * place_N, np.ones_like(place_N)
    else:
        exact_N = np.sqrt(range_wavelengths**2 + place_N**2 - 2 * range_wavelengths * place_N * direction)
        path_N, weight_N = exact_N - range_wavelengths, range_wavelengths / exact_N
    return complex((weight_N * np.exp(-2j * np.pi * (path_N + gradient * place_N))).mean())


def two_path_gain(surface: Surface, offset: Float, second: Float, strength: complex) -> Float:
    """Magnitude with a second path: `second` is its alpha - beta, `strength` its amplitude beside the first's."""
    return np.abs(gain(surface, offset) + strength * gain(surface, second))


def link_amplitude(distance_m: float, wavelength_m: float, *, element_gain: float = 1.0) -> float:
    """Amplitude of a free-space link, sqrt(F) lambda / (4 pi r): what a relative amplitude of 1 means in power.

    Raises:
        InputError: a distance or wavelength that is not positive, or a gain below 0.
    """
    if not (distance_m > 0 and wavelength_m > 0 and element_gain >= 0):
        raise InputError("expected a positive distance and wavelength, and a gain of 0 or more")
    return math.sqrt(element_gain) * wavelength_m / (4 * math.pi * distance_m)

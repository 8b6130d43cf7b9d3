"""The same search on sound: steer a line of microphones to the talker with a fixed number of short looks.

A delay-and-sum beam over a line of N microphones answers a tone of wavelength lambda = c / f with the very kernel of the
surface, so a line of K wavelengths steered in steps of 1/K has one peak. Here the reports are powers of real sound: each
pilot is one window of the microphones' signals, beamformed at the frequency.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.canvas import new_figure
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.links.beam.grid import checked_grid, exact_grid
from fullduplex.links.beam.schedule import even_counts, schedule
from fullduplex.links.beam.surface import Surface

__all__ = ["Line", "arrive", "draw_beams", "find_talker", "loudest_tone", "scan"]

_SPEED_OF_SOUND = 343.0
_WINDOW_S = 0.032


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`microphones` in a line, `spacing_m` apart. Raises `ConfigError` for fewer than 2 or no spacing."""

    microphones: int = 16
    spacing_m: float = 0.02

    def __post_init__(self) -> None:
        if self.microphones < 2 or not 0 < self.spacing_m < 10:
            raise ConfigError(
                f"microphones is {self.microphones}, spacing_m {self.spacing_m}; expected 2 or more, and metres"
            )

    def surface(self, frequency_hz: float) -> Surface:
        """The line in wavelengths of one frequency."""
        wavelength_m = _SPEED_OF_SOUND / frequency_hz
        return Surface(size=self.microphones * self.spacing_m / wavelength_m, spacing=self.spacing_m / wavelength_m)


def arrive(
    sound: NDArray[np.float32], line: Line, direction: float, rate_hz: int, *, noise_db: float, seed: int
) -> NDArray[np.float32]:
    """What the microphones (N, samples) hear of a talker far away: exact fractional delays, and noise of their own.

    Args:
        sound: the talker, (samples,).
        line: the microphones.
        direction: sine of the angle from straight ahead, -1 to 1.
        rate_hz: sampling rate.
        noise_db: each microphone's noise below the talker's level.
        seed: of the noise.

    Raises:
        InputError: an empty or silent sound, or a direction outside -1 to 1.
    """
    if sound.ndim != 1 or not sound.size or not np.isfinite(sound).all() or not np.any(sound):
        raise InputError("the talker must be one finite channel that is not silent")
    if not -1 <= direction <= 1:
        raise InputError(f"direction is {direction}; expected a sine, -1 to 1")
    place_N = (np.arange(line.microphones) - (line.microphones - 1) / 2) * line.spacing_m
    delay_N = -direction * place_N / _SPEED_OF_SOUND
    size = 1 << (2 * sound.size - 1).bit_length()  # twice as long, so that nothing wraps around, and fast to transform
    turn_NF = np.exp(-2j * np.pi * delay_N[:, None] * np.fft.rfftfreq(size, 1 / rate_hz)[None, :])
    heard = np.fft.irfft(np.fft.rfft(sound, size)[None, :] * turn_NF, size)[:, : sound.size]
    level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) * 10 ** (-noise_db / 20)
    return (heard + level * np.random.default_rng(seed).standard_normal(heard.shape)).astype(np.float32)


def loudest_tone(heard_NT: NDArray[np.float32], line: Line, rate_hz: int) -> float:
    """The loudest frequency in the upper half of those whose beam has one peak: up to a quarter of a wavelength's spacing.

    Raises:
        InputError: shapes that do not fit the line, too short a recording, or a line too short or coarse for the rate.
    """
    _check_shape(heard_NT, line)
    top_hz = min(_SPEED_OF_SOUND / (4 * line.spacing_m), 0.45 * rate_hz)
    low_hz = max(top_hz / 2, _SPEED_OF_SOUND / (line.microphones * line.spacing_m))
    size = round(_WINDOW_S * rate_hz)
    count = heard_NT.shape[1] // size
    if count < 1:
        raise InputError(f"the recording has {heard_NT.shape[1]} samples; expected at least {size}")
    frequency_hz = np.fft.rfftfreq(size, 1 / rate_hz)
    inside = (frequency_hz >= low_hz) & (frequency_hz <= top_hz)
    if not inside.any():
        raise InputError(
            f"{line.microphones} microphones {line.spacing_m} m apart resolve nothing from {low_hz:.0f} to {top_hz:.0f} Hz; "
            "expected more microphones, or a higher sampling rate"
        )
    window_WT = heard_NT[0, : count * size].reshape(count, size) * np.hanning(size)
    level_F = np.square(np.abs(np.fft.rfft(window_WT, axis=1))).mean(axis=0)
    return float(frequency_hz[np.where(inside, level_F, -1.0).argmax()])


def find_talker(
    heard_NT: NDArray[np.float32],
    line: Line,
    rate_hz: int,
    *,
    frequency_hz: float,
    budget: int,
    seed: int = 0,
    refine: bool = False,
) -> float:
    """Direction (a sine) of the talker with at most `budget` looks of 32 ms at the beam's power.

    Looks fall on windows drawn at random from the louder half. The answer is a beam of the grid; with `refine` a third of
    the looks, at most 60, goes to it and its neighbours, and the talker is placed between them: amplitudes beside the peak
    fall as 1 / distance, so delta = a_beside / (a_beside + a_best). Beyond the outermost beam that cannot be told.

    Raises:
        InputError: shapes that do not fit the line, a frequency whose half wavelength is shorter than the spacing (the
        beam would have a second peak) or whose wavelength is longer than the line, or too short a recording.
    """
    if budget < 1:
        raise InputError(f"budget is {budget}; expected at least 1 look")
    draw = np.random.default_rng(seed)
    grid_M, share_MW = _beams(heard_NT, line, rate_hz, frequency_hz)

    def look(arm: int, pilots: int) -> float:
        """Mean beam power beside the microphones' own in the same windows: the talker's loudness cancels."""
        return float(share_MW[arm, draw.integers(0, share_MW.shape[1], pilots)].mean()) if pilots else -np.inf

    kept = min(budget // 9, 20) if refine and grid_M.size > 1 else 0
    plan = schedule(grid_M.size, budget - 3 * kept)
    low = 0
    for alive, pilots in zip(plan.sizes[:-1], plan.pilots[:-1], strict=True):
        third = (alive - 1) // 3
        tried = [low, low + third, low + alive - 1 - third, low + alive - 1]
        reports = [look(arm, each) for arm, each in zip(tried, even_counts(pilots, 4), strict=True)]
        low += third if int(np.argmax(reports)) >= 2 else 0
    counts = even_counts(plan.pilots[-1], plan.sizes[-1])
    reports = [look(low + i, each) for i, each in enumerate(counts)]
    best = low + int(np.argmax(reports))
    if not kept:
        return float(grid_M[best])
    left, middle, right = (
        math.sqrt(look(arm, kept)) if 0 <= arm < grid_M.size else 0.0 for arm in (best - 1, best, best + 1)
    )
    beside = max(left, right)
    step = (grid_M[1] - grid_M[0]) * min(0.5, beside / (beside + middle))
    return float(np.clip(grid_M[best] + (step if right >= left else -step), -1.0, 1.0))


def scan(
    heard_NT: NDArray[np.float32], line: Line, rate_hz: int, *, frequency_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every beam of the grid, and its mean share of the microphones' power over all loud windows: the slow way.

    Raises: InputError as `find_talker`.
    """
    grid_M, share_MW = _beams(heard_NT, line, rate_hz, frequency_hz)
    return grid_M, share_MW.mean(axis=1)


def _check_shape(heard_NT: NDArray[np.float32], line: Line) -> None:
    if heard_NT.ndim != 2 or heard_NT.shape[0] != line.microphones:
        raise InputError(f"expected sound of {line.microphones} microphones, got shape {heard_NT.shape}")


def _beams(
    heard_NT: NDArray[np.float32], line: Line, rate_hz: int, frequency_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The grid (M,), and each beam's power beside the microphones' in the louder half of the windows (M, W)."""
    _check_shape(heard_NT, line)
    if not 0 < frequency_hz <= rate_hz / 2:
        raise InputError(f"frequency_hz is {frequency_hz}; expected above 0 and at most half of {rate_hz} Hz")
    wavelength_m = _SPEED_OF_SOUND / frequency_hz
    if line.spacing_m >= wavelength_m / 2:
        raise InputError(
            f"{frequency_hz:g} Hz is too high for microphones {line.spacing_m} m apart: the beam has two peaks"
        )
    if line.microphones * line.spacing_m < wavelength_m:
        raise InputError(
            f"{frequency_hz:g} Hz is too low for a line of {line.microphones * line.spacing_m:.3g} m: "
            f"expected at least {_SPEED_OF_SOUND / (line.microphones * line.spacing_m):.0f} Hz"
        )
    surface = line.surface(frequency_hz)
    size = round(_WINDOW_S * rate_hz)
    count = heard_NT.shape[1] // size
    if count < 1:
        raise InputError(f"the recording has {heard_NT.shape[1]} samples; expected at least {size}")
    window_NWT = heard_NT[:, : count * size].reshape(line.microphones, count, size).astype(np.float64)
    tone_T = np.exp(-2j * np.pi * frequency_hz / rate_hz * np.arange(size)) * np.hanning(size)
    phasor_NW = window_NWT @ tone_T
    level_W = np.square(np.abs(phasor_NW)).mean(axis=0)
    loud_W = (level_W >= np.quantile(level_W, 0.5)) & (level_W > 0)
    if not loud_W.any():
        raise InputError(f"the microphones hear nothing at {frequency_hz:g} Hz; expected sound there")
    place_N = (np.arange(line.microphones) - (line.microphones - 1) / 2) * line.spacing_m / wavelength_m
    grid_M = checked_grid(surface, exact_grid(surface))
    steer_MN = np.exp(-2j * np.pi * grid_M[:, None] * place_N) / line.microphones
    return grid_M, np.square(np.abs(steer_MN @ phasor_NW[:, loud_W])) / level_W[loud_W]


def draw_beams(
    grid_M: NDArray[np.float64],
    power_M: NDArray[np.float64],
    found: float,
    file: Path,
    *,
    looks: int,
    degrees: float | None = None,
) -> None:
    """A PNG of what `scan` returned, the direction that `find_talker` chose, and the true one in degrees if it is known.

    Raises: MissingExtraError without matplotlib.
    """
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    axes.plot(np.degrees(np.arcsin(grid_M)), power_M, marker="o", ms=4, lw=1, label="every beam, the louder half")
    axes.axvline(np.degrees(np.arcsin(found)), color="tab:red", label=f"found with {looks} looks")
    if degrees is not None:
        axes.axvline(degrees, color="black", linestyle=":", label="the talker")
    axes.set_xlabel("degrees from straight ahead")
    axes.set_ylabel("share of the microphones' power")
    axes.legend(fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)

"""The memory inspector: what N numbers still say about a recording.

Axes: A ages, 0 the newest sample.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.canvas import new_figure
from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.families import family
from fullduplex.ssm.hippo.memory import Memory

__all__ = ["Inspection", "draw_inspection", "inspect_memory", "loudest_end"]

F64 = NDArray[np.float64]

_SHOWN_SPANS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A signal beside what was remembered of it.

    Args:
        kind, order, span_samples, rate_hz: the memory.
        end_samples: samples heard when the memory was asked.
        heard_A: the signal, newest first.
        recalled_A: what the state said it was.
        error: root mean square error over the last `span_samples` samples, as a share of the signal's; of 1 if it is silent.
    """

    kind: str
    order: int
    span_samples: float
    rate_hz: float
    end_samples: int
    heard_A: F64
    recalled_A: F64
    error: float


def inspect_memory(
    samples_T: ArrayLike, memory: Memory, *, rate_hz: float, end_samples: int | None = None
) -> Inspection:
    """Let `memory` hear a recording up to `end_samples`, then ask it for what it heard.

    Args:
        samples_T: the recording.
        memory: a window or a fading memory.
        rate_hz: sample rate, for the report.
        end_samples: how much of it is heard; None for all.

    Raises:
        InputError: no samples, not finite, or an end outside the recording.
    """
    samples = np.asarray(samples_T, dtype=np.float64)
    end = samples.size if end_samples is None else end_samples
    if samples.ndim != 1 or not 1 <= end <= samples.size:
        raise InputError(f"cannot hear {end} samples of a recording of shape {samples.shape}; expected 1 to its length")
    state = memory.scan(samples[:end], memory.init())
    span = memory.timescale.span_samples
    ages_A = np.arange(min(end, max(1, round(_SHOWN_SPANS * span))))
    heard_A, recalled_A = samples[end - 1 - ages_A], memory.recall(state, ages_A)
    inside = ages_A < span
    power = float(np.mean(heard_A[inside] ** 2))
    missed = float(np.mean((recalled_A - heard_A)[inside] ** 2))
    return Inspection(
        kind=memory.timescale.kind,
        order=memory.order,
        span_samples=span,
        rate_hz=rate_hz,
        end_samples=end,
        heard_A=heard_A,
        recalled_A=recalled_A,
        error=(missed / power if power > 0 else missed) ** 0.5,
    )


def loudest_end(samples_T: ArrayLike, span_samples: float) -> int:
    """The moment whose last `span_samples` samples hold the most energy: where there is something to remember.

    Raises:
        InputError: no samples.
    """
    samples = np.asarray(samples_T, dtype=np.float64)
    if samples.ndim != 1 or samples.size == 0:
        raise InputError(f"got a recording of shape {samples.shape}; expected one axis of at least one sample")
    span = min(max(1, round(span_samples)), samples.size)
    energy_T = np.concatenate([[0.0], np.cumsum(samples**2)])
    return span + int(np.argmax(energy_T[span:] - energy_T[:-span]))


def draw_inspection(file: Path, inspection: Inspection, *, title: str = "") -> None:
    """Write a PNG: the signal and what was remembered, and the error by age.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(12, 6)
    above, below = np.atleast_1d(figure.subplots(2, 1, sharex=True, height_ratios=[3, 1]))
    ages_A = np.arange(inspection.heard_A.size)
    ages_ms_A = -1e3 * ages_A / inspection.rate_hz
    # Beyond a window its functions go on, and mean nothing.
    blind = (ages_A >= inspection.span_samples) & (family(inspection.kind).window is not None)
    recalled_A = np.where(blind, np.nan, inspection.recalled_A)
    peak = float(np.abs(inspection.heard_A).max(initial=1e-6))
    above.plot(ages_ms_A, inspection.heard_A, color="0.6", lw=1.5, label="heard")
    above.plot(ages_ms_A, recalled_A, color="tab:blue", lw=0.9, label="recalled")
    above.set_ylim(-1.6 * peak, 1.6 * peak)
    above.legend(loc="upper left", frameon=False)
    below.plot(ages_ms_A, np.abs(recalled_A - inspection.heard_A), color="tab:red", lw=0.8)
    below.set_ylim(0, 1.2 * peak)
    below.set_ylabel("error")
    below.set_xlabel("milliseconds before the last sample; the line marks the timescale")
    for axes in (above, below):
        axes.axvline(-1e3 * inspection.span_samples / inspection.rate_hz, color="0.3", lw=0.8, ls=":")
        axes.spines[["top", "right"]].set_visible(False)
    what = f"{inspection.kind}, {inspection.order} numbers, error {inspection.error:.3f}"
    above.set_title(f"{title}: {what}" if title else what, fontsize=11)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)

"""Three constants of a real device from measured matrix products: what share of its two peaks is reached, and the rest.

seconds = max(operations / (c F), bytes / (b B)) + start. The fit minimises the mean absolute relative error; whoever
fits holds shapes out and reports the error there.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.hardware.device import Device
from fullduplex.hardware.workload import Work

__all__ = ["Fit", "fit_roofline"]

Array = NDArray[np.float64]
_ROUNDS, _POINTS = 6, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Shares of the peaks of compute and of memory, and seconds before a kernel does anything."""

    compute_share: float
    memory_share: float
    start_s: float

    def seconds(self, work: Sequence[Work], device: Device) -> Array:
        """Predicted time of each product on `device`."""
        flops, moved = _columns(work)
        compute_s = flops / (device.flops_per_s * self.compute_share)
        return np.maximum(compute_s, moved / (device.bytes_per_s * self.memory_share)) + self.start_s

    def error(self, work: Sequence[Work], measured_s: Array, device: Device) -> float:
        """Mean absolute relative error."""
        return float(np.abs(self.seconds(work, device) / measured_s - 1).mean())


def fit_roofline(work: Sequence[Work], measured_s: Array, device: Device) -> Fit:
    """The constants with the least error on `work`: a grid around the best so far, finer each round.

    Args:
        measured_s: seconds of each product, above 0.

    Raises: InputError for lengths that differ, fewer than three products, or times that are not above 0.
    """
    if len(work) != len(measured_s) or len(work) < 3:
        raise InputError(f"{len(work)} products and {len(measured_s)} times; expected as many, and at least 3")
    if not (np.isfinite(measured_s).all() and (measured_s > 0).all()):
        raise InputError("measured_s holds times that are not above 0; leave such measurements out")
    best = Fit(compute_share=0.6, memory_share=0.6, start_s=float(measured_s.min()) / 2)
    width = 0.9
    for _ in range(_ROUNDS):
        offsets = np.linspace(-width, width, _POINTS).tolist()
        options = [
            dataclasses.replace(best, compute_share=min(1.0, best.compute_share * (1 + a)),
                                memory_share=min(1.0, best.memory_share * (1 + b)), start_s=best.start_s * (1 + c))
            for a in offsets for b in offsets for c in offsets
        ]  # fmt: skip
        best = min([best, *options], key=lambda option: option.error(work, measured_s, device))
        width /= 2.5
    return best


def _columns(work: Sequence[Work]) -> tuple[Array, Array]:
    return np.array([item.flops for item in work]), np.array([item.bytes for item in work])

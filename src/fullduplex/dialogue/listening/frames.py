"""Any packets in, equal frames out: what follows cannot tell how the sound arrived."""

from dataclasses import dataclass

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue.ports import Pcm

__all__ = ["Framer", "check_pcm"]

_MAX_PACKET_SAMPLES = 16_000 * 60


def check_pcm(pcm: object, *, what: str = "audio") -> Pcm:
    """`pcm` as a finite float32 vector in [-1, 1] (clipped); zero length is allowed.

    Raises:
        InputError: not a one-dimensional float array, NaN or infinite, or longer than a minute in one packet.
    """
    array = np.asarray(pcm)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise InputError(
            f"{what} must be one channel of floating-point samples; got shape {array.shape}, type {array.dtype}; "
            "convert integers to [-1, 1] and mix to mono first"
        )
    if array.size > _MAX_PACKET_SAMPLES:
        raise InputError(f"{what} packet holds {array.size} samples; the most is {_MAX_PACKET_SAMPLES} (60 s)")
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds {int((~np.isfinite(array)).sum())} NaN or infinite samples; drop the packet")
    return np.clip(array, -1.0, 1.0).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class Framer:
    """Cuts a stream of packets into frames of FRAME_SAMPLES; the remainder waits in the value."""

    rest: Pcm

    @classmethod
    def empty(cls) -> "Framer":
        """A framer that holds nothing."""
        return cls(np.zeros(0, np.float32))

    def push(self, pcm: Pcm) -> tuple[list[Pcm], "Framer"]:
        """Frames that are now complete, and the framer that holds the rest."""
        joined = np.concatenate([self.rest, check_pcm(pcm)])
        count = joined.size // FRAME_SAMPLES
        cut = count * FRAME_SAMPLES
        frames = [joined[i : i + FRAME_SAMPLES] for i in range(0, cut, FRAME_SAMPLES)]
        return frames, Framer(joined[cut:].copy())

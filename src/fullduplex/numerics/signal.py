"""PCM as checked arrays: float32, one channel, contiguous, finite, nominally within [-1, 1].

Axes: N samples.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import db_from_amplitude

__all__ = ["Pcm", "as_pcm", "fade", "level_db", "pcm16_from_float", "pcm_from_pcm16", "rms"]

Pcm = NDArray[np.float32]

_INT16_SCALE = 32768.0  # the full negative swing of two's complement, so that both directions agree


def as_pcm(x: ArrayLike, name: str = "pcm", *, allow_empty: bool = False) -> Pcm:
    """`x` as PCM, or an error that says why it is none.

    Args:
        x: samples, shape (N,), floating point.
        name: how the caller calls it, for the message.
        allow_empty: accept N = 0.

    Returns: (N,) float32, C-contiguous; `x` itself when it already is that.

    Raises: InputError for another shape, an integer or complex type, no samples, NaN or infinity.
    """
    array = np.asarray(x)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}; expected one channel (N,): mix or pick a channel first")
    if array.dtype.kind != "f":
        raise InputError(
            f"{name} has type {array.dtype}; expected floating point in [-1, 1]: convert int16 with pcm_from_pcm16"
        )
    if array.size == 0 and not allow_empty:
        raise InputError(f"{name} is empty; expected at least one sample")
    pcm = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(pcm).all():
        bad = int(np.flatnonzero(~np.isfinite(pcm))[0])
        raise InputError(f"{name} has {pcm[bad]} at sample {bad}; expected finite values: drop or repair the chunk")
    return pcm


def pcm_from_pcm16(data: bytes | bytearray | memoryview | NDArray[np.int16]) -> Pcm:
    """Little-endian 16-bit samples as float PCM in [-1, 1).

    Raises: InputError when the bytes are not a whole number of samples or an array is not one-dimensional int16.
    """
    if isinstance(data, np.ndarray):
        if data.dtype != np.int16 or data.ndim != 1:
            raise InputError(f"pcm16 array is {data.dtype} {data.shape}; expected int16 (N,)")
        return data.astype(np.float32) / np.float32(_INT16_SCALE)
    if len(data) % 2:
        raise InputError(f"pcm16 has {len(data)} bytes; expected an even count: a sample is 2 bytes, little-endian")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(_INT16_SCALE)


def pcm16_from_float(pcm: ArrayLike) -> bytes:
    """Float PCM as little-endian 16-bit bytes, rounded and clipped to the range. Raises: as `as_pcm`."""
    samples = as_pcm(pcm, allow_empty=True)
    return np.clip(np.rint(samples * _INT16_SCALE), -32768, 32767).astype("<i2").tobytes()


def rms(pcm: Pcm) -> float:
    """Root mean square of `pcm`; 0 for no samples."""
    if pcm.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64))))


def level_db(pcm: Pcm) -> float:
    """RMS level in dB relative to an amplitude of 1; -120 dB is the floor. A full-scale sine is -3.01 dB."""
    return db_from_amplitude(rms(pcm))


def fade(pcm: Pcm, num_samples: int) -> Pcm:
    """A copy of `pcm` with a raised-cosine fade of `num_samples` at both ends (shorter when `pcm` is short)."""
    num = min(num_samples, pcm.size // 2)
    out = pcm.copy()
    if num > 0:
        ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(num) + 0.5) / num)).astype(np.float32)
        out[:num] *= ramp
        out[-num:] *= ramp[::-1]
    return out

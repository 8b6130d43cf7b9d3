"""Sound from files: any rate, any number of channels, one checked mono track out."""

from pathlib import Path

import numpy as np

from fullduplex.base.errors import FormatError, InputError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Pcm
from fullduplex.numerics.resample import resample

__all__ = ["MAX_S", "read_mono"]

MAX_S = 4 * 3600
_RATES_HZ = range(8_000, 192_001)


def read_mono(file: Path, *, channel: int | None = None) -> Pcm:
    """A sound file at EAR_RATE_HZ.

    Args:
        file: WAV, FLAC, OGG or whatever else libsndfile reads.
        channel: which one, from 0; None mixes all of them.

    Raises:
        FormatError: missing, empty, truncated or not a sound file. InputError: NaN, a rate outside 8 to 192 kHz, no such
            channel, longer than four hours.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error
    try:
        sound, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise FormatError(f"{file} cannot be read as sound ({error}); give a WAV, FLAC or OGG file") from error
    pcm = np.asarray(sound, np.float32)
    if pcm.size == 0:
        raise FormatError(f"{file} holds no samples")
    if rate_hz not in _RATES_HZ:
        raise InputError(f"{file} has a rate of {rate_hz} Hz; expected {_RATES_HZ.start} to {_RATES_HZ.stop - 1}")
    if pcm.shape[0] > MAX_S * rate_hz:
        raise InputError(f"{file} lasts {pcm.shape[0] / rate_hz / 3600:.1f} hours; the most is {MAX_S // 3600}")
    if not np.isfinite(pcm).all():
        raise InputError(f"{file} holds NaN or infinite samples; repair it first")
    if channel is None:
        mono = pcm.mean(axis=1)
    elif 0 <= channel < pcm.shape[1]:
        mono = pcm[:, channel]
    else:
        raise InputError(f"{file} has {pcm.shape[1]} channel(s); there is no channel {channel}")
    return np.clip(resample(np.ascontiguousarray(mono), rate_hz, EAR_RATE_HZ), -1.0, 1.0)

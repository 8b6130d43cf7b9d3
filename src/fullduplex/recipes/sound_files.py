"""Sound from files: any rate, any number of channels, one checked mono track out."""

import logging
import struct
from os import SEEK_CUR
from pathlib import Path

import numpy as np

from fullduplex.base.errors import FormatError, InputError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Pcm
from fullduplex.numerics.resample import resample

__all__ = ["MAX_S", "read_mono"]

MAX_S = 4 * 3600
_SLACK_S = 0.001
_ENDLESS_BYTES = 0x7FFF_F000  # a writer into a pipe does not know the length, and promises this much or more
_STEADY = (1, 3, 6, 7, 0xFFFE)  # encodings of WAV with a fixed number of bytes a sample: PCM, float, A-law, µ-law
_LOG = logging.getLogger(__name__)
_RATES_HZ = range(8_000, 192_001)


def read_mono(file: Path, *, channel: int | None = None) -> Pcm:
    """A sound file at EAR_RATE_HZ. A WAV that holds less than its header promises is read as far as it goes, with a warning.

    Args:
        file: WAV, FLAC, OGG or whatever else libsndfile reads.
        channel: which one, from 0; None mixes all of them.

    Raises:
        FormatError: missing, empty or not a sound file. InputError: NaN, a rate outside 8 to 192 kHz, no such
            channel, longer than four hours.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error
    if not file.exists() or file.is_dir():
        what = "is a folder" if file.is_dir() else "is not there"
        raise FormatError(f"{file} {what}; give a WAV, FLAC or OGG file")
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
    _warn_if_cut(file, pcm.shape[0] / rate_hz)
    if channel is not None and not 0 <= channel < pcm.shape[1]:
        raise InputError(f"{file} has {pcm.shape[1]} channel(s); there is no channel {channel}")
    mono = pcm.mean(axis=1) if channel is None else pcm[:, channel]
    return np.clip(resample(np.ascontiguousarray(mono), rate_hz, EAR_RATE_HZ), -1.0, 1.0)


def _warn_if_cut(file: Path, came_s: float) -> None:
    promised_s = _promised_s(file) if file.is_file() else 0.0
    if promised_s > came_s + _SLACK_S:
        _LOG.warning("%s promises %.2f s of sound and holds %.2f s; was it cut off?", file, promised_s, came_s)


def _promised_s(file: Path) -> float:
    """How long a WAV is by its header; 0 for other files, and where the header does not tell."""
    bytes_per_s = 0
    with file.open("rb") as stream:
        head = stream.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0.0
        while len(chunk := stream.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                return size / bytes_per_s if bytes_per_s and size < _ENDLESS_BYTES else 0.0
            body = stream.read(min(size, 16))
            stream.seek(size + size % 2 - len(body), SEEK_CUR)
            if name == b"fmt " and len(body) >= 12 and struct.unpack_from("<H", body)[0] in _STEADY:
                bytes_per_s = struct.unpack_from("<I", body, 8)[0]
    return 0.0

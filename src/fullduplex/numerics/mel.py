"""Whisper's log-mel spectrogram in NumPy.

Window 25 ms, hop 10 ms, 80 Slaney mel bands up to 8 kHz, base-10 logarithm, floor 8 decades under the loudest, then
(x + 4) / 4: Radford et al. 2022, section 2.2. The mel scale and its area normalisation are Slaney's (Auditory Toolbox,
1998): linear below 1 kHz, logarithmic above.

Axes: N samples, T frames, F frequency bins, B mel bands.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import Pcm, as_pcm

__all__ = ["HOP_SAMPLES", "MEL_RATE_HZ", "NUM_BANDS", "WINDOW_SAMPLES", "log_mel", "mel_bands", "standardise"]

MEL_RATE_HZ = 16_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
NUM_BANDS = 80

_LINEAR_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def log_mel(pcm: Pcm) -> NDArray[np.float32]:
    """Log-mel spectrogram of a whole signal at 16 kHz.

    Args:
        pcm: (N,) with N > 200 (the edges are mirrored by half a window).

    Returns: (80, N // 160), about -1 to 1.5. Raises: InputError for a shorter signal, and as `as_pcm`.
    """
    pcm = as_pcm(pcm)
    half = WINDOW_SAMPLES // 2
    if pcm.size <= half:
        raise InputError(f"pcm has {pcm.size} samples; expected more than {half} at 16 kHz: pad it on the left")
    padded = np.pad(pcm.astype(np.float64), half, mode="reflect")
    frames_TN = sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES][:-1]
    spectrum_TF = np.fft.rfft(frames_TN * _hann(), axis=-1)
    power_TF = np.square(spectrum_TF.real) + np.square(spectrum_TF.imag)
    log_BT = np.log10(np.maximum(mel_bands() @ power_TF.T, 1e-10))
    return ((np.maximum(log_BT, log_BT.max() - 8.0) + 4.0) / 4.0).astype(np.float32)


def standardise(pcm: Pcm) -> Pcm:
    """`pcm` with mean 0 and variance 1; silence stays silence (variance floor 1e-7)."""
    return ((pcm - pcm.mean()) / np.sqrt(pcm.var() + np.float32(1e-7))).astype(np.float32)


@lru_cache(maxsize=1)
def mel_bands() -> NDArray[np.float64]:
    """Slaney's triangular filters with unit area a hertz: (80 bands, 201 bins), read-only."""
    top_mel = _KNEE_MEL + math.log(MEL_RATE_HZ / 2 / _KNEE_HZ) / _LOG_STEP
    mels: NDArray[np.float64] = np.linspace(0.0, top_mel, NUM_BANDS + 2)
    edges_hz = np.where(mels < _KNEE_MEL, mels * _LINEAR_HZ_PER_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)))
    bins_hz = np.linspace(0.0, MEL_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - low) / (centre - low)
    falling = (high - bins_hz) / (high - centre)
    bands = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (high - low)
    bands.flags.writeable = False
    return bands


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float64]:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    window.flags.writeable = False
    return window

"""Rates of the house and converters between seconds, samples, decibels and amplitude."""

import math

__all__ = ["EAR_RATE_HZ", "FRAME_S", "FRAME_SAMPLES", "VOICE_RATE_HZ", "db_from_amplitude", "samples_from_s"]

EAR_RATE_HZ = 16_000  # what the machine hears: recognisers and detectors work at 16 kHz
VOICE_RATE_HZ = 24_000  # what the machine says: the rate of the OpenAI Realtime protocol's pcm16
FRAME_SAMPLES = 512  # one frame of the ear: 32 ms, the window of Silero VAD v5
FRAME_S = FRAME_SAMPLES / EAR_RATE_HZ


def samples_from_s(seconds: float, rate_hz: int) -> int:
    """Nearest whole number of samples in `seconds` at `rate_hz`."""
    return round(seconds * rate_hz)


def db_from_amplitude(amplitude: float) -> float:
    """Decibels of an amplitude relative to 1; -120 dB is the floor, so silence stays finite."""
    return 20.0 * math.log10(max(amplitude, 1e-6))

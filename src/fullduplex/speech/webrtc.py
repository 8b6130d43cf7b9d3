"""WebRTC's echo canceller (AEC3) behind the same interface, from livekit's audio processing module (Apache-2.0).

It also suppresses what its filter leaves, and the talker with it when both speak: good against distorting loudspeakers
and drifting clocks, worse than `EchoCanceller` at hearing an interruption.
"""

from typing import Any

import numpy as np

from fullduplex.base.errors import InputError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.numerics.signal import Pcm, pcm16_from_float, pcm_from_pcm16
from fullduplex.speech.echo import check_pair

__all__ = ["WebRtcEcho"]

_BLOCK_SAMPLES = EAR_RATE_HZ // 100  # the module works on 10 ms


class WebRtcEcho:
    """AEC3 with a high-pass filter, 16 kHz. One object a conversation; not for threads."""

    def __init__(self, *, delay_ms: int | None = None, noise_suppression: bool = False) -> None:
        """Start with nothing learned.

        Args:
            delay_ms: the delay of the echo when it is known, 0 to 500; None lets the module find it.
            noise_suppression: also take out steady noise.

        Raises: MissingExtraError without livekit; InputError for another delay.
        """
        if delay_ms is not None and not 0 <= delay_ms <= 500:
            raise InputError(f"delay_ms is {delay_ms}; expected 0 to 500, or None")
        try:
            from livekit import rtc
        except ImportError as error:
            raise MissingExtraError("livekit", "talk") from error
        self._frame: Any = rtc.AudioFrame
        self._module = rtc.AudioProcessingModule(
            echo_cancellation=True, high_pass_filter=True, noise_suppression=noise_suppression
        )
        self._delay_ms = delay_ms
        self._near = self._far = np.zeros(0, np.float32)
        self._out = np.zeros(self.latency_samples, np.float32)

    @property
    def latency_samples(self) -> int:
        """159: any chunk length fits the module's 10 ms."""
        return _BLOCK_SAMPLES - 1

    @property
    def echo_share(self) -> float:
        """Always 0: the module does not say."""
        return 0.0

    def process(self, near_pcm: Pcm, far_pcm: Pcm) -> Pcm:
        """The next chunk, of any length, without echo. Raises: InputError for lengths that differ, NaN."""
        near, far = check_pair(near_pcm, far_pcm)
        self._near, self._far = np.concatenate([self._near, near]), np.concatenate([self._far, far])
        done = [self._out]
        while self._near.size >= _BLOCK_SAMPLES:
            done.append(self._block(self._near[:_BLOCK_SAMPLES], self._far[:_BLOCK_SAMPLES]))
            self._near, self._far = self._near[_BLOCK_SAMPLES:], self._far[_BLOCK_SAMPLES:]
        ready = np.concatenate(done)
        self._out = ready[near.size :]
        return ready[: near.size]

    def _block(self, near: Pcm, far: Pcm) -> Pcm:
        played = self._frame(pcm16_from_float(far), EAR_RATE_HZ, 1, _BLOCK_SAMPLES)
        heard = self._frame(pcm16_from_float(near), EAR_RATE_HZ, 1, _BLOCK_SAMPLES)
        self._module.process_reverse_stream(played)
        if self._delay_ms is not None:
            self._module.set_stream_delay_ms(self._delay_ms)
        self._module.process_stream(heard)
        return pcm_from_pcm16(bytes(heard.data))

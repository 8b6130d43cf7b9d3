"""The machine's own voice, taken out of what its microphone hears.

`EchoCanceller` subtracts a learned echo and nothing else, so that a talker over the echo is not distorted; what is left
goes to the recogniser as it is. Whether what is left is a talker or badly subtracted echo is a separate answer,
`echo_share`: a detector of speech must not be believed where it is high, or the machine interrupts itself.
"""

from typing import Protocol

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.kernels.echo.library import echo_filter
from fullduplex.numerics.echo_filter import BLOCK_SAMPLES
from fullduplex.numerics.signal import Pcm, as_pcm

__all__ = ["EchoCanceller", "EchoRemover", "NoEcho", "check_pair"]

# Measured with recorded speech in synthetic rooms, linear and with a clipping loudspeaker: see docs/systems.
_DOUBT_WEIGHT = 0.5
_UNLEARNABLE = 10 ** (-25 / 10)  # echo this far under the estimate is distortion that no linear filter learns
_HOLD = 0.7 ** (BLOCK_SAMPLES / 512)  # echo powers fall by 1.5 dB a 32 ms frame: rooms ring


class EchoRemover(Protocol):
    """A microphone signal without the loudspeaker's."""

    @property
    def latency_samples(self) -> int:
        """How much later a sound leaves than it came."""
        ...

    @property
    def echo_share(self) -> float:
        """How much of the power just returned may still be echo, 0 to 1."""
        ...

    def process(self, near_pcm: Pcm, far_pcm: Pcm) -> Pcm:
        """The near sound without echo of the far sound; all three of one length, far being what plays meanwhile."""
        ...


class EchoCanceller:
    """A Kalman filter that learns the path from loudspeaker to microphone. One object a conversation; not for threads.

    16 kHz. It reaches back `path_ms` from `delay_ms`: the sum of device delays and the room's tail must fit. Learning
    takes one to two seconds of the machine's own speech; `echo_share` covers that time.
    """

    def __init__(self, *, delay_ms: int = 0, path_ms: int = 320, any_chunk: bool = False) -> None:
        """Start with nothing learned.

        Args:
            delay_ms: a known delay before the echo can begin, 0 to 1000.
            path_ms: length of path to learn, 16 to 1000; costs in proportion.
            any_chunk: accept chunks of any length, for 127 samples of latency; else multiples of 128 and none.

        Raises: InputError outside these ranges.
        """
        if not 0 <= delay_ms <= 1000 or not 16 <= path_ms <= 1000:
            raise InputError(f"delay_ms {delay_ms}, path_ms {path_ms}; expected 0 to 1000 and 16 to 1000")
        self._filter = echo_filter(-(-path_ms * EAR_RATE_HZ // (1000 * BLOCK_SAMPLES)))
        self._state = self._filter.init()
        self._any_chunk = any_chunk
        self._near = np.zeros(0, np.float32)
        self._far = np.zeros(delay_ms * EAR_RATE_HZ // 1000, np.float32)
        self._out = np.zeros(self.latency_samples, np.float32)
        self._rest_power = self._echo_power = self._doubt = 0.0

    @property
    def latency_samples(self) -> int:
        """0, or 127 with `any_chunk`."""
        return BLOCK_SAMPLES - 1 if self._any_chunk else 0

    @property
    def echo_share(self) -> float:
        """Share of the power at the end of the last chunk that may be echo, 0 to 1."""
        echo = _DOUBT_WEIGHT * self._doubt + _UNLEARNABLE * self._echo_power
        return min(1.0, echo / max(self._rest_power, 1e-12))

    def process(self, near_pcm: Pcm, far_pcm: Pcm) -> Pcm:
        """The next chunk without echo.

        Args:
            near_pcm: (N,) from the microphone, 16 kHz.
            far_pcm: (N,) what the loudspeaker plays in the same time (zeros when it is silent).

        Returns: (N,), `latency_samples` late. Raises: InputError for lengths that differ or do not fit, NaN.
        """
        near, far = check_pair(near_pcm, far_pcm)
        if near.size % BLOCK_SAMPLES and not self._any_chunk:
            raise InputError(
                f"chunk has {near.size} samples; expected a multiple of {BLOCK_SAMPLES}, or any_chunk=True"
            )
        self._near, self._far = np.concatenate([self._near, near]), np.concatenate([self._far, far])
        used = self._near.size // BLOCK_SAMPLES * BLOCK_SAMPLES
        rest = self._blocks(used) if used else self._near[:0]
        self._near, self._far = self._near[used:], self._far[used:]
        ready = np.concatenate([self._out, rest])
        self._out = ready[near.size :]
        return ready[: near.size]

    def _blocks(self, used: int) -> Pcm:
        estimate, self._state = self._filter.step(self._near[:used], self._far[:used], self._state)
        powers = zip(_powers(estimate.rest_N), _powers(estimate.echo_N), estimate.doubt_K.tolist(), strict=True)
        for rest_power, echo_power, doubt in powers:
            self._rest_power = 0.7 * self._rest_power + 0.3 * rest_power
            self._echo_power = max(_HOLD * self._echo_power, echo_power)
            self._doubt = max(_HOLD * self._doubt, doubt)
        return estimate.rest_N


def _powers(sound_N: Pcm) -> list[float]:
    """Mean square of every block."""
    return np.square(sound_N).reshape(-1, BLOCK_SAMPLES).mean(axis=1).tolist()


class NoEcho:
    """The twin for headsets and tests: returns the microphone as it is."""

    @property
    def latency_samples(self) -> int:
        """Always 0."""
        return 0

    @property
    def echo_share(self) -> float:
        """Always 0."""
        return 0.0

    def process(self, near_pcm: Pcm, far_pcm: Pcm) -> Pcm:
        """`near_pcm`, checked. Raises: InputError for lengths that differ, NaN."""
        return check_pair(near_pcm, far_pcm)[0]


def check_pair(near_pcm: Pcm, far_pcm: Pcm) -> tuple[Pcm, Pcm]:
    """Both sounds as PCM of one length. Raises: InputError."""
    near, far = as_pcm(near_pcm, "near_pcm", allow_empty=True), as_pcm(far_pcm, "far_pcm", allow_empty=True)
    if near.size != far.size:
        raise InputError(f"near_pcm has {near.size} samples and far_pcm {far.size}; expected one length")
    return near, far

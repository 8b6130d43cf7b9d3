"""A streaming resampler: windowed sinc, polyphase, linear phase, with its state as a value.

Output sample n lies at the time of input position n * in_hz / out_hz: there is no shift between input and output, only
a wait of `Resampler.latency_samples` input samples for the filter's right half. Kaiser window; J. O. Smith, "Digital
Audio Resampling", and Kaiser (1974) for the length formula.

Axes: N input samples, M output samples, P phases, K taps.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import Pcm, as_pcm

__all__ = ["Resampler", "ResamplerState", "make", "resample"]

_HALF_WIDTH = 32  # zero crossings each side, at the lower of the two rates: 2 ms of wait at 16 kHz
_STOPBAND_DB = 75.0
_MAX_HZ = 384_000


@dataclass(frozen=True, slots=True)
class ResamplerState:
    """Where a stream stands: the input that future outputs still need, and the next output's place in it."""

    tail: Pcm  # (n,) input samples kept
    offset: int  # input index of tail[0] relative to the first tap of the next output, in input samples (<= 0)
    phase: int  # the next output's polyphase branch, 0 <= phase < up
    consumed: int  # input samples seen
    emitted: int  # output samples returned


@dataclass(frozen=True, slots=True)
class Resampler:
    """A design for one pair of rates. Build it with `make`; share it between streams."""

    in_hz: int
    out_hz: int
    up: int
    down: int
    half_taps: int  # K / 2, in input samples
    taps_PK: NDArray[np.float32]

    @property
    def latency_samples(self) -> int:
        """Input samples an output waits for."""
        return self.half_taps

    def init(self) -> ResamplerState:
        """The state before the first sample: silence came before."""
        return ResamplerState(np.zeros(self.half_taps - 1, np.float32), 0, 0, 0, 0)

    def step(self, pcm: Pcm, state: ResamplerState) -> tuple[Pcm, ResamplerState]:
        """Resample the next chunk; any cutting of the input into chunks gives the same output.

        Args:
            pcm: (N,) at `in_hz`; N may be 0.
            state: what the last step returned.

        Returns: (M,) at `out_hz` (as many as can be computed yet) and the new state. Raises: as `as_pcm`.
        """
        pcm = as_pcm(pcm, allow_empty=True)
        if self.up == self.down:
            return pcm, ResamplerState(state.tail, 0, 0, state.consumed + pcm.size, state.emitted + pcm.size)
        buffer = np.concatenate([state.tail, pcm])
        num_taps = 2 * self.half_taps
        # Output m starts at tap index offset + (phase + m * down) // up and needs K samples from there.
        room = buffer.size - num_taps - state.offset
        num_out = 0 if room < 0 else -((state.phase - (room + 1) * self.up) // self.down)
        position = state.phase + self.down * np.arange(num_out)
        if num_out:
            windows_NK = sliding_window_view(buffer, num_taps)
            start = state.offset + position // self.up
            out = np.einsum("mk,mk->m", windows_NK[start], self.taps_PK[position % self.up])
        else:
            out = np.zeros(0, np.float32)
        end = state.phase + self.down * num_out
        offset = state.offset + end // self.up
        drop = min(offset, buffer.size)
        after = ResamplerState(
            buffer[drop:].copy(), offset - drop, end % self.up, state.consumed + pcm.size, state.emitted + num_out
        )
        return out, after

    def flush(self, state: ResamplerState) -> tuple[Pcm, ResamplerState]:
        """The outputs that still wait for input, with silence after the end; then the state is a fresh one.

        Returns: (M,) so that the whole stream has ceil(consumed * out_hz / in_hz) samples.
        """
        if self.up == self.down:
            return np.zeros(0, np.float32), self.init()
        total = -((-state.consumed * self.up) // self.down)
        out, _ = self.step(np.zeros(self.half_taps + 1, np.float32), state)
        return out[: total - state.emitted], self.init()


def make(in_hz: int, out_hz: int) -> Resampler:
    """The resampler from `in_hz` to `out_hz` (1..384000 Hz). Raises: InputError for other rates."""
    for name, rate in (("in_hz", in_hz), ("out_hz", out_hz)):
        if not 1 <= rate <= _MAX_HZ:
            raise InputError(f"{name} is {rate}; expected a rate of 1 to {_MAX_HZ} Hz")
    return _design(int(in_hz), int(out_hz))


def resample(pcm: Pcm, in_hz: int, out_hz: int) -> Pcm:
    """A whole signal at another rate: (N,) at `in_hz` to (ceil(N * out_hz / in_hz),), with no shift in time."""
    design = make(in_hz, out_hz)
    head, state = design.step(as_pcm(pcm), design.init())
    tail, _ = design.flush(state)
    return np.concatenate([head, tail])


@lru_cache(maxsize=16)
def _design(in_hz: int, out_hz: int) -> Resampler:
    """Kaiser-windowed sinc, cut so that the stopband begins at the lower Nyquist frequency."""
    divisor = math.gcd(in_hz, out_hz)
    up, down = out_hz // divisor, in_hz // divisor
    ratio = min(1.0, up / down)
    half_taps = math.ceil(_HALF_WIDTH / ratio)
    # Kaiser: transition width in cycles a sample of a filter of 2 * _HALF_WIDTH samples at the lower rate.
    transition = (_STOPBAND_DB - 7.95) / (2.285 * 2 * _HALF_WIDTH * 2 * math.pi)
    cutoff = (0.5 - transition / 2) * ratio
    beta = 0.1102 * (_STOPBAND_DB - 8.7)
    # Branch p is for an output p / up of a sample after its input; its taps sit at -half+1 .. half of that input.
    distance_PK = np.arange(up)[:, None] / up - np.arange(1 - half_taps, half_taps + 1)[None, :]
    window_PK = np.i0(beta * np.sqrt(np.clip(1 - (distance_PK / half_taps) ** 2, 0, 1))) / np.i0(beta)
    taps_PK = 2 * cutoff * np.sinc(2 * cutoff * distance_PK) * window_PK
    taps_PK /= taps_PK.sum(axis=1, keepdims=True)  # every branch passes a constant unchanged
    return Resampler(in_hz, out_hz, up, down, half_taps, taps_PK.astype(np.float32))

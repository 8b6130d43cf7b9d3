"""An adaptive filter that learns an echo path and subtracts the echo: a Kalman filter in the frequency domain.

Enzner and Vary (Signal Processing 86, 2006) and its partitioned form, Kuech, Mabande and Enzner (ICASSP 2014): the path
is a state that drifts slowly, the talker in the room is the observation noise. The filter knows how sure it is, so it
learns fast at first, hardly while somebody talks over the echo, and needs no double-talk detector.

Axes: P partitions of the path, F frequency bins, B samples a block.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import Pcm

__all__ = ["BLOCK_SAMPLES", "AdaptiveFilter", "EchoEstimate", "EchoFilter", "EchoFilterState", "check_blocks"]

BLOCK_SAMPLES = 128

_DRIFT = 0.9998  # how much of the path is still true a block later
_TALKER_MEMORY = 0.8
_POWER_FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class EchoFilterState:
    """What is known of the path: its spectrum, how uncertain each part is, and what was played lately."""

    played_PF: NDArray[np.complex64]
    path_PF: NDArray[np.complex64]
    variance_PF: NDArray[np.float32]
    talker_F: NDArray[np.float32]
    last_far_B: Pcm


@dataclass(frozen=True, slots=True)
class EchoEstimate:
    """K blocks, N = 128 K samples: what is left of the microphone, the echo taken out, and what may be left of it."""

    rest_N: Pcm
    echo_N: Pcm
    doubt_K: NDArray[np.float32]  # of every block, expected mean square of the echo still in `rest_N`


class AdaptiveFilter(Protocol):
    """What takes a known echo out of a microphone, block by block; its state is a value of its own kind."""

    def init(self) -> Any:
        """The state before anything was played."""
        ...

    def step(self, near_N: Pcm, far_N: Pcm, state: Any) -> tuple[EchoEstimate, Any]:
        """Some blocks later; see `EchoFilter.step`."""
        ...


@dataclass(frozen=True, slots=True)
class EchoFilter:
    """The design: a path of up to `num_partitions` * 128 samples."""

    num_partitions: int = 40

    def init(self) -> EchoFilterState:
        """Nothing known; a path of loop gain up to about 1 is expected, later parts less."""
        if self.num_partitions < 1:
            raise InputError(f"num_partitions is {self.num_partitions}; expected at least 1")
        shape = (self.num_partitions, BLOCK_SAMPLES + 1)
        fall = 10.0 ** (-1.5 * np.arange(self.num_partitions) / self.num_partitions)
        return EchoFilterState(
            played_PF=np.zeros(shape, np.complex64),
            path_PF=np.zeros(shape, np.complex64),
            variance_PF=np.repeat(fall[:, None], shape[1], axis=1).astype(np.float32),
            talker_F=np.full(shape[1], 1e-3, np.float32),
            last_far_B=np.zeros(BLOCK_SAMPLES, np.float32),
        )

    def step(self, near_N: Pcm, far_N: Pcm, state: EchoFilterState) -> tuple[EchoEstimate, EchoFilterState]:
        """Take the echo of everything played so far out of the next blocks.

        Args:
            near_N: (128 K,) what the microphone heard, float32.
            far_N: (128 K,) what the loudspeaker played at the same time, float32.
            state: what the last step returned; it is left as it was.

        Raises: InputError for other lengths or types.
        """
        check_blocks(near_N, far_N)
        rest_N, echo_N = np.empty_like(near_N), np.empty_like(near_N)
        doubt_K = np.empty(near_N.size // BLOCK_SAMPLES, np.float32)
        for k in range(doubt_K.size):
            block = slice(k * BLOCK_SAMPLES, (k + 1) * BLOCK_SAMPLES)
            rest_N[block], echo_N[block], doubt_K[k], state = self._block(near_N[block], far_N[block], state)
        return EchoEstimate(rest_N, echo_N, doubt_K), state

    def _block(self, near_B: Pcm, far_B: Pcm, state: EchoFilterState) -> tuple[Pcm, Pcm, float, EchoFilterState]:
        played_PF = np.empty_like(state.played_PF)
        played_PF[1:] = state.played_PF[:-1]
        played_PF[0] = np.fft.rfft(np.concatenate([state.last_far_B, far_B]))
        echo_B = np.fft.irfft((state.path_PF * played_PF).sum(axis=0))[BLOCK_SAMPLES:].astype(np.float32)
        rest_B = near_B - echo_B
        rest_F = np.fft.rfft(np.concatenate([np.zeros(BLOCK_SAMPLES, np.float32), rest_B])).astype(np.complex64)
        played_power_PF = np.square(played_PF.real) + np.square(played_PF.imag)
        rest_power_F = np.square(rest_F.real) + np.square(rest_F.imag)
        talker_F = _TALKER_MEMORY * state.talker_F + (1 - _TALKER_MEMORY) * rest_power_F
        # Half: overlap-save sees one of two blocks.
        doubt_F = 0.5 * (played_power_PF * state.variance_PF).sum(axis=0)
        step_PF = state.variance_PF / (doubt_F + talker_F + _POWER_FLOOR)
        change_PB = np.fft.irfft(step_PF * np.conj(played_PF) * rest_F, axis=1)
        change_PB[:, BLOCK_SAMPLES:] = 0.0  # each partition is a filter of one block
        path_PF = (_DRIFT * (state.path_PF + np.fft.rfft(change_PB, axis=1))).astype(np.complex64)
        path_power_PF = np.square(path_PF.real) + np.square(path_PF.imag)
        shrink_PF = 1.0 - 0.5 * step_PF * played_power_PF
        variance_PF = _DRIFT**2 * shrink_PF * state.variance_PF + (1.0 - _DRIFT**2) * path_power_PF
        after = EchoFilterState(played_PF, path_PF, variance_PF.astype(np.float32), talker_F.astype(np.float32), far_B)
        # Parseval over the half spectrum of 2 B samples, of which B hold sound.
        doubt = float(doubt_F.sum()) / (BLOCK_SAMPLES * BLOCK_SAMPLES)
        return rest_B, echo_B, doubt, after


def check_blocks(near_N: Pcm, far_N: Pcm) -> None:
    """Raises: InputError unless both are float32 vectors of one length, whole blocks and at least one."""
    shapes = {near_N.shape, far_N.shape}
    whole = near_N.ndim == 1 and near_N.size > 0 and near_N.size % BLOCK_SAMPLES == 0
    if len(shapes) != 1 or not whole or near_N.dtype != np.float32 or far_N.dtype != np.float32:
        raise InputError(
            f"blocks are {near_N.shape} {near_N.dtype} and {far_N.shape} {far_N.dtype}; "
            f"expected float32 vectors of one length, a multiple of {BLOCK_SAMPLES}"
        )

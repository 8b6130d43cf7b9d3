"""Voice activity: the probability that a 32 ms frame at 16 kHz holds speech, with the detector's memory as a value.

Axes: B streams, N samples, H hidden units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES
from fullduplex.numerics.signal import Pcm, as_pcm, level_db
from fullduplex.speech.onnx.session import open_model

__all__ = ["EnergyState", "EnergyVad", "SileroVad", "Vad", "VadState"]

_CONTEXT_SAMPLES = 64  # Silero v5 sees the last 4 ms of the frame before
_HIDDEN = 128

State = TypeVar("State")


class Vad(Protocol[State]):
    """A streaming detector. `step` is a function of its arguments only: to fork a stream, keep the old state."""

    def init(self) -> State:
        """The state before the first sample."""
        ...

    def step(self, pcm: Pcm, state: State) -> tuple[float, State]:
        """Probability of speech in the next 512 samples, and the new state."""
        ...


@dataclass(frozen=True, slots=True)
class VadState:
    """Silero's memory: LSTM state (2, 1, 128) and the last 64 samples heard."""

    memory_2BH: NDArray[np.float32]
    context_N: Pcm


class SileroVad:
    """Silero VAD v5 or v6 (MIT), 16 kHz, 512-sample frames. Safe to share between streams and threads."""

    def __init__(self, path: Path | str) -> None:
        """Open the ONNX file at `path`. Raises: AssetError, MissingExtraError."""
        self._session = open_model(Path(path))
        self._rate = np.array(EAR_RATE_HZ, dtype=np.int64)

    def init(self) -> VadState:
        """The state before the first sample: silence."""
        return VadState(np.zeros((2, 1, _HIDDEN), np.float32), np.zeros(_CONTEXT_SAMPLES, np.float32))

    def step(self, pcm: Pcm, state: VadState) -> tuple[float, VadState]:
        """Probability of speech in `pcm`: 512 samples at 16 kHz. Raises: InputError for another length or NaN."""
        probabilities, states = self.step_many([pcm], [state])
        return probabilities[0], states[0]

    def step_many(
        self, frames: Sequence[Pcm], states: Sequence[VadState]
    ) -> tuple[tuple[float, ...], tuple[VadState, ...]]:
        """One frame of each of B streams in one pass: row b belongs to `states[b]`, rows do not affect each other."""
        if len(frames) != len(states) or not frames:
            raise InputError(f"{len(frames)} frames and {len(states)} states; expected one state a frame, at least one")
        sound_BN = np.stack([np.concatenate([s.context_N, _as_frame(f)]) for f, s in zip(frames, states, strict=True)])
        memory_2BH = np.concatenate([s.memory_2BH for s in states], axis=1)
        outputs = self._session.run(None, {"input": sound_BN, "state": memory_2BH, "sr": self._rate})
        output_B1, after_2BH = (np.asarray(value, np.float32) for value in outputs)
        context = sound_BN[:, -_CONTEXT_SAMPLES:].copy()
        after = tuple(VadState(after_2BH[:, b : b + 1], context[b]) for b in range(len(frames)))
        return tuple(float(p) for p in output_B1[:, 0]), after


@dataclass(frozen=True, slots=True)
class EnergyState:
    """The level of the background, and the probability of the last frame."""

    floor_db: float
    smooth_db: float


class EnergyVad:
    """Speech is what rises above the background: the detector that needs no model.

    The floor falls at once to a quieter frame and rises by 3 dB a second, so that steady noise becomes background. It
    cannot tell speech from any other loud sound.
    """

    def __init__(self, *, margin_db: float = 12.0, quiet_db: float = -50.0) -> None:
        """`margin_db`: rise above the floor that means probability 0.5; nothing below `quiet_db` is speech."""
        if not margin_db > 0:
            raise InputError(f"margin_db is {margin_db}; expected more than 0 dB")
        self._margin_db = margin_db
        self._quiet_db = quiet_db

    def init(self) -> EnergyState:
        """The state before the first sample: a quiet room."""
        return EnergyState(floor_db=-60.0, smooth_db=-120.0)

    def step(self, pcm: Pcm, state: EnergyState) -> tuple[float, EnergyState]:
        """Probability of speech in `pcm`: 512 samples at 16 kHz. Raises: InputError for another length or NaN."""
        frame_db = level_db(_as_frame(pcm))
        # Up at once, down within about 100 ms: the dips between syllables are not silence.
        smooth_db = max(frame_db, state.smooth_db + 0.3 * (frame_db - state.smooth_db))
        rise_db_per_frame = 3.0 * FRAME_SAMPLES / EAR_RATE_HZ
        floor_db = max(-90.0, min(frame_db, state.floor_db + rise_db_per_frame))
        above_db = min(smooth_db - floor_db - self._margin_db, smooth_db - self._quiet_db)
        probability = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, above_db / 2.0))))
        return probability, EnergyState(floor_db, smooth_db)


def _as_frame(pcm: Pcm) -> Pcm:
    frame = as_pcm(pcm, "frame")
    if frame.size != FRAME_SAMPLES:
        raise InputError(f"frame has {frame.size} samples; expected {FRAME_SAMPLES} (32 ms at 16 kHz): cut the stream")
    return frame

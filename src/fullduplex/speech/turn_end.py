"""End of turn: has the speaker finished, judged from the sound alone.

smart-turn v3 (BSD-2): a Whisper-tiny encoder with a classifier on the last 8 s. The sound must END at the right edge of
the window: what is missing is padded on the left (on the right it would look like a long silence, and read as
finished).
"""

from pathlib import Path

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.numerics.mel import log_mel, standardise
from fullduplex.numerics.signal import Pcm, as_pcm
from fullduplex.speech.onnx.session import open_model

__all__ = ["WINDOW_S", "SmartTurn", "window"]

WINDOW_S = 8
_WINDOW_SAMPLES = WINDOW_S * EAR_RATE_HZ


class SmartTurn:
    """smart-turn v3.x. Safe to share between threads."""

    def __init__(self, path: Path | str) -> None:
        """Open the ONNX file at `path`. Raises: AssetError, MissingExtraError."""
        self._session = open_model(Path(path))

    def judge(self, pcm: Pcm) -> float:
        """Probability that the turn is complete at the end of `pcm`.

        Args:
            pcm: (N,) at 16 kHz: the turn so far, up to and including the silence after it; the last 8 s count.

        Raises: as `as_pcm`.
        """
        # Mean and variance are taken over the padded window: so does pipecat's feature code, which the model was
        # trained to (pipecat-ai 1.14, `_whisper_features.py`).
        features = log_mel(standardise(window(pcm)))
        (probability,) = self._session.run(None, {"input_features": features[np.newaxis]})
        return float(np.asarray(probability).reshape(-1)[0])


def window(pcm: Pcm) -> Pcm:
    """The last 8 s of `pcm` at 16 kHz, with silence on the left when there is less: (128000,)."""
    pcm = as_pcm(pcm)[-_WINDOW_SAMPLES:]
    return np.pad(pcm, (_WINDOW_SAMPLES - pcm.size, 0))

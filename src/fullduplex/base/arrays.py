"""The axis letters: a tensor's name ends in the letters of its axes, in order (`x_BTD`, `weight_DK`).

    B  batch: rows that never meet          T  time steps of this call
    S  remembered time steps (a cache)      D  features of a layer, or channels of a convolution
    C  chunks of time, or channels of audio K  taps of a convolution, or features of one head
    H  heads, or the horizon of a forecast  N  items, or states of one feature
    L  steps of one chunk, or a context     Q  quantiles
    V  vocabulary                           F  samples of one frame of audio

A letter with two meanings never has both in one module. `AXES` holds the same legend as data.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["AXES", "Float32Array", "Float64Array", "Int16Array", "Int32Array", "Int64Array"]

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int16Array = NDArray[np.int16]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

AXES: Mapping[str, str] = MappingProxyType(
    {
        "B": "batch: rows that never meet",
        "T": "time steps of this call",
        "S": "remembered time steps (a cache)",
        "D": "features of a layer, or channels of a convolution",
        "C": "chunks of time, or channels of audio",
        "K": "taps of a convolution, or features of one head",
        "H": "heads, or the horizon of a forecast",
        "N": "items, or states of one feature",
        "L": "steps of one chunk, or a context",
        "Q": "quantiles",
        "V": "vocabulary",
        "F": "samples of one frame of audio",
    }
)

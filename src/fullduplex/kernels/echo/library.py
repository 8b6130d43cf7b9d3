"""The compiled echo filter: `fullduplex.numerics.echo_filter` in one call a block, or that filter itself without a compiler.

ctypes releases the GIL during a call. The state stays a value: a step reads one and writes another.
"""

import ctypes
import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float32Array
from fullduplex.base.errors import InputError
from fullduplex.kernels.native.build import Sources, cache_folder, find_compiler, load
from fullduplex.numerics.echo_filter import BLOCK_SAMPLES, AdaptiveFilter, EchoEstimate, EchoFilter
from fullduplex.numerics.signal import Pcm

__all__ = ["SOURCES", "CompiledEchoFilter", "echo_filter", "load_echo"]

_LOG = logging.getLogger(__name__)
SOURCES = Sources(folder=Path(__file__).parent, units=("filter",), name="echo")


@dataclass(frozen=True, slots=True)
class CompiledEchoFilter:
    """`EchoFilter` in C: same design, same numbers but for rounding. A state is one vector; see filter.c for its parts."""

    library: ctypes.CDLL
    num_partitions: int = 40

    def init(self) -> Float32Array:
        """What `EchoFilter.init` knows, partitions innermost and padded to whole vectors."""
        start = EchoFilter(self.num_partitions).init()
        state = np.zeros(self.library.echo_state_size(self._padded), np.float32)
        planes, others = np.split(state, [5 * start.talker_F.size * self._padded])
        planes.reshape(5, -1, self._padded)[4, :, : self.num_partitions] = start.variance_PF.T
        others[: start.talker_F.size] = start.talker_F
        return state

    def step(self, near_B: Pcm, far_B: Pcm, state: Float32Array) -> tuple[EchoEstimate, Float32Array]:
        """As `EchoFilter.step`. Raises: InputError for blocks of another length or type."""
        for block in (near_B, far_B):
            if block.shape != (BLOCK_SAMPLES,) or block.dtype != np.float32:
                raise InputError(f"block is {block.shape} {block.dtype}; expected ({BLOCK_SAMPLES},) float32")
        after = np.empty_like(state)
        sounds = after[-4 * BLOCK_SAMPLES :].reshape(4, BLOCK_SAMPLES)  # near, far, rest, echo
        sounds[0], sounds[1] = near_B, far_B
        doubt = self.library.echo_step(state.ctypes.data, after.ctypes.data, self._padded)
        return EchoEstimate(sounds[2].copy(), sounds[3].copy(), doubt), after

    @property
    def _padded(self) -> int:
        lanes = self.library.echo_lanes()
        return -(-self.num_partitions // lanes) * lanes


def echo_filter(num_partitions: int) -> AdaptiveFilter:
    """The fastest filter of this machine for a path of up to `num_partitions` * 128 samples."""
    library = _library_of(os.environ.get("FULLDUPLEX_NATIVE"))
    return EchoFilter(num_partitions) if library is None else CompiledEchoFilter(library, num_partitions)


@functools.cache
def load_echo(folder: Path, compiler: str | None) -> ctypes.CDLL | None:
    """Build with `compiler` (None: there is none) into `folder` and load; asked and logged once for each."""
    library, how = load(folder, compiler, SOURCES)
    if library is None:
        return _refused(how)
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.echo_lanes.restype = library.echo_state_size.restype = size
    library.echo_state_size.argtypes = (size,)
    library.echo_step.restype, library.echo_step.argtypes = ctypes.c_float, (pointer, pointer, size)
    _LOG.info("compiled echo filter: %s", how)
    return library


@functools.cache
def _library_of(setting: str | None) -> ctypes.CDLL | None:
    if setting == "off":
        return _refused("FULLDUPLEX_NATIVE=off")
    return load_echo(cache_folder(), find_compiler())


@functools.cache
def _refused(reason: str) -> None:
    _LOG.warning("no compiled echo filter (%s): NumPy runs it instead, several times slower", reason)

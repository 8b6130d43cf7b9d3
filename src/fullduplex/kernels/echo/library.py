"""The compiled echo filter: `fullduplex.numerics.echo_filter` in one call, or that filter itself without a compiler.

ctypes releases the GIL during a call. The state stays a value: a step reads one and writes another.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float32Array
from fullduplex.kernels.native.build import Sources, wanted
from fullduplex.numerics.echo_filter import BLOCK_SAMPLES, AdaptiveFilter, EchoEstimate, EchoFilter, check_blocks
from fullduplex.numerics.signal import Pcm

__all__ = ["SOURCES", "CompiledEchoFilter", "echo_filter"]

SOURCES = Sources(
    folder=Path(__file__).parent, units=("filter",), name="echo",
    what="compiled echo filter", otherwise="NumPy runs it instead, several times slower",
)  # fmt: skip


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

    def step(self, near_N: Pcm, far_N: Pcm, state: Float32Array) -> tuple[EchoEstimate, Float32Array]:
        """As `EchoFilter.step`."""
        check_blocks(near_N, far_N)
        count = near_N.size // BLOCK_SAMPLES
        after, sounds = state.copy(), np.empty(4 * near_N.size + count, np.float32)
        rows = sounds[: 4 * near_N.size].reshape(4, near_N.size)  # near, far, rest, echo
        rows[0], rows[1] = near_N, far_N
        self.library.echo_run(after.ctypes.data, sounds.ctypes.data, count, self._padded)
        return EchoEstimate(rows[2], rows[3], sounds[4 * near_N.size :]), after

    @property
    def _padded(self) -> int:
        lanes = self.library.echo_lanes()
        return -(-self.num_partitions // lanes) * lanes


def echo_filter(num_partitions: int) -> AdaptiveFilter:
    """The fastest filter of this machine for a path of up to `num_partitions` * 128 samples."""
    library = wanted(SOURCES)
    return EchoFilter(num_partitions) if library is None else CompiledEchoFilter(_declare(library), num_partitions)


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.echo_lanes.restype = library.echo_state_size.restype = size
    library.echo_state_size.argtypes = (size,)
    library.echo_run.restype, library.echo_run.argtypes = None, (pointer, pointer, size, size)
    return library

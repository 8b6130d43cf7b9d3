"""Online function reconstruction: a signal goes in sample by sample, N numbers are kept, the past comes out.

Axes: N state size, T samples of a piece, A ages asked for.

`Memory` has the fixed timescale of a window or of an exponential decay. `GrowingMemory` is the original HiPPO-LegS,
x' = (A x + B u) / t: all of the past, however long, at equal weight (arXiv 2008.07669, section 3.3). Both follow the
streaming contract in NumPy: the state is a value, and any cutting of the signal gives the same one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.basis import functions
from fullduplex.ssm.hippo.dense import discretise_dense, expm
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.timescale import Timescale

__all__ = ["GrowingMemory", "Memory", "MemoryState"]

F64 = NDArray[np.float64]

_BLOCK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class MemoryState:
    """N numbers, and how many samples they stand for."""

    x_N: F64
    heard_samples: int


class Memory:
    """The last part of a signal in N numbers.

    Args:
        timescale: what to remember and how far back, see `fullduplex.ssm.hippo.timescale`.
        order: state size N.
        rule: `"zoh"`, exact for a signal that holds still between samples, or `"bilinear"`.

    Raises:
        InputError: a state size the family does not have.
    """

    def __init__(self, timescale: Timescale, order: int, *, rule: str = "zoh") -> None:
        system = discretise_dense(transition(timescale.kind, order), timescale.step, rule)
        self.timescale, self.order = timescale, order
        self._a_NN, self._b_N = system.a_NN, system.b_N
        columns = [system.b_N]
        for _ in range(_BLOCK_SAMPLES - 1):
            columns.append(system.a_NN @ columns[-1])
        self._b_NT = np.stack(columns[::-1], axis=1)
        self._block_NN = np.linalg.matrix_power(system.a_NN, _BLOCK_SAMPLES)

    def init(self) -> MemoryState:
        """Nothing heard yet."""
        return MemoryState(np.zeros(self.order), 0)

    def step(self, sample: float, state: MemoryState) -> MemoryState:
        """One sample later.

        Raises:
            InputError: the sample is not finite.
        """
        return self.scan([sample], state)

    def scan(self, samples_T: ArrayLike, state: MemoryState) -> MemoryState:
        """T samples later, T >= 0.

        Raises:
            InputError: not one axis of finite numbers, or a state of another size.
        """
        samples_T, x_N = _samples(samples_T), _fits(state, self.order)
        whole = samples_T.size - samples_T.size % _BLOCK_SAMPLES
        for start in range(0, whole, _BLOCK_SAMPLES):
            x_N = self._block_NN @ x_N + self._b_NT @ samples_T[start : start + _BLOCK_SAMPLES]
        for sample in samples_T[whole:]:
            x_N = self._a_NN @ x_N + self._b_N * sample
        return MemoryState(x_N.copy(), state.heard_samples + samples_T.size)

    def recall(self, state: MemoryState, ages_samples_A: ArrayLike) -> F64:
        """What the state says the signal was, `ages_samples_A` samples ago (0 is the newest).

        Raises:
            InputError: the family cannot be read back, or a state of another size.
        """
        times_A = self.timescale.times(ages_samples_A)
        return _fits(state, self.order) @ functions(self.timescale.kind, self.order, times_A)


class GrowingMemory:
    """The whole past of a signal in N numbers, at equal weight, with no timescale to choose.

    The discretisation is exact for a signal that holds still between samples, so a signal played at half the speed
    leaves the same state.

    Args:
        order: state size N >= 1.
    """

    def __init__(self, order: int) -> None:
        self._system = transition("legs", order)
        self.order = order

    def init(self) -> MemoryState:
        """Nothing heard yet."""
        return MemoryState(np.zeros(self.order), 0)

    def step(self, sample: float, state: MemoryState) -> MemoryState:
        """One sample later."""
        return self.scan([sample], state)

    def scan(self, samples_T: ArrayLike, state: MemoryState) -> MemoryState:
        """T samples later, T >= 0. Each costs a matrix exponential: N up to about 100.

        Raises:
            InputError: not one axis of finite numbers, or a state of another size.
        """
        samples_T, x_N = _samples(samples_T), _fits(state, self.order)
        # A constant is its own average: x = u e_0 solves A x + B u = 0.
        rest_N = np.zeros(self.order)
        rest_N[0] = 1
        for index, sample in enumerate(samples_T, start=state.heard_samples):
            if index == 0:
                x_N = rest_N * sample
                continue
            # In the time log t the system does not change: one sample lasts log((k + 1) / k).
            turn_NN = expm(self._system.a_NN * np.log1p(1 / index))
            x_N = turn_NN @ (x_N - rest_N * sample) + rest_N * sample
        return MemoryState(x_N.copy(), state.heard_samples + samples_T.size)

    def recall(self, state: MemoryState, ages_samples_A: ArrayLike) -> F64:
        """What the state says the signal was, `ages_samples_A` samples ago (0 is the newest, the oldest is heard - 1).

        Raises:
            InputError: nothing was heard, an age is older than the signal, or a state of another size.
        """
        x_N, ages_A = _fits(state, self.order), np.asarray(ages_samples_A, dtype=np.float64)
        if ages_A.ndim != 1 or not np.all((ages_A >= 0) & (ages_A <= state.heard_samples - 1)):
            raise InputError(
                f"ages of shape {ages_A.shape} reach beyond the {state.heard_samples} samples heard; "
                "expected (A,) between 0 and the number heard - 1"
            )
        return x_N @ functions("legt", self.order, (ages_A + 0.5) / state.heard_samples)


def _samples(samples_T: ArrayLike) -> F64:
    samples = np.asarray(samples_T, dtype=np.float64)
    if samples.ndim != 1 or not np.all(np.isfinite(samples)):
        raise InputError(f"got samples of shape {samples.shape} or not finite; expected one axis of finite numbers")
    return samples


def _fits(state: MemoryState, order: int) -> F64:
    if state.x_N.shape != (order,):
        raise InputError(f"got a state of shape {state.x_N.shape}; expected ({order},), see init()")
    return state.x_N

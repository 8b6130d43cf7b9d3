"""Durations that can be compared, and what the machine could do at best.

Contenders take turns, so that a busy neighbour slows all of them, and a ratio is the median of the ratios of neighbouring
turns. Floors are measured in the same process: a copy for bytes, a matrix product for arithmetic. An exponential counts as
16 operations: two to split it and a polynomial of degree six.

On one thread the clock is the processor time of this process: while a neighbour has the core, it stands still. On more it
is the clock on the wall.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Floors", "Timing", "measure_floors", "take_turns", "timed_ms", "without_native"]

_COPY_NUMBERS = 2**25
_GEMM_SIZE = 1024
_EXP_FLOP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One contender.

    Args:
        median_ms: of all its turns.
        fastest_ms: of all its turns; what the floor, also a fastest, is compared with.
        over_first: median over the turns of its duration over the first contender's.
    """

    median_ms: float
    fastest_ms: float
    over_first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """Best speeds seen on this machine with the threads in use."""

    bytes_per_s: float
    flop_per_s: float

    def time_ms(self, *, num_bytes: float = 0, flop: float = 0, exps: float = 0) -> float:
        """No program can be faster: the larger of moving and computing."""
        return 1e3 * max(num_bytes / self.bytes_per_s, (flop + _EXP_FLOP * exps) / self.flop_per_s)


def take_turns(
    contenders: Mapping[str, Callable[[], object]], repeats: int, *, run_times: int = 1
) -> dict[str, Timing]:
    """Run each contender once to warm up, then `repeats` rounds of one turn each.

    Args:
        contenders: what to run, by name; the first is what the others are compared with.
        repeats: rounds, >= 1.
        run_times: how often a contender runs in its turn; the time is that of one run. Short work that in practice
            follows itself, as token follows token, finds its data in cache only so.
    """
    for run in contenders.values():
        run()
    durations_s: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start_s = _now_s()
            for _ in range(run_times):
                run()
            durations_s[name].append((_now_s() - start_s) / run_times)
    first = next(iter(durations_s.values()))
    return {
        name: Timing(
            median_ms=1e3 * statistics.median(own),
            fastest_ms=1e3 * min(own),
            over_first=statistics.median(mine / other for mine, other in zip(own, first, strict=True)),
        )
        for name, own in durations_s.items()
    }


def timed_ms(run: Callable[[], object]) -> float:
    """How long one run takes, with the clock of this module."""
    start_s = _now_s()
    run()
    return 1e3 * (_now_s() - start_s)


def measure_floors(generator: torch.Generator) -> Floors:
    """Copy 128 MB and multiply two 1024 x 1024 matrices: the fastest of several turns each."""
    block = torch.zeros(_COPY_NUMBERS)
    target = torch.zeros_like(block)
    square = torch.randn(_GEMM_SIZE, _GEMM_SIZE, generator=generator)
    with torch.no_grad():
        copy_s = _fastest_s(lambda: target.copy_(block), 7)
        gemm_s = _fastest_s(lambda: square @ square, 15)
    return Floors(bytes_per_s=2 * 4 * _COPY_NUMBERS / copy_s, flop_per_s=2 * _GEMM_SIZE**3 / gemm_s)


@contextmanager
def without_native() -> Iterator[None]:
    """The torch paths, for as long as this lasts."""
    before = os.environ.get("FULLDUPLEX_NATIVE")
    os.environ["FULLDUPLEX_NATIVE"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["FULLDUPLEX_NATIVE"]
        else:
            os.environ["FULLDUPLEX_NATIVE"] = before


def _now_s() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _fastest_s(run: Callable[[], object], repeats: int) -> float:
    run()
    durations_s: list[float] = []
    for _ in range(repeats):
        start_s = _now_s()
        run()
        durations_s.append(_now_s() - start_s)
    return min(durations_s)

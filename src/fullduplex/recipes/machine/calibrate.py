"""Times of a real language model's calls on this machine, for the planner to predict."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fullduplex.hardware.calibrate.calls import Call
from fullduplex.lm.engine import Engine

__all__ = ["CALLS", "time_calls"]

# (tokens of a call, context it begins at). Behind each, the same at another context: one is fitted, the other held out.
CALLS = (
    (1, 32), (1, 256), (1, 512), (1, 768), (32, 0), (32, 128), (32, 384), (32, 640),
    (8, 64), (8, 320), (16, 192), (16, 448), (4, 96), (4, 576),
)  # fmt: skip
_CONTEXT = 1024
_FILL = 32


def time_calls(
    path: Path,
    plan: Sequence[tuple[int, int]] = CALLS,
    *,
    repeats: int = 3,
    clock: Callable[[], float] = time.process_time,
    progress: Callable[[], object] = lambda: None,
) -> list[Call]:
    """The least of `repeats` times of every call of `plan`, one thread; `progress` is called after each call.

    Raises: AssetError or FormatError when `path` is no model; MissingExtraError without llama.cpp.
    """
    engine = Engine(path, threads=1, context=_CONTEXT, sequences=1)
    try:
        drawn = np.random.default_rng(0).integers(100, min(20_000, engine.vocabulary_size), _CONTEXT)
        tokens: list[int] = drawn.tolist()
        for start in range(0, _CONTEXT, _FILL):
            engine.decode(0, start, tokens[start : start + _FILL], ())
        found: list[Call] = []
        # From the longest context to the shortest: what is behind a call is dropped and need not be computed again.
        for count, context in sorted(plan, key=lambda call: -call[1]):
            least = float("inf")
            for _ in range(repeats):
                engine.remove(0, context)
                begin = clock()
                engine.decode(0, context, tokens[context : context + count], (count - 1,))
                least = min(least, clock() - begin)
            found.append(Call(tokens=count, context=context, seconds=least))
            progress()
    finally:
        engine.close()
    order = {item: index for index, item in enumerate(plan)}
    return sorted(found, key=lambda call: order[call.tokens, call.context])

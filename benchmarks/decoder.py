"""How fast the compiled decoder is: against llama.cpp's wheel in turns, and against the floor no program can pass.

    python benchmarks/decoder.py                       # small and good, one and two threads
    python benchmarks/decoder.py --brains small --threads 2 --busy 1     # beside a program that never rests

One JSON line a case: milliseconds for so many tokens behind a context of 128, medians over rounds in which the two take
turns. The floor of any number of tokens is to read every weight once, at the speed measured here, with as many threads, for
summing 256 MiB (`floor_ms`). llama.cpp runs as conversations have it: flash attention, no repacked weights, small
batches, which keep its answers repeatable and cost 0 to 12 percent (lm/engine/llama_cpp.py).
The brains: `fullduplex assets get qwen2.5-coder-0.5b-instruct`.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fullduplex.lm.engine import Engine
from fullduplex.recipes.parts import PartsConfig, open_brain

CONTEXT_TOKENS = 128
BLOCK_BYTES = 2**28


def open_engine(brain: str, threads: int, *, native: bool) -> tuple[Engine, int]:
    """An engine as a conversation has it, its context read, and the bytes of its file."""
    os.environ["FULLDUPLEX_NATIVE"] = "on" if native else "off"
    opened = open_brain(PartsConfig(brain=brain, threads=threads, conversations=1))
    engine = opened._engine
    engine.prepare()
    if engine.compiled is not native:
        raise SystemExit("there is no compiler here, so there is nothing to compare (see: fullduplex doctor)")
    for start in range(0, CONTEXT_TOKENS, 32):
        engine.decode(0, start, list(range(100 + start, 132 + start)), (31,))
    return engine, Path(engine._path).stat().st_size


def decode_s(engine: Engine, tokens: int) -> float:
    """Seconds for so many tokens, the logits behind the last of them included."""
    begun = time.perf_counter()
    engine.decode(0, CONTEXT_TOKENS, list(range(500, 500 + tokens)), (tokens - 1,))
    engine.log_probabilities()
    spent = time.perf_counter() - begun
    engine.remove(0, CONTEXT_TOKENS)
    return spent


def read_bytes_per_s(threads: int) -> float:
    """How fast memory is read by so many threads."""
    blocks = np.array_split(np.ones(BLOCK_BYTES // 8), threads)
    with ThreadPoolExecutor(threads) as pool:
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter()
            list(pool.map(np.sum, blocks))
            best = min(best, time.perf_counter() - begun)
    return BLOCK_BYTES / best


def never_rest() -> None:
    """A program that wants a core for itself."""
    while True:
        sum(range(10_000))


@contextmanager
def beside(programs: int) -> Iterator[None]:
    """So many busy programs meanwhile."""
    crowd = [multiprocessing.Process(target=never_rest, daemon=True) for _ in range(programs)]
    for one in crowd:
        one.start()
    try:
        yield
    finally:
        for one in crowd:
            one.terminate()
            one.join()


def measure(brain: str, threads: int, tokens: list[int], rounds: int, busy: int) -> dict[str, object]:
    """One case."""
    ours, size = open_engine(brain, threads, native=True)
    theirs, _ = open_engine(brain, threads, native=False)
    spent: dict[tuple[str, int], list[float]] = {}
    with beside(busy):
        for _ in range(rounds):
            for count in tokens:
                for name, engine in (("ours", ours), ("llama_cpp", theirs)):
                    spent.setdefault((name, count), []).append(decode_s(engine, count))
    ours.close()
    theirs.close()
    ms = {key: round(1e3 * statistics.median(all_s), 2) for key, all_s in spent.items()}
    return {
        "brain": brain,
        "threads": threads,
        "busy": busy,
        "tokens": tokens,
        "ours_ms": [ms["ours", count] for count in tokens],
        "llama_cpp_ms": [ms["llama_cpp", count] for count in tokens],
        "llama_cpp_over_ours": [round(ms["llama_cpp", count] / ms["ours", count], 2) for count in tokens],
        "floor_ms": round(1e3 * size / read_bytes_per_s(threads), 2),
    }


def main() -> None:
    """Measure every case and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brains", nargs="+", default=["small", "good"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--tokens", nargs="+", type=int, default=[1, 2, 4, 7, 12, 32])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", type=int, default=0, help="busy programs beside it")
    arguments = parser.parse_args()
    for brain in arguments.brains:
        for threads in arguments.threads:
            case = measure(brain, threads, arguments.tokens, arguments.rounds, arguments.busy)
            print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()

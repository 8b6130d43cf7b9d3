"""What a duplex model pays for its history, by the wall clock. Prints one JSON line a part.

    python benchmarks/duplex/slices.py prefill     # a kept cache against reading the history again every slice
    python benchmarks/duplex/slices.py fork        # attention's cache against a Mamba-2 student's state

`prefill`: n slices of equal length read for (n + 1) / 2 times as many tokens when every slice begins at the beginning, as in
the server released with 2406.15718: 85.5 times at n = 170. The repeated reading is timed at nine slices and summed by the
trapezoid rule. `fork`: bytes, forks, going back; the student is untrained, which costs the same.
"""

import argparse
import json
import time

import numpy as np

from fullduplex.base.chat import Message
from fullduplex.lm.llama import LlamaBrain
from fullduplex.recipes.parts import model_file

_SAID, _HEARD = "and then we went home", "<idle>"


def history(slices: int) -> tuple[Message, ...]:
    """`slices` pairs, and one more of the user's."""
    pair = (Message("user", _SAID), Message("assistant", _HEARD))
    return (Message("system", "You listen."), *(pair * slices), Message("user", _SAID))


def seconds(brain: LlamaBrain, messages: tuple[Message, ...], key: str) -> float:
    """To read a prompt."""
    began = time.perf_counter()
    brain.log_likelihood(messages, "a", key=key)
    return time.perf_counter() - began


def prefill(arguments: argparse.Namespace) -> dict[str, object]:
    """The kept cache, slice by slice, and the whole history at nine places."""
    n = arguments.slices
    brain = LlamaBrain(model_file(arguments.brain), context=8192, slots=2)
    seconds(brain, history(0), "kept")
    kept = [seconds(brain, history(at), "kept") for at in range(n)]
    places = sorted({int(at) for at in np.linspace(0, n - 1, 9)})
    again: list[float] = []
    for at in places:
        brain.forget("kept")
        brain.forget("again")
        again.append(seconds(brain, history(at), "again"))
    tokens = [brain.count_tokens(history(at)) for at in (0, 1)]
    return {
        "part": "prefill",
        "slices": n,
        "tokens_a_slice": tokens[1] - tokens[0],
        "kept_s": round(sum(kept), 3),
        "again_s": round(float(np.interp(range(n), places, again).sum()), 2),
        "ratio": round(float(np.interp(range(n), places, again).sum() / sum(kept)), 1),
        "derived_ratio": (n + 1) / 2,
        "kept_ms_first_and_last_tenth": [
            round(1e3 * float(np.median(part)), 1) for part in (kept[: n // 10], kept[-n // 10 :])
        ],
    }


def fork(arguments: argparse.Namespace) -> dict[str, object]:
    """Both models behind 100, 800 and 3200 tokens."""
    from fullduplex.lm.engine import Engine
    from fullduplex.lm.student.brain import StudentBrain, state_bytes
    from fullduplex.lm.student.model import Student, fold
    from fullduplex.lm.tune.weights import read_gguf

    file = model_file(arguments.brain)
    teacher = read_gguf(file)
    sizes = teacher.config
    student = fold(Student(teacher))
    brains = {
        "attention": LlamaBrain(file, context=8192, slots=3),
        "student": StudentBrain(student, Engine(file, threads=1, context=64, sequences=1)),
    }
    cell_bytes = 2 * 2 * sizes.layers * sizes.key_heads * sizes.head_width  # key and value, float16
    rows: list[dict[str, object]] = []
    for pairs in arguments.pairs:
        row: dict[str, object] = {"slices": pairs}
        for name, brain in brains.items():
            told = history(pairs)
            brain.prefill((*told, Message("assistant", "yes"), Message("user", "so ")), key="a")
            began = time.perf_counter()
            brain.fork("a", "b")
            forked = time.perf_counter() - began
            began = time.perf_counter()
            brain.prefill((*told, Message("assistant", "no"), Message("user", "so ")), key="b")
            row[name] = {
                "tokens": brain.count_tokens(told),
                "bytes": cell_bytes * brain.count_tokens(told) if name == "attention" else state_bytes(student.init(1)),
                "fork_ms": round(1e3 * forked, 3),
                "go_back_and_on_ms": round(1e3 * (time.perf_counter() - began), 1),
            }
            brain.forget("a")
            brain.forget("b")
        rows.append(row)
    return {"part": "fork", "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("prefill", "fork"))
    parser.add_argument("--brain", default="small-duplex")
    parser.add_argument("--slices", type=int, default=170, help="of `prefill` (170)")
    parser.add_argument("--pairs", type=int, nargs="+", default=[6, 50, 200])
    arguments = parser.parse_args()
    parts = {"prefill": prefill, "fork": fork}
    print(json.dumps(parts[arguments.part](arguments)))


if __name__ == "__main__":
    main()

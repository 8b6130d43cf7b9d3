"""How fast plans are made, and the time of one Mixtral stage beside GenZ's (`pip install genz-llm`) and the physical floor.

The stage: 32 requests without context on four devices of 989.4 TFLOPS and 3352 GB/s, peak rates, no link latency. A
batch of 32 touches all eight experts, so no calculator may go below the time to read the weights once. GenZ does: it
reads `top_k` experts a layer for every batch. Stages a second are those of a simulated batch of 64 of which 87 % bring
prompts of ever new lengths, in processor time; in the first of three runs nothing has been drawn yet. `over_lines` says
how many times better than the lines of `LINES` the slowest of the runs was. Prints one JSON line; without GenZ its fields
are null.
"""

import json
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np

from fullduplex.hardware.device import Link, System
from fullduplex.hardware.model import Model
from fullduplex.hardware.presets import load_presets
from fullduplex.hardware.reproduce.comparison import compare, paper_system
from fullduplex.hardware.serving.sessions import DuplexLoad, capacity
from fullduplex.hardware.serving.simulate import Serving, simulate
from fullduplex.hardware.serving.traffic import draw_requests
from fullduplex.hardware.stage import Stage, stage_cost

LINES = {
    "dense_stages_per_s": 30_000.0,
    "glam_64_experts_stages_per_s": 10_000.0,
    "comparison_of_27_configurations_s": 20.0,
    "trace_of_19366_requests_s": 60.0,
}


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of a call."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def genz_stage(batch: int) -> tuple[float, float] | None:
    """GenZ's seconds for the stage, and how long it took to find them; None when it is not installed."""
    try:
        decode = import_module("GenZ").decode_moddeling
    except ImportError:
        return None
    peak = {"Flops": 989.4, "Memory_size": 80, "Memory_BW": 3352, "ICN": 450, "real_values": True}

    def run() -> float:
        found = decode(
            model="mixtral_8x7b",
            batch_size=batch,
            input_tokens=1,
            output_tokens=0,
            Bb=1,
            system_name=peak,
            tensor_parallel=4,
            parallelism_heirarchy="TP{4}_EP{1}_PP{1}",
        )
        return float(found["Latency"]) / 1000

    return run(), median_s(run, 3)


def stages_per_s(model: Model, system: System) -> list[float]:
    """Simulated stages a second of three runs; experts are drawn anew in the first."""
    drawn = draw_requests(20_000, prompt=1000, answer=32, rng=np.random.default_rng(0), spread=0.3)
    rates: list[float] = []
    for _ in range(3):
        start = time.process_time()
        log = simulate(model, system, drawn, Serving(batch=64, closed=True))
        rates.append(round(len(log.stage_s) / (time.process_time() - start)))
    return rates


def trace_s(model: Model, system: System) -> tuple[float, int]:
    """Processor time for as many requests as the public conversation trace has, and the stages they take."""
    drawn = draw_requests(19_366, prompt=1155, answer=211, rng=np.random.default_rng(0), spread=0.5, per_s=5.5)
    start = time.process_time()
    log = simulate(model, system, drawn, Serving(batch=64))
    return time.process_time() - start, len(log.stage_s)


def main() -> None:
    presets = load_presets()
    mixtral, dense = presets.find_model("mixtral"), presets.find_model("llama3-8b")
    glam = presets.find_model("glam")
    free = Link(bytes_per_s=450e9, hop_s=0.0)
    four = System(
        device=presets.find_device("gpu"), num_devices=4, dram_efficiency=1.0, expert_tensor=True, link=free
    )  # fmt: skip
    one = System(device=presets.find_device("gpu"))
    rates = {
        "dense_stages_per_s": stages_per_s(dense, one),
        "glam_64_experts_stages_per_s": stages_per_s(glam, paper_system(presets, "Duplex+PE+ET", 8)),
    }
    start = time.process_time()
    compare(presets)
    first_s = time.process_time() - start
    seconds, stages = trace_s(mixtral, paper_system(presets, "Duplex+PE+ET", 4))
    times = {"comparison_of_27_configurations_s": first_s, "trace_of_19366_requests_s": seconds}
    ours_s = stage_cost(mixtral, four, Stage.of_lengths(32, 1)).seconds
    floor_s = mixtral.weight_bytes() / 4 / presets.find_device("gpu").bytes_per_s
    sizes = iter(range(33, 84))  # another batch each time: routings are remembered
    point_s = median_s(lambda: stage_cost(mixtral, four, Stage.of_lengths(next(sizes), 1)), 51)
    genz = genz_stage(32)
    over = {name: min(found) / LINES[name] for name, found in rates.items()}
    over |= {name: LINES[name] / found for name, found in times.items()}
    print(
        json.dumps(
            {
                "benchmark": "duplex_device",
                "floor_ms": 1e3 * floor_s,
                "ours_ms": 1e3 * ours_s,
                "ours_over_floor": ours_s / floor_s,
                "genz_ms": None if genz is None else 1e3 * genz[0],
                "genz_over_floor": None if genz is None else genz[0] / floor_s,
                "ours_point_s": point_s,
                "genz_point_s": None if genz is None else genz[1],
                "points_over_genz": None if genz is None else genz[1] / point_s,
                **rates,
                **{name: round(value, 3) for name, value in times.items()},
                "trace_stages": stages,
                "over_lines": {name: round(value, 2) for name, value in over.items()},
                "capacity_s": median_s(lambda: capacity(dense, one, DuplexLoad()), 5),
            }
        )
    )


if __name__ == "__main__":
    main()

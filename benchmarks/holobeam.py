"""How fast alignments are simulated, all trials at once beside one trial after the other; prints one JSON line.

    python benchmarks/holobeam.py

No installable package aligns beams with a fixed budget; the peer is the loop that one writes without vectorising, on the
same schedule, law and surface (`eliminate_thirds_ref`, tested to choose the same arms).
"""

import time

import numpy as np

from fullduplex.base.record import Record
from fullduplex.links.beam.align import AlignConfig, align, random_directions
from fullduplex.links.beam.grid import exact_grid
from fullduplex.links.beam.noise import noise_from_snr
from fullduplex.links.beam.search import eliminate_thirds_ref
from fullduplex.links.beam.surface import Surface, gain

TRIALS, LOOPED, BUDGET = 10_000, 200, 400
SURFACE = Surface(size=32)  # 65 x 65 beams


def loop_s(directions: np.ndarray, config: AlignConfig) -> float:
    """Seconds a trial of the plain loop: two searches of half of the budget."""
    grid, draw = exact_grid(SURFACE), np.random.default_rng(0)
    began = time.process_time()
    for first, second in directions:
        start = draw.integers(0, grid.size)
        gains = gain(SURFACE, first - grid), gain(SURFACE, second - grid)
        chosen = eliminate_thirds_ref(gains[0] * gains[1][start], BUDGET // 2, config.noise, draw)
        eliminate_thirds_ref(gains[1] * gains[0][chosen], BUDGET // 2, config.noise, draw)
    return (time.process_time() - began) / len(directions)


def main() -> None:
    config = AlignConfig(first=SURFACE, second=SURFACE, budget=BUDGET, noise=noise_from_snr(70))
    directions = random_directions(config, TRIALS, seed=0)
    align(config, "holobeam", directions[:1], seed=0)
    began = time.process_time()
    align(config, "holobeam", directions, seed=0)
    whole_s = time.process_time() - began
    each_s = loop_s(directions[:LOOPED], config)
    figures = {
        "trials": TRIALS,
        "beams": exact_grid(SURFACE).size ** 2,
        "pilots": BUDGET,
        "together_s": round(whole_s, 3),
        "loop_us_per_trial": round(1e6 * each_s, 1),
        "together_us_per_trial": round(1e6 * whole_s / TRIALS, 2),
        "ratio": round(each_s * TRIALS / whole_s, 1),
    }
    print(Record(name="holobeam", seed=0, data_hash="", figures=figures, seconds_s=round(whole_s, 3)).to_json())


if __name__ == "__main__":
    main()

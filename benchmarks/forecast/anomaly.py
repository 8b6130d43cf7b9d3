"""The streaming Chimera detector on the Numenta Anomaly Benchmark, beside the published scoreboard.

Prints one JSON line. The benchmark's rules: a detector learns from the first 15 % of a file (at most 750 rows), sees a row
at a time, and one threshold for all files is chosen on the files themselves for each profile. Nothing else is chosen.

    python benchmarks/forecast/anomaly.py --data NAB --keep scores     # NAB: the benchmark's data, labels and results
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from fullduplex.base.record import Record
from fullduplex.forecast.anomaly.detector import ChimeraDetector, DetectorConfig
from fullduplex.forecast.anomaly.nab import PROFILES, LabelledRun, best_threshold, probation_rows


def read_file(path: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Values of shape (T, 1), and the first row of every time stamp."""
    with path.open(newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row[0], index)
    return np.array([[float(row[1])] for row in rows]), first


def scores_of(values_T1: np.ndarray, kept: Path | None, seed: int) -> np.ndarray:
    """Scores of a file, 0 where the detector still learns; read from `kept` if they were made before."""
    if kept is not None and kept.exists():
        return np.load(kept)
    start = probation_rows(len(values_T1))
    detector = ChimeraDetector(DetectorConfig(seed=seed)).fit(values_T1[:start])
    scores_T = np.concatenate([np.zeros(start), detector.score(values_T1[start:])])
    if kept is not None:
        np.save(kept, scores_T)
    return scores_T


def main() -> None:
    """Score all files and print the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with data, labels and results of the benchmark")
    parser.add_argument("--keep", type=Path, help="folder to keep scores in, to go on from after a stop")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start_s = time.perf_counter()
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    if arguments.data is None:
        print("no --data: nothing was measured", file=sys.stderr)
    else:
        runs = []
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
        for name, windows in json.loads((arguments.data / "labels" / "combined_windows.json").read_text()).items():
            values_T1, first = read_file(arguments.data / "data" / name)
            kept = None if arguments.keep is None else arguments.keep / f"{name.replace('/', '__')}.npy"
            scores_T = scores_of(values_T1, kept, arguments.seed)
            ends = [(first[begin[:19]], first[end[:19]]) for begin, end in windows]
            # The benchmark wants scores in [0, 1]; the order is all that counts.
            runs.append(LabelledRun(scores_T=scores_T / (10 + scores_T), windows=ends))
            print(name, file=sys.stderr)
        published = json.loads((arguments.data / "results" / "final_results.json").read_text())
        for profile, worth in PROFILES.items():
            threshold, score = best_threshold(runs, worth)
            figures[profile] = round(score, 2)
            figures[f"{profile}_threshold"] = round(10 * threshold / (1 - threshold), 2)
            figures[f"{profile}_detectors_above"] = sum(each[profile] > score for each in published.values())
            figures["detectors_published"] = len(published)
    record = Record(
        name="anomaly", seed=arguments.seed, data_hash="", figures=figures,
        seconds_s=round(time.perf_counter() - start_s, 2), config={"files": 58, "learnt": "first 15 %, at most 750 rows"},
    )  # fmt: skip
    print(record.to_json())


if __name__ == "__main__":
    main()

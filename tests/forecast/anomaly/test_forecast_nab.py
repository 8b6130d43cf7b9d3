"""The anomaly scorer: by hand, and on the published files, thresholds and final scores."""

import csv
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.forecast.anomaly.nab import (
    PROFILES,
    LabelledRun,
    Profile,
    best_threshold,
    probation_rows,
    score_detections,
    windowed_gaussian,
)

NAB = Path(__file__).parents[4] / "shared" / "data" / "nab"


def run_of(detections: list[int], windows: list[tuple[int, int]], rows: int = 100) -> LabelledRun:
    scores = np.zeros(rows)
    scores[detections] = 1.0
    return LabelledRun(scores_T=scores, windows=windows)


@pytest.fixture(scope="module")
def benchmark_files() -> list[tuple[np.ndarray, list[tuple[int, int]]]]:
    if not NAB.is_dir():
        pytest.skip("the anomaly benchmark is not here")
    files = []
    for name, windows in json.loads((NAB / "labels" / "combined_windows.json").read_text()).items():
        with (NAB / "data" / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        first: dict[str, int] = {}
        for index, row in enumerate(rows):
            first.setdefault(row[0], index)
        values = np.array([float(row[1]) for row in rows])
        files.append((values, [(first[start[:19]], first[end[:19]]) for start, end in windows]))
    return files


def published(detector: str) -> dict[str, float]:
    return json.loads((NAB / "results" / "final_results.json").read_text())[detector]


def test_silence_is_0_and_the_first_rows_are_100() -> None:
    windows = [(30, 39), (60, 79)]
    for profile in PROFILES.values():
        assert score_detections([run_of([], windows)], 0.5, profile) == 0
        assert score_detections([run_of([30, 60], windows)], 0.5, profile) == pytest.approx(100)


def test_one_detection_by_hand() -> None:
    sigmoid = lambda y: 2 / (1 + math.exp(5 * y)) - 1  # noqa: E731
    raw = sigmoid(-5 / 10) / sigmoid(-1)  # row 35 of 30..39: 5 rows from the end, of 10
    raw += 0.11 * sigmoid(3 / 9)  # row 42: 3 rows behind a window of 10
    raw += -0.11  # row 20, before any window
    found = score_detections([run_of([20, 35, 42], [(30, 39)])], 0.5, PROFILES["standard"])
    assert found == pytest.approx(100 * (raw + 1) / 2, abs=1e-12)
    # In probation nothing counts; the earliest detection of a window does.
    assert probation_rows(100) == 15
    again = run_of([3, 20, 35, 37, 42], [(30, 39)])
    assert score_detections([again], 0.5, PROFILES["standard"]) == pytest.approx(found, abs=1e-12)


def test_the_best_threshold_is_the_best_of_all(seed: int = 5) -> None:
    rng = np.random.default_rng(seed)
    runs = [LabelledRun(scores_T=rng.integers(0, 9, 120) / 8, windows=[(40, 55), (80, 90)]) for _ in range(3)]
    for profile in PROFILES.values():
        tried = {value: score_detections(runs, value, profile) for value in [*np.arange(9) / 8, 1.5]}
        threshold, score = best_threshold(runs, profile)
        assert score == pytest.approx(max(tried.values()), abs=1e-9)
        assert score == pytest.approx(score_detections(runs, threshold, profile))


@pytest.mark.parametrize("detector", [pytest.param("windowedGaussian", marks=pytest.mark.slow), "random", "null"])
def test_the_scoreboard(detector: str, benchmark_files: list[tuple[np.ndarray, list[tuple[int, int]]]]) -> None:
    assert sum(len(windows) for _, windows in benchmark_files) == 116
    runs = []
    for values, windows in benchmark_files:
        if detector == "random":
            draw = random.Random(42)
            scores = np.array([draw.uniform(0, 1) for _ in values])
        elif detector == "null":
            scores = np.full(values.size, 0.5)
        else:
            scores = np.round(windowed_gaussian(values), 12)  # the published results hold 12 digits
        runs.append(LabelledRun(scores_T=scores, windows=windows))
    thresholds = json.loads((NAB / "config" / "thresholds.json").read_text())[detector]
    for name, profile in PROFILES.items():
        found = score_detections(runs, thresholds[name]["threshold"], profile)
        assert found == pytest.approx(published(detector)[name], abs=1e-9)


def test_perfect_detections_on_the_real_labels(benchmark_files: list[tuple[np.ndarray, list[tuple[int, int]]]]) -> None:
    runs = [run_of([first for first, _ in windows], windows, values.size) for values, windows in benchmark_files]
    for profile in PROFILES.values():
        assert score_detections(runs, 1.0, profile) == pytest.approx(100, abs=1e-9)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="no labelled window"):
        score_detections([run_of([1], [])], 0.5, Profile())
    for windows in ([(5, 3)], [(0, 100)], [(0, 9), (5, 20)]):
        with pytest.raises(InputError, match="ordered row ranges"):
            run_of([], windows)
    with pytest.raises(InputError, match="missing"):
        LabelledRun(scores_T=np.array([np.nan]), windows=[])

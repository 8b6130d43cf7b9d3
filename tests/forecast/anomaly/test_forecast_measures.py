"""Measures of anomaly scores: by hand, and the authors' own package."""

import csv
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.forecast.anomaly.measures import affiliation, best_f1, point_adjusted_f1, vus_pr


def labels(rows: int, *stretches: tuple[int, int]) -> np.ndarray:
    made = np.zeros(rows, np.int64)
    for first, stop in stretches:
        made[first:stop] = 1
    return made


def test_best_f1_is_the_best_of_all_thresholds() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        truth = generator.integers(0, 2, 12)
        if truth.min() == truth.max():
            continue
        scores = generator.integers(0, 5, 12) / 4  # with ties
        tried = []
        for threshold in np.unique(scores):
            flags = scores >= threshold
            hits = (flags & (truth == 1)).sum()
            tried.append(2 * hits / (flags.sum() + truth.sum()))
        assert best_f1(scores, truth) == pytest.approx(max(tried))


def test_point_adjustment_makes_random_scores_look_good() -> None:
    """The trap: a detector that knows nothing, on labels with long stretches, as Daphnet and SMD have them."""
    truth = labels(2000, (300, 500), (900, 1100), (1500, 1700))
    scores = np.random.default_rng(1).random(2000)
    adjusted = point_adjusted_f1(scores, truth)
    assert best_f1(scores, truth) < 0.5
    assert adjusted.random > 0.9 and adjusted.scores > 0.9


def test_point_adjustment_flatters_random_scores_on_real_labels() -> None:
    """Arterial pressure with one labelled stretch, of the archive that aeon carries; its Daphnet file has no label."""
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        pytest.skip("aeon is not installed: pip install --no-deps aeon")
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "KDD-TSAD_135"
    with (path / "135_UCR_Anomaly_InternalBleeding16_TEST.csv").open(newline="") as lines:
        truth = np.array([int(float(row[-1])) for row in list(csv.reader(lines))[1:]])
    scores = np.random.default_rng(0).random(len(truth))
    assert best_f1(scores, truth) < 0.4
    assert point_adjusted_f1(scores, truth).random > 2 * best_f1(scores, truth)


def test_point_adjustment_by_hand() -> None:
    truth, scores = labels(8, (2, 5)), np.array([0.1, 0.6, 0.0, 0.9, 0.0, 0.2, 0.1, 0.0])
    # Adjusted, rows 2 to 4 have 0.9: at that threshold all three are found and nothing else.
    assert point_adjusted_f1(scores, truth, num_draws=1).scores == 1.0
    assert best_f1(scores, truth) == pytest.approx(2 * 3 / (8 + 3))  # all rows flagged is best


def test_vus_pr_is_that_of_the_package() -> None:
    metrics = pytest.importorskip("vus.utils.metrics")
    truth = labels(600, (100, 140), (400, 420))
    scores = np.random.default_rng(0).random(600) + 0.5 * truth
    *_, expected = metrics.metricor().RangeAUC_volume_opt(truth.astype(float), scores, 20)
    assert vus_pr(scores, truth, 20) == expected
    assert vus_pr(truth + 0.01 * scores, truth, 20) > 0.95 > 0.5 > vus_pr(scores[::-1].copy(), truth, 20)


def test_affiliation_against_the_integral_by_hand() -> None:
    """One event [10, 20) of 30 rows, one flag [14, 16) inside it: precision 1; recall is an integral over the event.

    A row x of the event lies d = max(14 - x, x - 16, 0) from the flag, and the affiliation measure takes the share of
    places in the whole range at least as far from x, 1 - |[x - d, x + d] within [0, 30]| / 30.
    """
    pytest.importorskip("vus.affiliation.metrics")
    found = affiliation(labels(30, (14, 16)), labels(30, (10, 20)))
    fine = 10 + (np.arange(200000) + 0.5) / 20000
    distance = np.maximum(np.maximum(14 - fine, fine - 16), 0)
    expected = np.mean(1 - 2 * distance / 30)
    assert found.precision == 1
    assert found.recall == pytest.approx(expected, abs=1e-4)


def test_affiliation_of_nothing_is_nothing() -> None:
    found = affiliation(labels(30), labels(30, (10, 20)))
    assert (found.precision, found.recall) == (0, 0)


@pytest.mark.parametrize("measure", [best_f1, vus_pr, point_adjusted_f1])
def test_bad_input_is_refused(measure) -> None:
    good = np.linspace(0, 1, 10)
    for scores, truth in itertools.product([good], [np.zeros(10, np.int64), np.full(10, 2), np.zeros(9, np.int64)]):
        with pytest.raises(InputError, match="labels"):
            measure(scores, truth)
    with pytest.raises(InputError, match="none missing"):
        measure(np.full(10, np.nan), labels(10, (2, 4)))

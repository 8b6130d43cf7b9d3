"""TurnBench: consensus, floor, matching, sweep and submissions, against brute force and hand-made conversations."""

import json
from itertools import pairwise
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.turnbench.floor import Anchor, Gold, gold_of
from fullduplex.evaluate.turnbench.gold import FLOOR_CLASSES, Masked, find_consensus
from fullduplex.evaluate.turnbench.score import TAU_MAX_S, TAU_PRE_S, TaskScore, score_task, summed
from fullduplex.evaluate.turnbench.submission import read_gold, read_predictions, read_probabilities, score_submission
from fullduplex.evaluate.turnbench.sweep import SweepItem, commit_times, operating_point, sweep, thresholds

TURN, NOD, CUT = "Normal Turn", "Continuer Backchannel", "Floor-taking Competitive Interruption"
TRY = "Non-floor Taking Competitive Interruption"


def agreed(*events: tuple) -> dict:
    return {name: list(events) for name in "abc"}


# --- consensus


def test_two_of_three_and_the_median() -> None:
    tracks = {"a": [(1.0, 2.0, TURN)], "b": [(1.1, 2.1, TURN)], "c": [(1.18, 2.15, TURN)]}
    found = find_consensus(tracks, 1)
    assert [(e.start_s, e.end_s, e.name) for e in found.events] == [(1.1, 2.1, "Turn")]
    assert found.excluded == ()
    two = find_consensus({**tracks, "c": [(1.0, 3.0, TURN)]}, 1)
    assert [(e.start_s, e.end_s) for e in two.events] == [(1.05, 2.05)]
    assert two.excluded == ()  # outvoted, not disputed


def test_the_tolerance_is_two_tenths_on_both_edges() -> None:
    just = find_consensus({"a": [(1.0, 2.0, TURN)], "b": [(1.2, 2.0, TURN)], "c": []}, 1)
    assert len(just.events) == 1
    past = find_consensus({"a": [(1.0, 2.0, TURN)], "b": [(1.0, 2.21, TURN)], "c": []}, 1)
    assert past.events == ()
    assert past.excluded == (Masked(1, 1.0, 2.21),)


def test_labels_that_differ_agree_on_the_floor() -> None:
    tracks = {"a": [(1.0, 2.0, TURN)], "b": [(1.0, 2.0, CUT)], "c": [(1.0, 2.0, NOD)]}
    assert find_consensus(tracks, 2).events == ()
    assert len(find_consensus(tracks, 2, FLOOR_CLASSES).events) == 1


def test_unknown_labels_are_passed_over_and_bad_tracks_refused() -> None:
    assert find_consensus(agreed((0.0, 1.0, "Mumble")), 1).events == ()
    with pytest.raises(InputError, match="three"):
        find_consensus({"a": []}, 1)
    with pytest.raises(InputError, match="end after"):
        find_consensus(agreed((1.0, 1.0, TURN)), 1)
    with pytest.raises(InputError, match="speakers"):
        gold_of({1: agreed()})


# --- floor


def test_a_turn_that_is_taken_and_a_pause_that_is_not() -> None:
    gold = gold_of({1: agreed((0, 2, TURN), (3, 5, TURN)), 2: agreed((6, 8, TURN))})
    assert gold.eot_positives == (Anchor(1, 5), Anchor(2, 8))  # the last one: nobody speaks again
    assert gold.eot_negatives == (Masked(1, 2, 3),)


def test_an_overlapping_take_over_is_an_end_of_turn() -> None:
    gold = gold_of({1: agreed((0, 4, TURN), (9, 10, TURN)), 2: agreed((3.5, 6, TURN))})
    assert Anchor(1, 4) in gold.eot_positives


def test_pauses_end_at_the_first_sign_against_them() -> None:
    nods = gold_of({1: agreed((0, 2, TURN), (5, 6, TURN)), 2: agreed((3, 3.4, NOD), (8, 9, TURN))})
    assert nods.eot_negatives == (Masked(1, 2, 5),)  # a nod of the other leaves the floor where it is
    own = gold_of({1: agreed((0, 2, TURN), (3, 3.4, NOD), (5, 6, TURN)), 2: agreed((8, 9, TURN))})
    assert own.eot_negatives == (Masked(1, 2, 3),)
    tried = gold_of({1: agreed((0, 2, TURN), (5, 6, TURN)), 2: agreed((2.5, 3, TRY), (8, 9, TURN))})
    assert tried.eot_negatives == (Masked(1, 2, 2.5),)
    disputed = {**agreed((0, 2, TURN), (5, 6, TURN)), "a": [(0, 2, TURN), (4, 4.2, TURN), (5, 6, TURN)]}
    assert gold_of({1: disputed, 2: agreed((8, 9, TURN))}).eot_negatives == (Masked(1, 2, 4),)


def test_interruptions_nods_and_attempts() -> None:
    gold = gold_of({1: agreed((0, 4, TURN)), 2: agreed((1, 1.3, NOD), (2, 2.4, TRY), (3, 6, CUT))})
    assert gold.int_positives == (Anchor(2, 3),)
    assert gold.int_negatives == (Masked(2, 1, 1.3),)
    assert gold.int_excluded == (Masked(2, 2, 2.4),)


# --- scoring


def test_window_edges_and_one_claim_each() -> None:
    at = [Anchor(1, 10.0)]
    for time_s, hit in ((9.74, 0), (9.75, 1), (13.0, 1), (13.01, 0)):
        assert score_task(at, [], {1: [time_s], 2: []}).tp == hit
    burst = score_task(at, [], {1: [10.1, 10.2, 10.3], 2: []})
    assert (burst.tp, burst.latencies_s) == (1, pytest.approx((0.1,)))
    near = score_task([Anchor(1, 10.0), Anchor(1, 11.0)], [], {1: [11.05], 2: []})
    assert (near.tp, near.fn) == (1, 1)  # past the next event it belongs to that one
    assert score_task(at, [], {1: [], 2: [10.0]}).tp == 0


def test_a_pause_is_charged_once_and_a_detection_never() -> None:
    span = [Masked(1, 5.0, 6.0)]
    assert score_task([], span, {1: [4.75, 5.5, 5.9], 2: []}).fp == 1
    assert score_task([], span, {1: [4.74, 6.01], 2: []}).tn == 1
    both = score_task([Anchor(1, 5.2)], span, {1: [5.3, 5.8], 2: []})
    assert (both.tp, both.fp) == (1, 0)  # 5.8 lies in the positive's window
    masked = score_task([Anchor(1, 5.2)], span, {1: [5.3], 2: []}, [Masked(1, 5.0, 5.5)])
    assert (masked.tp, masked.fp) == (0, 0)
    assert score_task([], span, {1: [5.5], 2: []}, [Masked(2, 5.0, 6.0)]).fp == 1  # the other channel's mask


def brute_force(positives: list, negatives: list, predictions: dict, excluded: list) -> tuple[int, int, int]:
    """The protocol read aloud: quadratic, no bisection."""
    claimed: set = set()
    windows: dict = {1: [], 2: []}
    visible = {
        who: [t for t in predictions[who] if not any(m.speaker == who and m.start_s <= t <= m.end_s for m in excluded)]
        for who in (1, 2)
    }
    hits = 0
    for anchor in sorted(positives, key=lambda a: a.time_s):
        later = [a.time_s for a in positives if a.speaker == anchor.speaker and a.time_s > anchor.time_s]
        low, high = anchor.time_s - TAU_PRE_S, min([anchor.time_s + TAU_MAX_S, *later])
        windows[anchor.speaker].append((low, high))
        free = [t for t in visible[anchor.speaker] if low <= t <= high and (anchor.speaker, t) not in claimed]
        if free:
            claimed.add((anchor.speaker, min(free)))
            hits += 1
    false = 0
    for span in negatives:
        false += any(
            span.start_s - TAU_PRE_S <= t <= span.end_s
            and (span.speaker, t) not in claimed
            and not any(low <= t <= high for low, high in windows[span.speaker])
            for t in visible[span.speaker]
        )
    return hits, len(positives) - hits, false


times = st.sets(st.integers(0, 400), max_size=12)


@settings(max_examples=200, deadline=None)
@given(times, times, times, times, st.sets(st.integers(0, 100), max_size=8))
def test_equal_to_brute_force(a: set, b: set, fires_1: set, fires_2: set, edges: set) -> None:
    positives = [Anchor(1, t / 10) for t in sorted(a)] + [Anchor(2, t / 10) for t in sorted(b)]
    spans = [(low * 0.4, high * 0.4) for low, high in pairwise(sorted(edges))]
    negatives = [Masked(1 + i % 2, low, high) for i, (low, high) in enumerate(spans[::2])]
    excluded = [Masked(1 + i % 2, low, high) for i, (low, high) in enumerate(spans[1::2])]
    predictions = {1: [t / 10 + 0.013 for t in sorted(fires_1)], 2: [t / 10 + 0.013 for t in sorted(fires_2)]}
    found = score_task(positives, negatives, predictions, excluded)
    assert (found.tp, found.fn, found.fp) == brute_force(positives, negatives, predictions, excluded)
    assert found.fp + found.tn == len(negatives)


def test_firing_all_the_time_is_not_rewarded() -> None:
    """Recall 1, but every pause that lies outside the windows is charged, and the sweep's budget rejects it."""
    positives = [Anchor(1, 10.0 * k) for k in range(1, 6)]
    negatives = [Masked(1, 10.0 * k + 5, 10.0 * k + 6) for k in range(1, 6)]
    constant = score_task(positives, negatives, {1: [i / 10 for i in range(700)], 2: []})
    assert (constant.recall, constant.fp_rate) == (1.0, 1.0)
    oracle = score_task(positives, negatives, {1: [a.time_s for a in positives], 2: []})
    assert (oracle.recall, oracle.fp_rate, oracle.latency_s(50)) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [[2.0, 1.0], [1.0, 1.0], [nan], [1.0, inf], [1.0, nan]])
def test_times_out_of_order_or_not_finite_are_refused(bad: list) -> None:
    with pytest.raises(InputError, match="strictly increasing"):
        score_task([], [], {1: bad, 2: []})
    with pytest.raises(InputError, match="1 and 2"):
        score_task([], [], {1: [], 3: []})


def test_nothing_is_nan() -> None:
    empty = summed([TaskScore(), score_task([], [], {})])
    assert isnan(empty.recall)
    assert isnan(empty.fp_rate)
    assert isnan(empty.latency_s(50))


# --- sweep


def test_commits_on_rising_edges_with_a_wait_counted_from_commits() -> None:
    rate_hz = 10.0
    values = np.zeros(100)
    for edge in (5, 15, 26, 70):
        values[edge] = 0.9
    assert commit_times(values, rate_hz, 0.5) == (0.6, 2.7, 7.1)  # 15 is within 2 s of 5; 26 is not
    assert commit_times(np.ones(30), rate_hz, 0.5) == (0.1,)
    assert commit_times(np.full(30, 0.5), rate_hz, 0.5) == ()
    assert commit_times([], rate_hz, 0.5) == ()


def sweep_item(values: dict, duration_s: float = 10.0, rate_hz: float = 10.0, **gold: object) -> SweepItem:
    base = {"positives": (), "negatives": (), "excluded": ()}
    return SweepItem(**{**base, **gold}, probabilities=values, duration_s=duration_s, rate_hz=rate_hz)


def test_the_operating_point_is_the_highest_recall_within_the_budget() -> None:
    values = np.zeros(100)
    values[31], values[61] = 0.8, 0.4  # a sure end of turn, an unsure pause
    item = sweep_item({1: values, 2: np.zeros(100)}, positives=[Anchor(1, 3.0)], negatives=[Masked(1, 6.0, 7.0)])
    points = sweep([item])
    best = operating_point(points)
    assert best is not None
    assert (best.score.recall, best.score.fp_rate) == (1.0, 0.0)
    assert 0.4 <= best.threshold < 0.8
    assert operating_point(sweep([item], [0.1]), fp_budget=0.1) is None
    levels = thresholds([item])
    assert 0.01 in levels
    assert 0.8 in levels
    assert (np.diff(levels) > 0).all()
    assert thresholds([sweep_item({1: np.zeros(100), 2: np.zeros(100)})]).size == 99


@pytest.mark.parametrize(
    "values",
    [
        {1: np.zeros(99), 2: np.zeros(100)},
        {1: np.full(100, 1.1), 2: np.zeros(100)},
        {1: np.full(100, nan), 2: np.zeros(100)},
        {1: np.zeros(100)},
        {1: np.zeros((100, 1)), 2: np.zeros(100)},
    ],
)
def test_probabilities_that_are_none_are_refused(values: dict) -> None:
    with pytest.raises(InputError):
        sweep_item(values)
    with pytest.raises(InputError, match="nothing"):
        sweep([])


# --- files

ROW = {"eot": [5.1], "interruption": []}


def write(folder: Path, rows: list, gold: dict | None = None) -> None:
    events = {"eot_positives": [[1, 5.0]], "eot_negatives": [[1, 7.0, 8.0]]}
    plain = gold or {"conversations": {"x": {"duration_s": 20.0, "events": events}}}
    (folder / "gold.json").write_text(json.dumps(plain))
    (folder / "predictions.json").write_text(json.dumps({"predictions": rows}))


def row(name: str = "x", **fields: object) -> dict:
    return {"conversation_id": name, "speaker_1": ROW, "speaker_2": {"eot": [], "interruption": []}, **fields}


def test_a_submission_from_files(tmp_path: Path) -> None:
    write(tmp_path, [row()])
    gold = read_gold(tmp_path / "gold.json")
    eot, cuts = score_submission(gold, read_predictions(tmp_path / "predictions.json", gold))
    assert (eot.tp, eot.fp, eot.tn) == (1, 0, 1)
    assert eot.figures()["latency_s_p50"] == pytest.approx(0.1)
    assert isnan(cuts.recall)
    annotated = {"1": {k: [[0, 5, TURN]] for k in "abc"}, "2": {k: [[6, 7, TURN]] for k in "abc"}}
    write(tmp_path, [row()], {"conversations": {"x": {"duration_s": 20.0, "annotations": annotated}}})
    assert read_gold(tmp_path / "gold.json")["x"].gold == Gold(eot_positives=(Anchor(1, 5.0), Anchor(2, 7.0)))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "missing"),
        ([row(), row()], "twice"),
        ([row(), row("y")], "not in the gold"),
        ([row(speaker_1={"eot": [21.0], "interruption": []})], "outside"),
        ([row(speaker_1={"eot": [-0.1], "interruption": []})], "outside"),
        ([row(speaker_1={"eot": [None], "interruption": []})], "no submission"),
        ([row(speaker_1={"eot": []})], "no submission"),
        ([3], "no submission"),
    ],
)
def test_submissions_are_refused_loudly(tmp_path: Path, rows: list, match: str) -> None:
    write(tmp_path, rows)
    gold = read_gold(tmp_path / "gold.json")
    with pytest.raises(InputError, match=match):
        read_predictions(tmp_path / "predictions.json", gold)


@pytest.mark.parametrize("plain", [{}, {"conversations": {}}, {"conversations": {"x": {}}}, [], {"conversations": 3}])
def test_gold_that_is_none_is_refused(tmp_path: Path, plain: object) -> None:
    (tmp_path / "gold.json").write_text(json.dumps(plain))
    with pytest.raises(FormatError):
        read_gold(tmp_path / "gold.json")


def test_probabilities_from_files(tmp_path: Path) -> None:
    write(tmp_path, [row()])
    gold = read_gold(tmp_path / "gold.json")
    probs = [{"conversation_id": "x", "speaker_1": {"prob": [0.0] * 200}, "speaker_2": {"prob": [0.5] * 200}}]
    file = tmp_path / "probs-eot.json"
    file.write_text(json.dumps({"task": "eot", "frame_rate_hz": 10, "probs": probs}))
    task, items = read_probabilities(file, gold)
    assert (task, len(items), items[0].positives) == ("eot", 1, (Anchor(1, 5.0),))
    for change in ({"task": "x"}, {"frame_rate_hz": 0}, {"frame_rate_hz": 12.5}, {"probs": []}, {"probs": [{}]}):
        file.write_text(json.dumps({"task": "eot", "frame_rate_hz": 10, "probs": probs, **change}))
        with pytest.raises(InputError):
            read_probabilities(file, gold)

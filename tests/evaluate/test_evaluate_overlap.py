"""Full-Duplex-Bench v1.5: timing, behaviour classes, speech features; and the stop metrics of LSLM."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.overlap import classify_behaviour, overlap_timing, words_after
from fullduplex.evaluate.fdb.prosody import (
    intensity_db,
    paired_test,
    pitch_hz,
    split_time_s,
    sudden_cutoffs,
    words_per_minute,
)
from fullduplex.evaluate.lslm import StopTrial, random_stops, stop_score
from fullduplex.evaluate.timing.spans import Recording, Side, Word

RATE_HZ = 16_000


def recording(user: list, system: list) -> Recording:
    return Recording(name="r", user=Side(spans=tuple(user)), system=Side(spans=tuple(system)), duration_s=100.0)


def test_stop_and_response_latency() -> None:
    found = overlap_timing(recording([(1, 2), (5, 6.5)], [(3, 5.4), (7, 8)]))
    assert found.stop_latencies_s == pytest.approx((0.4,))
    assert found.response_latencies_s == pytest.approx((1.0, 0.5))


def test_pauses_up_to_the_constants_are_closed_not_those_of_the_comments() -> None:
    """The script's comments say 300 and 50 ms; its constants close 600 and 500 ms."""
    user, system = [(1, 2), (2.55, 3)], [(2.2, 2.3), (2.75, 2.9)]
    found = overlap_timing(recording(user, system))
    assert found.stop_latencies_s == pytest.approx((0.7,))  # one user span 1 to 3, one system span 2.2 to 2.9


def test_the_latest_user_end_before_a_start_counts_and_a_start_at_the_end_is_none() -> None:
    assert overlap_timing(recording([(1, 2), (3, 4)], [(6, 7)])).responses == ((4, 6),)
    assert overlap_timing(recording([(3, 4)], [(4, 4.5), (6, 7)])).responses == ((4, 6),)
    assert overlap_timing(recording([], [(1, 2)])).responses == ()


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 90_000), max_size=12), st.sets(st.integers(0, 90_000), max_size=12))
def test_latencies_equal_a_look_at_every_pair(first: set, second: set) -> None:
    sides = [
        [(a / 1000, b / 1000) for a, b in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)]
        for edges in (first, second)
    ]

    def closed(spans: list, gap_s: float) -> list:
        out: list = []
        for span in spans:
            if out and span[0] - out[-1][1] <= gap_s:
                out[-1] = (out[-1][0], span[1])
            else:
                out.append(span)
        return out

    user, system = closed(sides[0], 0.6), closed(sides[1], 0.5)
    found = overlap_timing(recording(sides[0], sides[1]))
    pairs = [(max(a, c), min(b, d)) for a, b in user for c, d in system if max(a, c) < min(b, d)]
    assert set(found.stops) <= set(pairs)
    assert {round(end, 3) for _, end in found.stops} == {round(end, 3) for _, end in pairs}
    expected: dict = {}
    for _, end in user:
        following = [start for start, _ in system if start > end]
        if following:
            expected[following[0]] = max(expected.get(following[0], 0), end)
    assert {start: end for end, start in found.responses} == expected


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("", "unknown"),
        ("Sorry, I didn't catch that.", "uncertain"),
        ("Could you repeat the question?", "uncertain"),
        ("The train to Berlin leaves at nine.", "respond"),
        ("and then whisk the eggs with sugar", "resume"),
        ("La la la", "unknown"),
    ],
)
def test_behaviour_by_words(said: str, kind: str) -> None:
    before, rest = "To bake a cake take eggs and sugar", "then whisk them"
    assert classify_behaviour(said, "When does the train to Berlin leave?", before, rest) == kind


def test_words_after_the_onset() -> None:
    said = (Word("a", 1.0, 1.2), Word("b", 3.0, 3.2))
    talk = Recording(name="r", user=Side(), system=Side(words=said), duration_s=5)
    assert [word.text for word in words_after(talk, (2.0, 2.5))] == ["b"]


def test_rate_of_speech_and_the_split_between_words() -> None:
    said = (Word("a", 0.0, 0.5), Word("b", 0.5, 1.0), Word("c", 1.5, 2.0))
    assert words_per_minute(said) == pytest.approx(90)
    assert math.isnan(words_per_minute(()))
    assert [split_time_s(at, said) for at in (0.2, 0.5, 1.2, 2.5)] == [0.0, 0.5, 1.5, 2.0]
    assert split_time_s(3.0, ()) == 3.0


@pytest.mark.parametrize("hz", [90.0, 131.0, 220.0, 330.0])
def test_pitch_of_a_buzz(hz: float) -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 8))
    mean, sd = pitch_hz((0.2 * buzz).astype(np.float32), RATE_HZ)
    assert mean == pytest.approx(hz, rel=0.01)
    assert sd < 0.02 * hz


def test_noise_and_silence_have_no_pitch() -> None:
    assert math.isnan(pitch_hz(np.zeros(RATE_HZ, np.float32), RATE_HZ)[0])
    hiss = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert math.isnan(pitch_hz(0.1 * hiss, RATE_HZ)[0])


def test_intensity_of_a_tone() -> None:
    tone = np.sin(2 * np.pi * 400 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mean, sd = intensity_db(tone, RATE_HZ)
    assert mean == pytest.approx(-3.01, abs=0.01)
    assert sd < 0.01


def test_a_sudden_cutoff_is_found_where_it_is() -> None:
    sound = 0.3 * np.ones(RATE_HZ, np.float32)
    sound[: RATE_HZ // 4] *= 0.01
    sound[RATE_HZ // 2 :] *= 0.01
    assert sudden_cutoffs(sound, RATE_HZ) == pytest.approx((0.51,), abs=0.02)
    assert sudden_cutoffs(0.3 * np.ones(RATE_HZ, np.float32), RATE_HZ) == ()
    with pytest.raises(InputError, match="rate_hz"):
        sudden_cutoffs(sound, 10)


def test_the_paired_test_against_printed_tables() -> None:
    """Two-sided 5 % points of Student's t: 12.706 at 1 degree of freedom, 2.262 at 9, 1.984 at 100."""
    for freedom, point in ((1, 12.706), (9, 2.262), (100, 1.984)):
        size = freedom + 1
        spread = np.linspace(-1, 1, size)
        wanted_mean = point * spread.std(ddof=1) / math.sqrt(size)
        found = paired_test([0.0] * size, (spread + wanted_mean).tolist())
        assert found.t == pytest.approx(point, rel=1e-9)
        assert found.p == pytest.approx(0.05, abs=2e-4)
    assert math.isnan(paired_test([1.0], [2.0]).p)
    assert paired_test([1.0, math.nan, 2.0], [2.0, 1.0, 2.5]).num_pairs == 2
    with pytest.raises(InputError, match="pairs"):
        paired_test([1.0], [])


def test_stops_inside_the_window_are_hits() -> None:
    trials = [
        StopTrial(onset_s=2.0, stop_s=2.0),
        StopTrial(onset_s=2.0, stop_s=3.0),
        StopTrial(onset_s=2.0, stop_s=3.001),
        StopTrial(onset_s=2.0, stop_s=1.9),
        StopTrial(onset_s=2.0, stop_s=None),
        StopTrial(onset_s=None, stop_s=1.0),
        StopTrial(onset_s=None, stop_s=None),
    ]
    score = stop_score(trials)
    assert (score.tp, score.fn, score.fp, score.tn) == (2, 3, 1, 1)
    assert (score.num_early, score.num_late) == (1, 1)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 5)
    assert score.f1 == pytest.approx(0.5)


def test_no_trials_are_nan_and_bad_times_are_refused() -> None:
    score = stop_score([])
    assert all(math.isnan(value) for value in (score.precision, score.recall, score.f1))
    for bad in (math.nan, -1.0, math.inf):
        with pytest.raises(InputError):
            StopTrial(onset_s=bad, stop_s=None)


def test_a_deaf_control_scores_as_its_closed_form() -> None:
    """It stops at a constant rate whatever it hears: 20 000 trials, three standard errors."""
    draw = np.random.default_rng(1)
    hazard, length_s, count = 0.7, 3.0, 20_000
    recall, false_rate = random_stops(hazard, 1.0, length_s)
    interrupted = [StopTrial(onset_s=0.0, stop_s=float(t)) for t in draw.exponential(1 / hazard, count)]
    alone = [
        StopTrial(onset_s=None, stop_s=float(t) if t < length_s else None) for t in draw.exponential(1 / hazard, count)
    ]
    score = stop_score(interrupted + alone)
    assert score.recall == pytest.approx(recall, abs=3 * math.sqrt(0.25 / count))
    assert score.fp / count == pytest.approx(false_rate, abs=3 * math.sqrt(0.25 / count))

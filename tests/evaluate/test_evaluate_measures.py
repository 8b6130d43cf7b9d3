"""Measures against timelines drawn by hand."""

import numpy as np
import pytest

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.caller import Act, Spoken
from fullduplex.evaluate.measures import audible_spans, continuity, outcomes, summary, with_words, word_continuity

S = EAR_RATE_HZ


def track(duration_s: float, *spans_s: tuple[float, float]) -> np.ndarray:
    sound = np.zeros(int(duration_s * S), np.float32)
    for start_s, end_s in spans_s:
        sound[int(start_s * S) : int(end_s * S)] = 0.1
    return sound


def act(role: str) -> Act:
    return Act(role=role, text="x", pcm=np.ones(S, np.float32))


def spoken(index: int, start_s: float, end_s: float, *, over: bool = False) -> Spoken:
    return Spoken(act=index, start=int(start_s * S), end=int(end_s * S), machine_spoke=over)


def test_spans_and_bridges() -> None:
    sound = track(3.0, (0.5, 1.0), (1.2, 2.0))
    assert audible_spans(sound) == [(8_000, 16_000), (19_200, 32_000)]
    assert audible_spans(sound, bridge_s=0.2) == [(8_000, 32_000)]
    assert audible_spans(sound, bridge_s=0.19) == [(8_000, 16_000), (19_200, 32_000)]
    assert audible_spans(np.zeros(0, np.float32)) == audible_spans(np.zeros(S, np.float32)) == []
    assert audible_spans(np.full(S, 0.99 * 10**-2.5, np.float32)) == []  # just below -50 dBFS
    assert audible_spans(np.full(S, 1.01 * 10**-2.5, np.float32)) == [(0, S)]


def test_a_reply_gap_is_from_the_end_of_the_words_to_the_first_sound() -> None:
    sound = track(6.0, (2.45, 4.0))
    (outcome,) = outcomes([act("turn")], [spoken(0, 1.0, 2.0)], sound, [])
    assert outcome.reply_gap_s == pytest.approx(0.45)
    assert not outcome.cut_in and outcome.stop_s is None and outcome.kept_floor is None


def test_the_longest_pause_is_inside_the_answer_alone() -> None:
    sound = track(12.0, (0.2, 0.6), (2.5, 3.0), (3.4, 4.0), (4.2, 5.0), (7.6, 8.0))
    first, second = outcomes([act("turn")] * 2, [spoken(0, 1.0, 2.0), spoken(1, 6.0, 7.0)], sound, [])
    assert first.pause_s == pytest.approx(0.4) and second.pause_s == 0
    assert summary([first, second])["pause_s_median"] == pytest.approx(0.2)
    (silent,) = outcomes([act("turn")], [spoken(0, 1.0, 2.0)], track(4.0), [])
    assert silent.pause_s is None and summary([silent])["pause_s_p95"] is None


def test_a_reply_before_the_end_is_a_cut_in_and_no_gap() -> None:
    (outcome,) = outcomes([act("turn")], [spoken(0, 1.0, 2.0)], track(6.0, (1.5, 3.0)), [])
    assert outcome.cut_in and outcome.reply_gap_s == pytest.approx(-0.5)
    figures = summary([outcome])
    assert figures["cut_ins"] == 1 and figures["reply_gap_s_median"] is None and figures["answered"] == 1


def test_a_reply_to_the_next_turn_does_not_answer_this_one() -> None:
    said = [spoken(0, 1.0, 2.0), spoken(1, 4.0, 5.0)]
    first, second = outcomes([act("turn")] * 2, said, track(8.0, (5.3, 6.0)), [])
    assert first.reply_gap_s is None
    assert second.reply_gap_s == pytest.approx(0.3)
    assert summary([first, second])["answered"] == 1


@pytest.mark.parametrize(
    ("machine", "stop_s"),
    [
        ([(1.0, 3.12)], 0.12),
        ([(1.0, 3.1), (3.2, 3.3)], 0.3),  # a gap of 0.1 s is no stop
        ([(1.0, 2.9), (3.5, 4.0)], 0.0),  # it was pausing and stayed silent for half a second
        ([(1.0, 2.9), (3.05, 3.4)], 0.4),
    ],
)
def test_a_stop_is_measured_from_the_onset_to_lasting_silence(
    machine: list[tuple[float, float]], stop_s: float
) -> None:
    sound = track(8.0, *machine, (5.0, 6.0))
    (outcome,) = outcomes([act("interruption")], [spoken(0, 3.0, 4.4, over=True)], sound, [])
    assert outcome.stop_s == pytest.approx(stop_s)


def test_the_answer_to_an_interruption_comes_after_the_stop() -> None:
    sound = track(8.0, (1.0, 3.1), (4.6, 6.0))
    (outcome,) = outcomes([act("interruption")], [spoken(0, 3.0, 4.0, over=True)], sound, [])
    assert (outcome.stop_s, outcome.reply_gap_s) == (pytest.approx(0.1), pytest.approx(0.6))


@pytest.mark.parametrize(
    ("reply", "kept"),
    [((1.0, 6.0, True), True), ((1.0, 3.2, False), False), ((1.0, 3.2, True), True), ((1.0, 5.0, False), True)],
)
def test_a_harmless_sound_either_stops_the_machine_or_not(reply: tuple[float, float, bool], kept: bool) -> None:
    replies = [(int(reply[0] * S), int(reply[1] * S), reply[2])]
    (outcome,) = outcomes([act("backchannel")], [spoken(0, 3.0, 3.4, over=True)], track(8.0, (1.0, 6.0)), replies)
    assert outcome.kept_floor is kept
    assert summary([outcome])["false_stops"] == int(not kept)


def test_a_sound_in_silence_tests_nothing() -> None:
    (outcome,) = outcomes([act("noise")], [spoken(0, 3.0, 3.4)], track(8.0), [])
    assert outcome.kept_floor is None
    assert summary([outcome])["harmless_sounds"] == 0


def test_no_acts_give_no_division_by_zero() -> None:
    figures = summary([])
    assert figures["turns"] == figures["cut_ins"] == 0
    assert figures["reply_gap_s_median"] is None and figures["stop_s_p95"] is None


def test_quantiles_by_hand() -> None:
    said = [spoken(i, 4.0 * i + 1, 4.0 * i + 2) for i in range(4)]
    sound = track(20.0, *((4.0 * i + 2 + 0.1 * (i + 1), 4.0 * i + 3) for i in range(4)))
    figures = summary(outcomes([act("turn")] * 4, said, sound, []))
    assert figures["reply_gap_s_median"] == pytest.approx(0.25)
    assert figures["reply_gap_s_p95"] == pytest.approx(0.385, abs=1e-3)


@pytest.mark.parametrize(
    ("pieces", "repeated", "missing"),
    [
        ([], 0, 0),
        ([(1, 0, 10), (1, 10, 20)], 0, 0),
        ([(1, 0, 10), (1, 5, 20)], 5, 0),
        ([(1, 0, 10), (1, 12, 20)], 0, 2),
        ([(1, 3, 10)], 0, 3),
        ([(1, 0, 10), (2, 0, 5), (1, 10, 12), (2, 5, 9)], 0, 0),
        ([(1, 0, 10), (1, 0, 10)], 10, 0),
    ],
)
def test_continuity_by_hand(pieces: list[tuple[int, int, int]], repeated: int, missing: int) -> None:
    assert continuity(pieces) == (repeated, missing)


def test_words_repeated_and_missing_by_hand() -> None:
    words = {1: [(0, 10), (10, 20), (20, 30)]}
    assert word_continuity([(1, 0, 30)], words) == (0, 0)
    assert word_continuity([(1, 0, 15), (1, 10, 30)], words) == (0, 0)  # half a word twice is a seam, not a repetition
    assert word_continuity([(1, 0, 20), (1, 10, 30)], words) == (1, 0)
    assert word_continuity([(1, 0, 10), (1, 20, 30)], words) == (0, 1)
    assert word_continuity([(1, 0, 12)], words) == (0, 0)  # what was never reached is cut, not missing
    assert word_continuity([], words) == (0, 0)


def test_words_are_counted_for_the_turn_that_a_reply_began_after() -> None:
    roles = ("turn", "backchannel", "interruption", "turn")
    said = [spoken(i, 3.0 * i, 3.0 * i + 0.5) for i in range(4)]
    results = outcomes([act(role) for role in roles], said, track(12.0), [])
    words = {1: [(0, 10), (10, 20), (20, 30)], 2: [(0, 10), (10, 20), (20, 30)], 3: [(0, 10)]}
    pieces = [(1, 0, 20), (1, 10, 30), (2, 0, 10), (2, 20, 30)]
    counted = with_words(results, {1: 3.2, 2: 7.0}, pieces, words)
    assert [(o.repeated_words, o.missing_words) for o in counted] == [(1, 0), (None, None), (0, 1), (None, None)]
    assert word_continuity(pieces, words) == (1, 1)
    assert with_words(results, {1: 0.0, 2: 1.0}, pieces, words)[0].missing_words == 1  # both replies
    assert with_words(results[1:], {1: 3.2}, pieces, words) == results[1:]  # before anything was asked

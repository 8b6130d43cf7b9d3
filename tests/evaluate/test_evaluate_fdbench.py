"""FD-Bench's counts on small conversations; the expected counts are what its released analysis gives for them."""

from math import isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdbench import fdbench_counts, fdbench_figures
from fullduplex.evaluate.timing.spans import Recording, Side


def recording(user: list, system: list) -> Recording:
    return Recording(name="r", user=Side(spans=tuple(user)), system=Side(spans=tuple(system)), duration_s=100.0)


def test_two_questions_two_answers() -> None:
    counts = fdbench_counts(recording([(1, 2), (6, 7)], [(2.5, 4), (7.25, 9)]))
    figures = fdbench_figures([counts])
    assert figures["SRR"] == 1.0
    assert figures["EIR"] == 0.0
    assert figures["NIR"] == 0.0
    assert figures["FSED_s"] == pytest.approx(0.375)
    assert isnan(figures["SIR"])
    assert isnan(figures["SRIR"])


def test_an_interruption_that_stops_and_is_answered() -> None:
    """The user cuts in at 5 s, the system stops 0.4 s later and answers 0.5 s after the user's end."""
    figures = fdbench_figures([fdbench_counts(recording([(1, 2), (5, 6)], [(2.5, 5.4), (6.5, 8)]))])
    assert (figures["SIR"], figures["SRIR"]) == (1.0, 1.0)
    assert figures["IRD_s"] == pytest.approx(0.4)
    assert figures["SRR"] == 0.5  # the answer to the interruption is not also one to the turn


def test_an_interruption_that_is_ignored() -> None:
    counts = fdbench_counts(recording([(1, 2), (5, 6), (20, 21)], [(2.5, 9)]))
    assert (counts.num_interruptions, counts.num_stops) == (1, 0)


@pytest.mark.parametrize(("start", "early"), [(1.49, 1), (1.51, 0)])
def test_half_a_second_before_the_end_is_early(start: float, early: int) -> None:
    """The constant is 8000 samples at 16 kHz; the script's comment says one second."""
    counts = fdbench_counts(recording([(1, 2)], [(start, 3)]))
    assert counts.num_early == early
    assert counts.num_responses == 1 - early


@pytest.mark.parametrize(("end", "noise"), [(7.5, 1), (7.6, 0)])
def test_an_answer_to_noise_leaves_two_and_a_half_seconds(end: float, noise: int) -> None:
    counts = fdbench_counts(recording([(1, 2), (10, 11)], [(5, end)]))
    assert counts.num_noise == noise


def test_delays_are_medians() -> None:
    user = [(float(t), t + 1.0) for t in (0, 10, 20)]
    system = [(1.1, 2), (11.2, 12), (24.0, 25)]
    assert fdbench_figures([fdbench_counts(recording(user, system))])["FSED_s"] == pytest.approx(0.2)


def test_a_greeting_can_be_left_out() -> None:
    talk = recording([(3, 4)], [(0.5, 1.5), (4.5, 5)])
    assert fdbench_counts(talk, skip_first=True).num_responses == 1
    assert fdbench_counts(talk, skip_first=True).response_delays_s == [0.5]


def test_nobody_to_answer() -> None:
    with pytest.raises(InputError, match="no turn"):
        fdbench_counts(recording([], [(1, 2)]))
    figures = fdbench_figures([])
    assert isnan(figures["SRR"])


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 40_000), min_size=2, max_size=10), st.sets(st.integers(0, 40_000), max_size=10))
def test_counts_stay_within_what_they_are_shares_of(first: set, second: set) -> None:
    sides = [
        [(a / 1000, b / 1000) for a, b in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)]
        for edges in (first, second)
    ]
    counts = fdbench_counts(recording(*sides))
    assert counts.num_responses_to_interruptions <= counts.num_stops <= counts.num_turns
    assert len(counts.stop_delays_s) == counts.num_stops
    assert len(counts.early_leads_s) == counts.num_early
    assert all(lead >= 0.5 for lead in counts.early_leads_s)

"""Sounds over an answer (Full-Duplex-Bench v1.5): who stops, who goes on, and which items can tell."""

from math import isnan

import pytest

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.held import HeldOutcome, held_outcome, held_scores, stops_in_time
from fullduplex.evaluate.generate.overlaps import DELAY_S, OVERLAPS, overlap_stimuli
from fullduplex.evaluate.timing.spans import Recording, Side, Word

MARK = (10.0, 11.0)


def run(*spans: tuple[float, float], words: tuple[Word, ...] = ()) -> Recording:
    return Recording(name="r", user=Side(), system=Side(spans=spans, words=words), duration_s=40.0)


CLEAN = run((5.0, 20.0))


def test_stopping_going_on_and_coming_back() -> None:
    stopped = held_outcome("interruption", run((5.0, 10.4), (12.5, 15.0)), CLEAN, MARK)
    assert (stopped.counts, stopped.stop_s, stopped.resumed_s) == (True, pytest.approx(0.4), pytest.approx(1.5))
    held = held_outcome("backchannel", run((5.0, 19.0)), CLEAN, MARK)
    assert (held.counts, held.stop_s, held.resumed_s) == (True, None, None)
    breath = held_outcome("noise", run((5.0, 10.2), (10.6, 19.0)), CLEAN, MARK)
    assert breath.stop_s is None  # half a second is a breath
    mute = held_outcome("noise", run((5.0, 10.2)), CLEAN, MARK)
    assert (mute.stop_s, mute.resumed_s) == (pytest.approx(0.2), None)


@pytest.mark.parametrize(
    ("spans", "clean"),
    [
        (((5.0, 9.0),), CLEAN),  # it was not speaking at the onset
        (((5.0, 10.4),), run((5.0, 11.9))),  # it would have ended anyway
        (((5.0, 10.4),), run()),
    ],
)
def test_items_that_cannot_tell_do_not_count(spans: tuple, clean: Recording) -> None:
    assert not held_outcome("noise", run(*spans), clean, MARK).counts
    assert isnan(held_scores([held_outcome("noise", run(*spans), clean, MARK)])["noise"].stopped_rate)


def test_behaviour_is_read_beside_the_clean_run() -> None:
    answer = tuple(
        Word(w, 5.0 + i, 5.8 + i) for i, w in enumerate("bake the cake slowly with butter sugar flour eggs".split())
    )
    clean = run((5.0, 20.0), words=answer)
    for said, kind in (("trains leave early", "respond"), ("flour and eggs", "resume"), ("pardon", "uncertain")):
        after = tuple(Word(w, 12.0 + i, 12.5 + i) for i, w in enumerate(said.split()))
        found = held_outcome(
            "interruption",
            run((5.0, 10.4), (12.0, 15.0), words=answer[:5] + after),
            clean,
            MARK,
            text="What about trains?",
        )
        assert found.behaviour == kind


def test_scores_by_kind_and_stopping_in_time() -> None:
    def outcome(kind: str, stop_s: float | None) -> HeldOutcome:
        return HeldOutcome(kind=kind, counts=True, stop_s=stop_s)

    outcomes = [
        outcome("interruption", 0.4),
        outcome("interruption", 1.6),
        outcome("noise", 0.3),
        outcome("noise", None),
    ]
    outcomes.append(HeldOutcome(kind="noise", counts=False))
    scores = held_scores(outcomes)
    assert scores["interruption"].stopped_rate == 1.0
    assert scores["interruption"].stop_s == pytest.approx(1.0)
    assert (scores["noise"].num_items, scores["noise"].num_counting, scores["noise"].stopped_rate) == (3, 2, 0.5)
    assert scores["noise"].num_resumed == 0
    back = HeldOutcome(kind="backchannel", counts=True, stop_s=0.2, resumed_s=0.8)
    assert held_scores([back])["backchannel"].figures()["resumed_s"] == pytest.approx(0.8)
    stops = stops_in_time(outcomes)
    assert (stops.tp, stops.fn, stops.fp, stops.tn) == (1, 1, 1, 1)  # 1.6 s is too late for LSLM
    with pytest.raises(InputError, match="at least one"):
        held_scores([])


def test_five_stimuli_a_question_with_the_sound_where_it_is_marked() -> None:
    pytest.importorskip("soundfile")
    made = overlap_stimuli(4, seed=2)
    assert [one.kind for one in made] == list(OVERLAPS) * 4
    for clean, *sounds in (made[i : i + 5] for i in range(0, 20, 5)):
        assert len({one.question for one in (clean, *sounds)}) == 1
        question_end = clean.spans[-1][1]
        for one in sounds:
            assert one.mark[0] == pytest.approx(question_end + DELAY_S, abs=0.02)
            low, high = (round(edge * 16_000) for edge in one.mark)
            assert abs(one.user_N[low:high]).max() > 0.02
            assert not one.user_N[high + 800 :].any()
            assert clean.mark[1] >= one.mark[1] - 1e-6
            assert (one.spans[-1][0] >= one.mark[0]) == (one.kind != "noise")
        assert not clean.user_N[round((question_end + 0.1) * 16_000) :].any()
    with pytest.raises(InputError, match="count"):
        overlap_stimuli(0)

"""Full-Duplex-Bench v1 in both modes: the rules at their edges, the traps, and figures of the released scripts.

The figures under "released" were written down from runs of the benchmark's own scripts on these very items.
"""

import json
import math
from math import isnan, log, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.fdb.backchannel import backchannel_bins, backchannel_outcome, js_distance, js_divergence
from fullduplex.evaluate.fdb.folders import guess_task, item_folders, read_item
from fullduplex.evaluate.fdb.items import MODES, FdbItem
from fullduplex.evaluate.fdb.score import (
    FdbOutcome,
    fdb_outcome,
    fdb_score,
    fdb_scores,
    lexical_judge,
    parse_rating,
)
from fullduplex.evaluate.fdb.takeover import extent, takes_turn, words_from
from fullduplex.evaluate.timing.spans import Recording, Side, Word

EVEN = (0.25, 0.25, 0.25, 0.25)


def words(*times: tuple[float | None, float | None]) -> tuple[Word, ...]:
    return tuple(Word(f"w{i}", start, end) for i, (start, end) in enumerate(times))


def item(task: str, said: tuple[Word, ...] = (), *, name: str = "i", spans: tuple = (), **fields: object) -> FdbItem:
    recording = Recording(name=name, user=Side(), system=Side(spans=spans, words=said), duration_s=30.0)
    return FdbItem(task=task, recording=recording, **fields)


@pytest.mark.parametrize(
    ("said", "paper", "code"),
    [
        ((), False, False),
        (words((1, 1.5)), False, False),
        (words((1, 1.3), (1.4, 1.9)), True, False),  # two words: a turn as printed, nothing as released
        (words((1, 1.2), (1.3, 1.5), (1.6, 1.9)), True, False),
        (words((1, 1.1), (1.2, 1.3), (1.4, 1.5), (1.6, 1.9)), True, True),
        (words((1, 2.0)), True, True),  # one word of exactly a second
        (words((1, 1.999)), False, False),
        (words((1, 1.2), (2.5, 2.6)), True, True),  # short words far apart span more than a second
        (words((1, None)), False, False),  # an unknown end counts as its start
        (words((1, 1.2), (1.3, 1.4), (1.5, 1.6), (1.7, None)), True, True),
        (words((None, None)), False, False),
        (words((None, None), (None, None)), True, False),
    ],
)
def test_the_takeover_rule(said: tuple[Word, ...], paper: bool, code: bool) -> None:
    assert (takes_turn(said, "paper"), takes_turn(said, "code")) == (paper, code)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=8))
def test_what_the_code_counts_as_a_turn_the_paper_does_too(times: list) -> None:
    said = words(*sorted((min(pair), max(pair)) for pair in times))
    assert takes_turn(said, "paper") >= takes_turn(said, "code")


def test_extent_reads_unknown_times() -> None:
    assert extent(words((None, 1.0), (2.0, 3.0), (4.0, None))) == (2.0, 4.0)
    assert extent(words((None, None))) is None
    assert extent(()) is None


def test_an_answer_after_a_pause_is_no_takeover_of_the_pause() -> None:
    answer = words((6.0, 6.5), (6.5, 7.0), (7.0, 7.5))
    assert not fdb_outcome(item("pause_handling", answer, judged=(0.0, 5.0)), "paper").takeover
    assert fdb_outcome(item("pause_handling", answer), "paper").takeover


def test_latency_is_reported_unclipped_and_clipped() -> None:
    early = item("smooth_turn_taking", words((4.0, 6.0)), name="a", mark=(5.0, 5.2))
    late = item("smooth_turn_taking", words((6.5, 8.0)), name="b", mark=(5.0, 5.2))
    score = fdb_scores([early, late], "code")["smooth_turn_taking"]
    assert score.latency_s == pytest.approx((-1.0 + 1.5) / 2)
    assert score.latency_clipped_s == pytest.approx(0.75)
    assert score.num_latencies == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", ["pause_handling", "smooth_turn_taking", "user_interruption"])
def test_a_silent_system_is_a_result(task: str, mode: str) -> None:
    score = fdb_scores([item(task, mark=(1.0, 2.0))], mode, lexical_judge)[task]
    assert score.takeover_rate == 0
    assert score.num_latencies == score.num_rated == score.num_unrated == 0
    assert isnan(score.latency_s)
    assert isnan(score.rating)


def test_talking_through_an_interruption_looks_instant_in_the_code_and_not_in_the_paper() -> None:
    said = words((2.0, 3.0), (3.0, 6.0), (6.0, 7.0), (9.0, 10.5))
    through = item("user_interruption", said, spans=((2.0, 7.0), (9.0, 10.5)), mark=(4.0, 5.0))
    code, paper = fdb_outcome(through, "code"), fdb_outcome(through, "paper")
    assert (code.latency_s, paper.latency_s) == (0.0, 1.0)
    assert code.talked_through
    assert paper.talked_through
    assert code.was_speaking
    assert words_from(said, 5.0, "code")[0] == Word("w1", 5.0, 6.0)


def test_divergence_in_closed_form() -> None:
    assert js_divergence((1, 0), (0, 1)) == pytest.approx(1.0)  # one bit
    assert js_distance((1, 0), (0, 1)) == pytest.approx(0.8325546, abs=1e-7)  # sqrt(ln 2)
    assert js_distance(EVEN, EVEN) == js_divergence(EVEN, EVEN) == 0
    # (1/2, 1/2) against (1, 0): M = (3/4, 1/4); H(M) - H(P)/2 - H(Q)/2 = H(1/4) - 1/2.
    assert js_divergence((0.5, 0.5), (1, 0)) == pytest.approx(2 - 0.75 * math.log2(3) - 0.5)


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=9), st.data())
def test_divergence_is_bounded_symmetric_and_the_square_of_the_distance(first: list, data: st.DataObject) -> None:
    second = data.draw(st.lists(st.floats(0.01, 1), min_size=len(first), max_size=len(first)))
    bits = js_divergence(first, second)
    assert 0 <= bits <= 1 + 1e-12
    assert bits == pytest.approx(js_divergence(second, first), abs=1e-12)
    assert js_distance(first, second) == pytest.approx(sqrt(bits * log(2)), abs=1e-9)


def test_a_silent_system_and_back_channels() -> None:
    """The code gives 1, which a distance cannot reach; the paper compares with a uniform distribution."""
    quiet = item("backchannel", truth=(1.0, 1.0))
    code, paper = backchannel_outcome(quiet, "code"), backchannel_outcome(quiet, "paper")
    assert code.divergence == 1.0 > sqrt(log(2))
    assert paper.divergence == pytest.approx(0.0, abs=1e-12)
    assert code.frequency_hz == paper.frequency_hz == 0


def test_the_last_segment_overwrites_the_verdict_in_the_code_only() -> None:
    """Five words in 2 s, then a nod: the released script forgets the first."""
    said = words((1.0, 1.4), (1.4, 1.8), (1.8, 2.2), (2.2, 2.6), (2.6, 3.0), (10.0, 10.4))
    both = item("backchannel", said, spans=((1.0, 3.0), (10.0, 10.5)), truth=EVEN)
    assert not backchannel_outcome(both, "code").takeover
    assert backchannel_outcome(both, "paper").takeover


def test_a_long_segment_ends_the_search_in_the_code() -> None:
    long = item("backchannel", spans=((1.0, 1.5), (2.0, 6.0), (8.0, 8.5)), truth=EVEN)
    found = backchannel_outcome(long, "code")
    assert (found.takeover, found.num_backchannels) == (True, 1)
    assert found.frequency_hz == pytest.approx(1 / 30)
    paper = backchannel_outcome(long, "paper")
    assert (paper.takeover, paper.frequency_hz, paper.divergence) == (True, None, None)


def test_only_items_without_a_takeover_enter_the_papers_means() -> None:
    nod = item("backchannel", words((1.0, 1.4)), name="a", spans=((1.0, 1.5),), truth=EVEN)
    talk = item("backchannel", spans=((1.0, 9.0),), name="b", truth=EVEN)
    paper = fdb_scores([nod, talk], "paper")["backchannel"]
    assert (paper.takeover_rate, paper.num_divergences) == (0.5, 1)
    assert paper.frequency_hz == pytest.approx(1 / 30)
    none = fdb_scores([talk], "paper")["backchannel"]
    assert isnan(none.frequency_hz)
    assert none.num_divergences == 0
    assert fdb_scores([nod, talk], "code")["backchannel"].num_divergences == 2


def test_bins_count_every_bin_a_back_channel_touches() -> None:
    bins = backchannel_bins([(0.1, 0.5), (0.9, 0.95)], 1.0)
    assert bins.tolist() == [1, 1, 1, 0, 1, 0]


# One folder: three items; what the released scripts printed for it.
RELEASED = {
    "pause": 2 / 3,
    "turn": (2 / 3, 0.25),
    "backchannel": (1 / 3, 0.05, 0.8582),
}


def released_folder(root: Path) -> None:
    said = [
        [("a", 5.5, 6.0), ("b", 6.0, 6.4), ("c", 6.5, 7.0)],
        [("a", 3.0, 3.2), ("b", 3.2, 3.4), ("c", 3.5, 3.6), ("d", 3.7, 3.9)],
        [("mm", 1.0, 1.3), ("hm", 1.3, 1.6), ("yes", 1.7, 1.9)],
    ]
    segments = [[[5.5, 7.0]], [[3.0, 3.9], [8.0, 8.4]], []]
    for number, chunks in enumerate(said):
        folder = root / str(number)
        folder.mkdir(parents=True)
        plain = [{"text": text, "timestamp": [start, end]} for text, start, end in chunks]
        (folder / "output.json").write_text(json.dumps({"text": "", "chunks": plain}))
        (folder / "turn_taking.json").write_text(json.dumps([{"text": "[TURN-TAKING]", "timestamp": [5.0, 5.4]}]))
        (folder / "segments.json").write_text(json.dumps({"spans": segments[number], "duration_s": 20.0}))
    truth = {str(n): [1.0 if i % 10 == n else 0.0 for i in range(101)] for n in range(3)}
    (root / "icc_gt_distribution.json").write_text(json.dumps(truth))


def test_equal_to_the_released_scripts(tmp_path: Path) -> None:
    released_folder(tmp_path)

    def score(task: str) -> object:
        return fdb_scores([read_item(folder, task) for folder in item_folders(tmp_path)], "code")[task]

    assert score("pause_handling").takeover_rate == pytest.approx(RELEASED["pause"])
    turn = score("smooth_turn_taking")
    assert (turn.takeover_rate, turn.latency_clipped_s) == pytest.approx(RELEASED["turn"])
    assert turn.latency_s == pytest.approx((0.5 - 2.0) / 2)
    nods = score("backchannel")
    assert (nods.takeover_rate, nods.frequency_hz, nods.divergence) == pytest.approx(RELEASED["backchannel"], abs=5e-5)


def test_folders_in_the_benchmarks_own_layout(tmp_path: Path) -> None:
    released_folder(tmp_path)
    assert [folder.name for folder in item_folders(tmp_path)] == ["0", "1", "2"]
    assert guess_task(tmp_path / "0") == "smooth_turn_taking"
    said = {"context": "Books?", "interrupt": "Fiction instead.", "timestamp": [3.0, 4.0]}
    (tmp_path / "1" / "turn_taking.json").unlink()
    (tmp_path / "1" / "interrupt.json").write_text(json.dumps([said]))
    found = read_item(tmp_path / "1", guess_task(tmp_path / "1"))
    assert (found.context, found.interruption, found.mark) == ("Books?", "Fiction instead.", (3.0, 4.0))


def test_segments_are_heard_where_they_are_not_written(tmp_path: Path) -> None:
    """The benchmark's own back-channel folders hold words and sound, and no segments."""
    released_folder(tmp_path)
    (tmp_path / "0" / "segments.json").unlink()
    with pytest.raises(FormatError, match="segments"):
        read_item(tmp_path / "0", "backchannel")
    heard = Recording(name="0", user=Side(), system=Side(spans=((5.5, 7.0),)), duration_s=20.0)
    found = read_item(tmp_path / "0", "backchannel", lambda folder: heard)
    assert found.recording.system.spans == ((5.5, 7.0),)
    assert len(found.recording.system.words) == 3
    (tmp_path / "0" / "segments.json").write_text('{"spans": [[1]], "duration_s": 3}')
    with pytest.raises(FormatError, match="segments"):
        read_item(tmp_path / "0", "backchannel")


def test_nothing_is_taken_over_from_the_item_before(tmp_path: Path) -> None:
    """The released script keeps the last item's verdict where a transcript is missing."""
    released_folder(tmp_path)
    (tmp_path / "1" / "output.json").unlink()
    with pytest.raises(FormatError, match=r"neither output\.json"):
        read_item(tmp_path / "1", "backchannel")


def test_empty_places_and_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no item folders"):
        item_folders(tmp_path)
    with pytest.raises(FormatError, match="no folder"):
        item_folders(tmp_path / "none")
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(FormatError, match="no annotation"):
        guess_task(folder)
    for text in ("{}", '{"chunks": [{"text": "a"}]}', '{"chunks": [{"text": "a", "timestamp": [1]}]}', "[", "3"):
        (folder / "output.json").write_text(text)
        with pytest.raises(FormatError):
            read_item(folder, "pause_handling")
    (folder / "output.json").write_text('{"chunks": []}')
    for text in ("[]", "{}", '[{"timestamp": 3}]'):
        (folder / "turn_taking.json").write_text(text)
        with pytest.raises(FormatError, match="turn_taking"):
            read_item(folder, "smooth_turn_taking")
    (folder / "truth.json").write_text("[]")
    (folder / "segments.json").write_text('{"spans": [], "duration_s": 3}')
    with pytest.raises(FormatError, match="distribution"):
        read_item(folder, "backchannel")


def test_items_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(InputError, match="mark"):
        item("smooth_turn_taking")
    with pytest.raises(InputError, match="truth"):
        item("backchannel")
    with pytest.raises(InputError, match="truth"):
        item("backchannel", truth=(0.0, 0.0))
    with pytest.raises(InputError, match="task"):
        item("singing")
    with pytest.raises(InputError, match="at least one"):
        fdb_scores([], "paper")
    with pytest.raises(InputError, match="twice"):
        fdb_scores([item("pause_handling"), item("pause_handling")], "paper")
    with pytest.raises(InputError, match="one task"):
        fdb_score([], "paper")
    with pytest.raises(InputError, match="2 tasks"):
        mixed = [FdbOutcome(name="a", task=task, takeover=False) for task in ("pause_handling", "backchannel")]
        fdb_score(mixed, "paper")
    with pytest.raises(InputError, match="bins"):
        js_divergence((1.0,), (1.0, 2.0))
    with pytest.raises(InputError, match="distribution"):
        js_divergence((0.0,), (1.0,))


def test_an_unreadable_judge_is_counted_not_asked_forever() -> None:
    asked: list[str] = []

    def mumbling(context: str, interruption: str, answer: str) -> float | None:
        asked.append(answer)
        return parse_rating("Hard to say.")

    said = words((6.0, 6.5), (6.5, 7.5))
    score = fdb_scores([item("user_interruption", said, mark=(4, 5))], "paper", mumbling)["user_interruption"]
    assert asked == ["w0 w1"]
    assert (score.num_rated, score.num_unrated) == (0, 1)
    assert isnan(score.rating)


def test_ratings_are_read_from_the_benchmarks_sentence() -> None:
    assert parse_rating("Analysis: fits.\nI would rate the AI's response as 4.") == 4
    assert parse_rating("I would rate the AI's response as [3]") == 3
    assert parse_rating("I would rate the AI's response as 9") is None
    assert parse_rating("4") is None


def test_the_lexical_judge_tells_the_new_question_from_the_old() -> None:
    old, new = "Tell me about dogs.", "Actually, tell me about cats instead."
    assert lexical_judge(old, new, "Cats are small hunters; actually, a cat sleeps a lot instead.") == 5
    assert lexical_judge(old, new, "Dogs are loyal.") == 0
    assert lexical_judge(old, "Why?", "Because.") is None

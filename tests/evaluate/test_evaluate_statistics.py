"""Conversation statistics against a frame-by-frame count, hand-drawn conversations and a generator's plan."""

from math import isnan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.timing.figures import draw_gaps, draw_radar, draw_spans
from fullduplex.evaluate.timing.files import read_recording, read_rttm, recording_to_plain, write_recording
from fullduplex.evaluate.timing.spans import Recording, Side, Word, clipped, gaps_between, merged, shared, total_s
from fullduplex.evaluate.timing.statistics import conversation_statistics, pooled

GRID_S = 0.01


def recording(user: list, system: list, duration_s: float = 60.0) -> Recording:
    return Recording(name="r", user=Side(spans=tuple(user)), system=Side(spans=tuple(system)), duration_s=duration_s)


@st.composite
def sides(draw: st.DrawFn) -> list:
    """Spans on a grid of 10 ms, so that frames can count them exactly."""
    edges = sorted(draw(st.sets(st.integers(0, 3000), max_size=16)))
    return [(a * GRID_S, b * GRID_S) for a, b in zip(edges[::2], edges[1::2], strict=False)]


def frames(spans: list, size: int = 3100) -> np.ndarray:
    track = np.zeros(size, bool)
    for start, end in spans:
        track[round(start / GRID_S) : round(end / GRID_S)] = True
    return track


def runs(track: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], track, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(sides(), sides())
def test_times_equal_a_count_of_frames(user: list, system: list) -> None:
    """The slow twin: every 10 ms is looked at. No IPU closing (0 s), where both have the same meaning."""
    found = conversation_statistics(recording(user, system), ipu_silence_s=0.0)
    ours, theirs = frames(user), frames(system)
    assert found.user_speech_s == pytest.approx(ours.sum() * GRID_S, abs=1e-6)
    assert found.system_speech_s == pytest.approx(theirs.sum() * GRID_S, abs=1e-6)
    both = sum(found.overlaps_between_s) + sum(found.overlaps_within_s)
    assert both == pytest.approx((ours & theirs).sum() * GRID_S, abs=1e-6)
    pauses, gaps = [], []
    silent = [run for run in runs(~(ours | theirs)) if run[0] > 0 and run[1] < ours.size]
    for low, high in silent:
        same = (ours[low - 1] and ours[high]) or (theirs[low - 1] and theirs[high])
        (pauses if same else gaps).append((high - low) * GRID_S)
    assert found.pauses_s == pytest.approx(pauses, abs=1e-6)
    assert found.gaps_s == pytest.approx(gaps, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(sides(), sides())
def test_the_two_sides_can_be_exchanged(user: list, system: list) -> None:
    one, other = conversation_statistics(recording(user, system)), conversation_statistics(recording(system, user))
    assert (one.pauses_s, one.gaps_s) == (other.pauses_s, other.gaps_s)
    assert one.user_ipus_s == other.system_ipus_s
    assert sorted(one.offsets_s) == pytest.approx(sorted(other.offsets_s)) or _simultaneous(user, system)


def _simultaneous(user: list, system: list) -> bool:
    """Two IPUs that begin or end together: who holds the floor is then a convention."""
    ours, theirs = merged(user, 0.2), merged(system, 0.2)
    return bool({s for s, _ in ours} & {s for s, _ in theirs} or {e for _, e in ours} & {e for _, e in theirs})


def test_a_conversation_drawn_by_hand() -> None:
    """
    user    [1 ---- 3] . [3.5 - 5]            [7 - 9]   [9.15 - 10]
    system                     [4.6 - 6.5] [6.6][7.5 8]              [10.4 - 11]
    """
    found = conversation_statistics(
        recording([(1, 3), (3.5, 5), (7, 9), (9.15, 10)], [(4.6, 6.5), (6.6, 6.8), (7.5, 8), (10.4, 11)])
    )
    assert found.user_ipus_s == pytest.approx((2, 1.5, 3))  # the hole of 0.15 s is inside an IPU
    assert found.system_ipus_s == pytest.approx((2.2, 0.5, 0.6))
    assert found.pauses_s == pytest.approx((0.5,))
    assert found.gaps_s == pytest.approx((0.2, 0.4))
    assert found.overlaps_between_s == pytest.approx((0.4,))
    assert found.overlaps_within_s == pytest.approx((0.5,))  # the back-channel transfers nothing
    assert found.offsets_to_system_s == pytest.approx((-0.4, 0.4))
    assert found.offsets_to_user_s == pytest.approx((0.2,))
    figures = found.figures()
    assert figures["pause_per_min"] == pytest.approx(1.0)
    assert figures["offset_to_system_s_median"] == pytest.approx(0.0)


def test_silence_is_nan_with_a_count_not_an_error() -> None:
    figures = conversation_statistics(recording([], [])).figures()
    assert figures["gap_count"] == 0
    assert isnan(figures["gap_s_median"])
    assert figures["user_speech_share"] == 0


def test_pooling_adds_up_and_refuses_nothing() -> None:
    one = conversation_statistics(recording([(1, 2)], [(2.5, 3)]))
    both = pooled([one, one])
    assert both.duration_s == 120
    assert both.gaps_s == pytest.approx((0.5, 0.5))
    with pytest.raises(InputError, match="at least one"):
        pooled([])


@pytest.mark.parametrize(
    ("spans", "match"),
    [
        ([(2, 1)], "start < end"),
        ([(1, 1)], "start < end"),
        ([(3, 4), (1, 2)], "sort"),
        ([(1, 3), (2, 4)], "sort"),
        ([(float("nan"), 2)], "finite"),
        ([(1, float("inf"))], "finite"),
    ],
)
def test_spans_that_are_none_are_refused(spans: list, match: str) -> None:
    with pytest.raises(InputError, match=match):
        Side(spans=tuple(spans))


def test_times_outside_the_recording_are_refused() -> None:
    for side in (Side(spans=((50, 61),)), Side(words=(Word("late", 70.0, None),)), Side(words=(Word("x", -1.0, 0.0),))):
        with pytest.raises(InputError, match="inside"):
            Recording(name="r", user=side, system=Side(), duration_s=60)
    with pytest.raises(InputError, match="duration_s"):
        recording([], [], float("nan"))
    with pytest.raises(InputError, match="ipu_silence_s"):
        conversation_statistics(recording([], []), ipu_silence_s=-1)


def test_spans_as_sets() -> None:
    assert merged([(3, 4), (0, 1), (1.2, 2)], 0.2) == ((0, 2), (3, 4))
    assert shared([(0, 2), (3, 5)], [(1, 4)]) == ((1, 2), (3, 4))
    assert clipped([(0, 2), (3, 5)], 1, 3) == ((1, 2),)
    assert gaps_between([(0, 1), (1, 2), (3, 4)]) == ((2, 3),)
    assert total_s([(0, 1), (2, 2.5)]) == 1.5


def test_recordings_survive_the_disk(tmp_path: Path) -> None:
    words = (Word("hi", 1.0, None), Word("you", None, None))
    first = Recording(
        name="a", user=Side(spans=((1.0, 2.0),), words=words), system=Side(spans=((2.5, 3.0),)), duration_s=4.0
    )
    write_recording(tmp_path / "sub" / "a.json", first)
    assert read_recording(tmp_path / "sub" / "a.json") == first
    assert recording_to_plain(first)["user"]["words"][0] == ["hi", 1.0, None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"duration_s": 1, "user": {}, "system": {}, "extra": 1}',
        '{"duration_s": 1, "user": {"spans": [[1]]}, "system": {}}',
        '{"duration_s": 1, "user": {"words": [["a"]]}, "system": {}}',
        '{"duration_s": null, "user": {}, "system": {}}',
        '{"duration_s": 1, "user": [], "system": {}}',
    ],
)
def test_files_that_are_no_recording_say_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        read_recording(tmp_path / "x.json")
    with pytest.raises(FormatError, match="cannot be read"):
        read_recording(tmp_path / "nothing.json")


def test_words_stand_in_for_spans(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        '{"duration_s": 5, "user": {}, "system": {"words": [["a", 1, 2], ["b", 2, 2.5], ["c", 3, null]]}}'
    )
    assert read_recording(tmp_path / "x.json").system.spans == ((1, 2.5),)


def test_rttm_of_two_speakers(tmp_path: Path) -> None:
    lines = [
        "SPEAKER f 1 2.0 1.5 <NA> <NA> bob <NA> <NA>",
        ";; a comment",
        "SPEAKER f 1 0.5 1.0 <NA> <NA> amy <NA> <NA>",
    ]
    (tmp_path / "f.rttm").write_text("\n".join(lines))
    found = read_rttm(tmp_path / "f.rttm", duration_s=10)
    assert (found.user.spans, found.system.spans) == (((0.5, 1.5),), ((2.0, 3.5),))
    assert read_rttm(tmp_path / "f.rttm", duration_s=10, user="bob").user.spans == ((2.0, 3.5),)
    for bad in ("SPEAKER f 1 x y", lines[0], lines[0].replace("1.5", "-1") + "\n" + lines[2]):
        (tmp_path / "bad.rttm").write_text(bad)
        with pytest.raises(FormatError):
            read_rttm(tmp_path / "bad.rttm", duration_s=10)


def test_pictures_are_drawn_also_of_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    talk = recording([(1, 2)], [(2.2, 3), (40, 45)], 50)
    empty = recording([], [], 1)
    draw_spans(tmp_path / "a.png", talk)
    draw_spans(tmp_path / "b.png", empty, title="nothing")
    draw_gaps(tmp_path / "c.png", conversation_statistics(talk), people=(0.1, -0.2))
    draw_gaps(tmp_path / "d.png", conversation_statistics(empty))
    draw_radar(tmp_path / "e.png", {"x": {"a": 0.0, "b": 1.0, "c": float("nan")}})
    for name in "abcde":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for bad in ({}, {"x": {"a": 1.0, "b": 1.0}}, {"x": {"a": 1, "b": 1, "c": 2}}):
        with pytest.raises(InputError, match="radar"):
            draw_radar(tmp_path / "f.png", bad)
    with pytest.raises(InputError, match="same"):
        draw_radar(tmp_path / "f.png", {"x": {"a": 1, "b": 1, "c": 1}, "y": {"a": 1, "b": 1, "d": 1}})

"""How fast the scorers are on timestamps, and the same counting done by looking at every frame of 10 ms.

Prints one JSON line. An hour of two-party talk in dialogues of 24 turns, planned by seed. Every scorer is run over it; the
figure is seconds of conversation a second of scoring. The peer counts speech, overlap, pauses and gaps on boolean arrays
(NumPy, 100 frames a second), which is how voice activity is often scored; both find the same times, which is checked.

    python benchmarks/yardstick.py
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.record import Record
from fullduplex.evaluate.fdb.items import MODES, FdbItem
from fullduplex.evaluate.fdb.overlap import overlap_timing
from fullduplex.evaluate.fdb.score import fdb_scores
from fullduplex.evaluate.fdbench import fdbench_counts, fdbench_figures
from fullduplex.evaluate.generate.labels import annotations_of, perfect_times
from fullduplex.evaluate.generate.plan import DialogueConfig, Line, Plan, plan_dialogue, recording_of
from fullduplex.evaluate.timing.spans import Recording, Side, Word
from fullduplex.evaluate.timing.statistics import conversation_statistics
from fullduplex.evaluate.turnbench.floor import gold_of
from fullduplex.evaluate.turnbench.score import score_conversation

HOUR_S, GRID_S = 3600.0, 0.01


def lines() -> list[Line]:
    """What both sides can say."""
    made = [Line(name=f"t{i}", kind="turn", length_s=1.5 + 0.4 * i, text="turn") for i in range(8)]
    made += [Line(name=f"h{i}", kind="half", length_s=1.2, text="half") for i in range(2)]
    made += [Line(name="b", kind="backchannel", length_s=0.4, text="mm-hm")]
    return [*made, Line(name="i", kind="interruption", length_s=1.6, text="wait")]


def an_hour() -> list[Plan]:
    """Plans that last an hour together."""
    voices, plans, total_s = (lines(), lines()), [], 0.0
    while total_s < HOUR_S:
        plans.append(plan_dialogue(voices, DialogueConfig(num_turns=24), seed=len(plans)))
        total_s += plans[-1].duration_s
    return plans


def with_words(recording: Recording) -> Recording:
    """Three words a second on the system's side."""
    words = [
        Word("w", float(at), float(at) + 0.3)
        for start, end in recording.system.spans
        for at in np.arange(start, end - 0.3, 0.33)
    ]
    system = Side(spans=recording.system.spans, words=tuple(words))
    return Recording(name=recording.name, user=recording.user, system=system, duration_s=recording.duration_s)


def by_frames(recording: Recording) -> tuple[float, float, float]:
    """(overlap, pauses, gaps) in seconds, frame by frame."""
    size = int(recording.duration_s / GRID_S) + 2
    ours, theirs = (frames(side, size) for side in (recording.user, recording.system))
    silent = ~(ours | theirs)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    pauses = gaps = 0
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        if low > 0 and high < size:
            same = (ours[low - 1] and ours[high]) or (theirs[low - 1] and theirs[high])
            pauses += (high - low) * same
            gaps += (high - low) * (not same)
    return float((ours & theirs).sum()) * GRID_S, float(pauses) * GRID_S, float(gaps) * GRID_S


def frames(side: Side, size: int) -> NDArray[np.bool_]:
    """Is this side speaking in each frame?"""
    track = np.zeros(size, np.bool_)
    for start, end in side.spans:
        track[round(start / GRID_S) : round(end / GRID_S)] = True
    return track


def main() -> None:
    """Measure and print the record."""
    plans = an_hour()
    recordings = [with_words(recording_of(plan, str(number))) for number, plan in enumerate(plans)]
    items = [
        FdbItem(task=task, recording=recording, mark=(1.0, 2.0), truth=(1.0, 2.0, 1.0))
        for recording in recordings
        for task in ("pause_handling", "smooth_turn_taking", "user_interruption", "backchannel")
    ]
    golds = [gold_of(annotations_of(plan)) for plan in plans]
    total_s = sum(plan.duration_s for plan in plans)
    jobs = {
        "statistics": lambda: [conversation_statistics(recording, ipu_silence_s=0.0) for recording in recordings],
        "overlap_timing": lambda: [overlap_timing(recording) for recording in recordings],
        "fdbench": lambda: fdbench_figures([fdbench_counts(recording) for recording in recordings]),
        "fdb_both_modes": lambda: [fdb_scores(items, mode) for mode in MODES],
        "turnbench_score": lambda: [score_conversation(gold, *perfect_times(gold)) for gold in golds],
        "turnbench_gold": lambda: [gold_of(annotations_of(plan)) for plan in plans],
        "frames_peer": lambda: [by_frames(recording) for recording in recordings],
    }
    figures: dict[str, float] = {"hours": round(total_s / 3600, 3)}
    began = time.perf_counter()
    seconds = {name: min(timed(job) for _ in range(3)) for name, job in jobs.items()}
    for name, spent in seconds.items():
        figures[f"{name}_times_real_time"] = round(total_s / spent)
    figures["statistics_over_frames_peer"] = round(seconds["frames_peer"] / seconds["statistics"], 2)
    found = [conversation_statistics(recording, ipu_silence_s=0.0) for recording in recordings]
    counted = np.array([by_frames(recording) for recording in recordings]).sum(axis=0)
    measured = np.array(
        [
            sum(sum(one.overlaps_between_s) + sum(one.overlaps_within_s) for one in found),
            sum(sum(one.pauses_s) for one in found),
            sum(sum(one.gaps_s) for one in found),
        ]
    )
    figures["largest_difference_to_frames_s_per_hour"] = round(float(np.abs(measured - counted).max()), 3)
    print(
        Record(name="yardstick", seed=0, data_hash="", figures=figures, seconds_s=time.perf_counter() - began).to_json()
    )


def timed(job: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""Scores as plain values, table rows and pictures: what the command prints and writes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fullduplex.evaluate.fdb.held import HeldOutcome, held_scores, stops_in_time
from fullduplex.evaluate.fdb.items import MODES, FdbItem, Mode, Task
from fullduplex.evaluate.fdb.overlap import BEHAVIOURS, SYSTEM_GAP_S, classify_behaviour, overlap_timing
from fullduplex.evaluate.fdb.score import FdbScore, Judge, fdb_scores
from fullduplex.evaluate.fdb.takeover import words_from, words_within
from fullduplex.evaluate.fdbench import fdbench_counts, fdbench_figures
from fullduplex.evaluate.timing.figures import draw_gaps, draw_radar, draw_spans
from fullduplex.evaluate.timing.spans import Recording, merged
from fullduplex.evaluate.timing.statistics import conversation_statistics, pooled

__all__ = [
    "draw_fdb",
    "draw_statistics",
    "fdb_report",
    "held_report",
    "overlap_report",
    "plain",
    "radar_axes",
    "statistics_report",
]

_LATENCY_SCALE_S = 3.0


def plain(value: Any) -> Any:
    """Ready for JSON: NaN becomes null, floats are cut to six places."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def fdb_report(
    items: Sequence[FdbItem], judge: Judge | None = None, modes: Sequence[Mode] = MODES
) -> dict[Mode, dict[Task, FdbScore]]:
    """Every task in every mode."""
    return {mode: fdb_scores(items, mode, judge) for mode in modes}


def radar_axes(scores: Mapping[Task, FdbScore]) -> dict[str, float]:
    """One system's tasks as shares where 1 is best; NaN where a task is missing.

    Latency axes are exp(-latency / 3 s): a scale of ours, for the picture only.
    """

    def rate(task: Task, *, good: bool) -> float:
        if task not in scores:
            return math.nan
        return scores[task].takeover_rate if good else 1 - scores[task].takeover_rate

    def fast(task: Task) -> float:
        found = scores[task].latency_clipped_s if task in scores else math.nan
        return math.exp(-found / _LATENCY_SCALE_S) if math.isfinite(found) else math.nan

    return {
        "keeps quiet\nin pauses": rate("pause_handling", good=False),
        "keeps quiet\nwhile listening": rate("backchannel", good=False),
        "takes its turn": rate("smooth_turn_taking", good=True),
        "answers soon": fast("smooth_turn_taking"),
        "yields and answers": rate("user_interruption", good=True),
        "answers soon\nafter yielding": fast("user_interruption"),
    }


def draw_fdb(file: Path, systems: Mapping[str, Mapping[Task, FdbScore]], *, title: str) -> None:
    """One radar of several systems."""
    draw_radar(file, {name: radar_axes(scores) for name, scores in systems.items()}, title=title)


def statistics_report(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Conversation statistics, v1.5 timing and FD-Bench over all recordings; FD-Bench where the user speaks."""
    statistics = pooled([conversation_statistics(recording) for recording in recordings])
    timings = [overlap_timing(recording) for recording in recordings]
    stops = [value for timing in timings for value in timing.stop_latencies_s]
    responses = [value for timing in timings for value in timing.response_latencies_s]
    counts = [fdbench_counts(recording) for recording in recordings if recording.user.spans]
    return {
        "num_recordings": len(recordings),
        "statistics": statistics.figures(),
        "overlap": {
            "num_stops": len(stops),
            "stop_latency_s_mean": _mean(stops),
            "num_responses": len(responses),
            "response_latency_s_mean": _mean(responses),
        },
        "fdbench": fdbench_figures(counts),
    }


def overlap_report(items: Sequence[FdbItem]) -> dict[str, float]:
    """v1.5 over the interruptions: how long the system talked on, how soon it answered, and what it did, by its words.

    `stop_s`: from the interruption's onset to the end of the speech it came into, where there was any.
    """
    cut = [item for item in items if item.task == "user_interruption" and item.mark is not None]
    kinds = dict.fromkeys(BEHAVIOURS, 0)
    stops: list[float] = []
    responses: list[float] = []
    for item in cut:
        assert item.mark is not None
        onset_s, end_s = item.mark
        stops += [
            end - onset_s for start, end in merged(item.recording.system.spans, SYSTEM_GAP_S) if start < onset_s < end
        ]
        responses += [high - low for low, high in overlap_timing(item.recording).responses if low >= end_s - 0.5]
        words = item.recording.system.words
        before = " ".join(word.text for word in words_within(words, (0.0, onset_s)))
        kinds[classify_behaviour(words_from(words, end_s, "paper"), item.interruption, before, item.context)] += 1
    return {
        "num_items": len(cut),
        "num_stops": len(stops),
        "stop_s_mean": _mean(stops),
        "num_responses": len(responses),
        "response_s_mean": _mean(responses),
        **{f"num_{kind}": count for kind, count in kinds.items()},
    }


def held_report(outcomes: Sequence[HeldOutcome]) -> dict[str, dict[str, Any]]:
    """v1.5 by kind of sound, and LSLM's precision, recall and F1 over all of them."""
    stops = stops_in_time(outcomes)
    return {
        "v1.5": {kind: score.figures() for kind, score in held_scores(outcomes).items()},
        "lslm": {"precision": stops.precision, "recall": stops.recall, "f1": stops.f1},
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def draw_statistics(folder: Path, recordings: Sequence[Recording]) -> list[Path]:
    """Write gaps.png over all, and a timeline of each of the first eight."""
    files = [folder / "gaps.png"]
    draw_gaps(files[0], pooled([conversation_statistics(recording) for recording in recordings]))
    for recording in recordings[:8]:
        files.append(folder / f"timeline-{recording.name}.png")
        draw_spans(files[-1], recording)
    return files

"""What happened in a simulated conversation: gaps, stops, cut-ins, false stops, repeated and missing words.

Everything is measured on the sound: the caller's acts and the machine's track as the loudspeaker played it (16 kHz).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.caller import Act, Spoken

__all__ = ["ActOutcome", "Spans", "audible_spans", "continuity", "outcomes", "summary", "with_words", "word_continuity"]

Pcm = NDArray[np.float32]
Spans = list[tuple[int, int]]

_HOP = EAR_RATE_HZ // 100
_FLOOR = 10 ** (-50 / 20)


def audible_spans(track: Pcm, *, bridge_s: float = 0.0) -> Spans:
    """[start, end) samples where the track is above -50 dBFS in 10 ms hops; gaps up to `bridge_s` are closed."""
    count = track.size // _HOP
    if not count:
        return []
    level = np.sqrt(np.mean(np.square(track[: count * _HOP].reshape(count, _HOP), dtype=np.float64), axis=1))
    loud = np.concatenate([[False], level > _FLOOR, [False]])
    edges = np.flatnonzero(loud[1:] != loud[:-1])
    spans: Spans = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if spans and (start * _HOP - spans[-1][1]) <= bridge_s * EAR_RATE_HZ:
            spans[-1] = (spans[-1][0], int(end) * _HOP)
        else:
            spans.append((int(start) * _HOP, int(end) * _HOP))
    return spans


@dataclass(frozen=True, slots=True, kw_only=True)
class ActOutcome:
    """What one act led to. Times in seconds; None where the question does not arise or nothing came.

    `reply_gap_s`: end of the caller's speech to the machine's next sound (negative: the machine cut in).
    `stop_s`: caller's onset to the machine's silence, where the machine was speaking.
    `kept_floor`: the machine went on with what it was saying (for sounds that were not meant to stop it); `hole_s`: its
    longest silence from the sound's onset to a second and a half after its end, as the price of listening. `pause_s`: the
    longest silence inside the answer, before anybody else speaks. `repeated_words` and `missing_words`: of the replies that
    began after this turn and before the next one.
    """

    act: int
    role: str
    text: str
    start_s: float
    end_s: float
    reply_gap_s: float | None = None
    cut_in: bool = False
    stop_s: float | None = None
    kept_floor: bool | None = None
    hole_s: float | None = None
    pause_s: float | None = None
    repeated_words: int | None = None
    missing_words: int | None = None


def _stop_s(spans: Spans, start: int, *, quiet_s: float = 0.4) -> float:
    """From `start` until the machine has fallen silent for at least `quiet_s` (longer than its pauses between sentences);
    0 if it was in a pause and stayed so."""
    quiet = int(quiet_s * EAR_RATE_HZ)
    silent_from = start
    for low, high in spans:
        if high <= start:
            continue
        if low - silent_from >= quiet:
            break
        silent_from = high
    return (silent_from - start) / EAR_RATE_HZ


def outcomes(
    acts: Sequence[Act], said: Sequence[Spoken], track: Pcm, replies: Sequence[tuple[int, int, bool]]
) -> list[ActOutcome]:
    """One outcome an act.

    Args:
        acts: the script.
        said: when each act was said.
        track: what the loudspeaker played.
        replies: (first sample, last sample, complete) of every reply that was audible, in the caller's samples.
    """
    spans = audible_spans(track)
    results: list[ActOutcome] = []
    for i, spoken in enumerate(said):
        act = acts[spoken.act]
        horizon = said[i + 1].start if i + 1 < len(said) else track.size
        common = {
            "act": spoken.act,
            "role": act.role,
            "text": act.text,
            "start_s": spoken.start / EAR_RATE_HZ,
            "end_s": spoken.end / EAR_RATE_HZ,
        }
        stop_s = _stop_s(spans, spoken.start) if spoken.machine_spoke else None
        if act.role in ("turn", "interruption"):
            gap_s, cut_in = _gap(spans, spoken, horizon, stop_s)
            pause_s = None if gap_s is None else _pause_s(spans, spoken.end + int(gap_s * EAR_RATE_HZ), horizon)
            results.append(ActOutcome(**common, reply_gap_s=gap_s, cut_in=cut_in, stop_s=stop_s, pause_s=pause_s))
        else:
            kept = _kept(replies, spoken) if spoken.machine_spoke else None
            hole_s = _hole_s(spans, spoken, track.size) if kept else None
            results.append(ActOutcome(**common, kept_floor=kept, hole_s=hole_s))
    return results


def _gap(spans: Spans, spoken: Spoken, horizon: int, stop_s: float | None) -> tuple[float | None, bool]:
    silent_from = spoken.start + int((stop_s or 0.0) * EAR_RATE_HZ)
    for low, _high in spans:
        if silent_from < low < horizon:
            gap_s = (low - spoken.end) / EAR_RATE_HZ
            return gap_s, gap_s < -0.02
    return None, False


def _pause_s(spans: Spans, first: int, horizon: int) -> float:
    inside = [span for span in spans if first <= span[0] < horizon]
    return max((after[0] - before[1] for before, after in pairwise(inside)), default=0) / EAR_RATE_HZ


def _hole_s(spans: Spans, spoken: Spoken, length: int) -> float:
    low, high = spoken.start, min(spoken.end + 3 * EAR_RATE_HZ // 2, length)
    edges = [low, *(edge for span in spans for edge in span if low < edge < high), high]
    speaking = any(first <= low < last for first, last in spans)
    holes = [after - before for before, after in pairwise(edges)][1 if speaking else 0 :: 2]
    return max(holes, default=0) / EAR_RATE_HZ


def _kept(replies: Sequence[tuple[int, int, bool]], spoken: Spoken) -> bool:
    """The reply that was under way when the sound began was played to its end."""
    for first, last, complete in replies:
        if first <= spoken.start <= last + EAR_RATE_HZ // 2:
            return complete or last > spoken.end + EAR_RATE_HZ // 2
    return False


def continuity(pieces: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """(repeated, missing) samples: within each utterance, every sample must be played once and in order."""
    repeated = missing = 0
    reached: dict[int, int] = {}
    for utterance, start, stop in pieces:
        expected = reached.get(utterance, 0)
        if start < expected:
            repeated += min(expected, stop) - start
        elif start > expected:
            missing += start - expected
        reached[utterance] = max(expected, stop)
    return repeated, missing


def word_continuity(
    pieces: Sequence[tuple[int, int, int]], words: Mapping[int, Sequence[tuple[int, int]]]
) -> tuple[int, int]:
    """(repeated, missing) words: more than half of it played twice; less than half played though a later one was.

    Args:
        pieces: (utterance, first sample, sample after the last) in the order played.
        words: the sample ranges of every utterance's words.
    """
    repeated = missing = 0
    for utterance, ranges in words.items():
        played = [(start, stop) for key, start, stop in pieces if key == utterance]
        reached = max((stop for _start, stop in played), default=0)
        for low, high in ranges:
            heard = sum(max(min(stop, high) - max(start, low), 0) for start, stop in played)
            repeated += heard > 1.5 * (high - low)
            missing += high <= reached and heard < 0.5 * (high - low)
    return repeated, missing


def with_words(
    results: Sequence[ActOutcome],
    starts_s: Mapping[int, float],
    pieces: Sequence[tuple[int, int, int]],
    words: Mapping[int, Sequence[tuple[int, int]]],
) -> list[ActOutcome]:
    """`results` with the words that were repeated and missing in the replies to each turn.

    Args:
        results: one an act, in the order of time.
        starts_s: when each reply was first heard; one that was not belongs to no turn.
        pieces: as in `word_continuity`.
        words: as in `word_continuity`.
    """
    turns = [i for i, outcome in enumerate(results) if outcome.role in ("turn", "interruption")]
    counts: dict[int, tuple[int, int]] = {}
    for utterance, start_s in starts_s.items():
        turn = max((i for i in turns if results[i].start_s <= start_s), default=None)
        if turn is not None:
            repeated, missing = word_continuity(pieces, {utterance: words.get(utterance, ())})
            before = counts.get(turn, (0, 0))
            counts[turn] = (before[0] + repeated, before[1] + missing)
    return [
        replace(outcome, repeated_words=counts[i][0], missing_words=counts[i][1]) if i in counts else outcome
        for i, outcome in enumerate(results)
    ]


def summary(results: Sequence[ActOutcome]) -> dict[str, float | int | None]:
    """The figures of a whole conversation: medians and 95th percentiles in seconds, counts and rates."""
    gaps = [o.reply_gap_s for o in results if o.reply_gap_s is not None and not o.cut_in]
    stops = [o.stop_s for o in results if o.role == "interruption" and o.stop_s is not None]
    turns = [o for o in results if o.role in ("turn", "interruption")]
    holes = [o.hole_s for o in results if o.hole_s is not None]
    pauses = [o.pause_s for o in results if o.pause_s is not None]
    tests = [o for o in results if o.kept_floor is not None]

    def quantile(values: list[float], q: float) -> float | None:
        return round(float(np.quantile(values, q)), 3) if values else None

    return {
        "turns": len(turns),
        "answered": sum(o.reply_gap_s is not None for o in turns),
        "reply_gap_s_median": quantile(gaps, 0.5),
        "reply_gap_s_p95": quantile(gaps, 0.95),
        "pause_s_median": quantile(pauses, 0.5),
        "pause_s_p95": quantile(pauses, 0.95),
        "cut_ins": sum(o.cut_in for o in turns),
        "interruptions": len(stops),
        "stop_s_median": quantile(stops, 0.5),
        "stop_s_p95": quantile(stops, 0.95),
        "harmless_sounds": len(tests),
        "hole_s_median": quantile(holes, 0.5),
        "false_stops": sum(not o.kept_floor for o in tests),
    }

"""Full-Duplex-Bench v1.5: what a system does about speech over its own, in time and in kind.

Timing, as the released script computes it: the user's silences of at most 0.6 s and the system's of at most 0.5 s are
closed (the script's comments say 300 and 50 ms; the constants do not). Stop latency is the length of an overlap, response
latency runs from the user's end to the system's next start. The behaviour classes are given by a judge; the one here is
local and reads words, where the benchmark asks GPT-4o.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fullduplex.evaluate.fdb.takeover import words_within
from fullduplex.evaluate.fdb.wording import content_words
from fullduplex.evaluate.timing.spans import Recording, Span, Word, merged, shared

__all__ = [
    "BEHAVIOURS",
    "SYSTEM_GAP_S",
    "USER_GAP_S",
    "Behaviour",
    "OverlapTiming",
    "classify_behaviour",
    "overlap_timing",
    "words_after",
]

USER_GAP_S, SYSTEM_GAP_S = 0.6, 0.5

Behaviour = Literal["respond", "resume", "uncertain", "unknown"]
BEHAVIOURS: tuple[Behaviour, ...] = ("respond", "resume", "uncertain", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapTiming:
    """Spans whose lengths are the latencies: where both spoke, and from a user's end to the system's next start."""

    stops: tuple[Span, ...]
    responses: tuple[Span, ...]

    @property
    def stop_latencies_s(self) -> tuple[float, ...]:
        """Lengths of `stops`."""
        return tuple(end - start for start, end in self.stops)

    @property
    def response_latencies_s(self) -> tuple[float, ...]:
        """Lengths of `responses`."""
        return tuple(end - start for start, end in self.responses)


def overlap_timing(recording: Recording) -> OverlapTiming:
    """Stop and response latencies of one recording.

    Of overlaps that end in the same millisecond the shortest is kept; of several user ends before one system start the
    latest. A system start at the very moment of the user's end is no response to it (strictly after).
    """
    user = merged(recording.user.spans, USER_GAP_S)
    system = merged(recording.system.spans, SYSTEM_GAP_S)
    stops: dict[int, Span] = {}
    for start, end in shared(user, system):
        key = round(end * 1000)
        if key not in stops or end - start < stops[key][1] - stops[key][0]:
            stops[key] = (start, end)
    responses: dict[int, Span] = {}
    at = 0
    for _, end in user:
        while at < len(system) and system[at][0] <= end:
            at += 1
        if at == len(system):
            break
        start = system[at][0]
        responses[round(start * 1000)] = (end, start)
    return OverlapTiming(
        stops=tuple(sorted(stops.values(), key=lambda span: span[1])),
        responses=tuple(sorted(responses.values(), key=lambda span: span[1])),
    )


_UNSURE = re.compile(
    r"\b(didn't|did not|couldn't|could not|can't|cannot) (quite )?(catch|hear|understand|get|make out)\b|\bpardon\b"
    r"|\b(could|can|would) you (please )?(repeat|say that again|speak up)\b|\bsay (that|it) again\b|\bcome again\b"
    r"|\bwhat did you say\b|\b(sorry|excuse me),? what\b",
    re.IGNORECASE,
)


def classify_behaviour(after: Sequence[Word] | str, overlap: str, before: str, expected: str = "") -> Behaviour:
    """The class of what the system said after an overlap, by its words.

    Args:
        after: what the system said from the overlap's onset on.
        overlap: what was said over it.
        before: what the system had said until then.
        expected: the rest of its answer without the overlap (the benchmark's clean run), if there is one.

    Returns:
        "uncertain" for a request to repeat; "respond" or "resume" by which of the two it shares more content words
        with; "unknown" when it said nothing or shares with neither. A tie is "respond": the overlap is the newer.
    """
    said = after if isinstance(after, str) else " ".join(word.text for word in after)
    if not said.strip():
        return "unknown"
    if _UNSURE.search(said):
        return "uncertain"
    words = content_words(said)
    to_overlap = _share(words, content_words(overlap))
    to_answer = _share(words, content_words(f"{before} {expected}") - content_words(overlap))
    if not to_overlap and not to_answer:
        return "unknown"
    return "respond" if to_overlap >= to_answer else "resume"


def words_after(recording: Recording, overlap: Span) -> tuple[Word, ...]:
    """What the system said from the overlap's onset on."""
    return words_within(recording.system.words, (overlap[0], recording.duration_s))


def _share(words: set[str], reference: set[str]) -> float:
    return len(words & reference) / len(words) if words else 0.0

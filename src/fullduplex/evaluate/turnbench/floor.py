"""TurnBench's gold, second stage: from consensus to what is scored.

End of turn (EOT): a segment's end is positive when the floor passes: the other speaks next, is speaking already, or
nobody speaks again. Otherwise the silence up to the speaker's next segment is a pause, a negative, cut at the first sign
that it is none: a disputed span, a sound of the speaker's own, an interruption by the other. Interruption (INT): onsets
of floor-taking interruptions are positive, back-channels and noises negative, attempts that took no floor excluded.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from fullduplex.base.errors import InputError
from fullduplex.evaluate.turnbench.gold import (
    CLASSES,
    FLOOR_CLASSES,
    Annotated,
    Consensus,
    Event,
    Masked,
    find_consensus,
)

__all__ = ["Anchor", "Gold", "gold_of", "gold_of_consensus"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment on one speaker's channel that should be detected."""

    speaker: int
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """What a conversation is scored against."""

    eot_positives: tuple[Anchor, ...] = ()
    eot_negatives: tuple[Masked, ...] = ()
    eot_excluded: tuple[Masked, ...] = ()
    int_positives: tuple[Anchor, ...] = ()
    int_negatives: tuple[Masked, ...] = ()
    int_excluded: tuple[Masked, ...] = ()


def gold_of(annotations: Mapping[int, Mapping[str, Sequence[Annotated]]]) -> Gold:
    """From raw annotations: speaker (1, 2) -> annotator -> events.

    Raises:
        InputError: other speakers than 1 and 2, or what `find_consensus` refuses.
    """
    if set(annotations) != {1, 2}:
        raise InputError(f"speakers are {sorted(annotations)}; expected 1 and 2")

    def both(classes: Mapping[str, str]) -> Consensus:
        found = [find_consensus(annotations[speaker], speaker, classes) for speaker in (1, 2)]
        return Consensus(found[0].events + found[1].events, found[0].excluded + found[1].excluded)

    return gold_of_consensus(both(FLOOR_CLASSES), both(CLASSES))


def gold_of_consensus(floor: Consensus, labels: Consensus) -> Gold:
    """From the two views: who has the floor, and the classes in full."""
    positives: list[Anchor] = []
    negatives: list[Masked] = []
    turns = {speaker: _turns(floor, speaker) for speaker in (1, 2)}
    for speaker, other in ((1, 2), (2, 1)):
        starts, other_starts = ([turn.start_s for turn in turns[who]] for who in (speaker, other))
        for turn in turns[speaker]:
            at_s = turn.end_s
            if _inside(turns[speaker], at_s, besides=turn):
                continue  # the end of a piece within one's own longer turn is no boundary
            own, others = _first_after(starts, at_s), _first_after(other_starts, at_s)
            if own == inf or others < own or _inside(turns[other], at_s):
                positives.append(Anchor(speaker, at_s))
            else:
                pause = _believable(Masked(speaker, at_s, own), floor, labels)
                if pause is not None:
                    negatives.append(pause)
    quiet = [event for event in labels.events if event.name in ("Backchannel", "NonContent")]
    attempts = [event for event in labels.events if event.name == "NonFloorTakingInterruption"]
    return Gold(
        eot_positives=tuple(dict.fromkeys(positives)),
        eot_negatives=tuple(dict.fromkeys(negatives)),
        eot_excluded=floor.excluded,
        int_positives=tuple(Anchor(e.speaker, e.start_s) for e in labels.events if e.name == "Interruption"),
        int_negatives=tuple(Masked(e.speaker, e.start_s, e.end_s) for e in quiet),
        int_excluded=labels.excluded + tuple(Masked(e.speaker, e.start_s, e.end_s) for e in attempts),
    )


def _turns(floor: Consensus, speaker: int) -> list[Event]:
    return sorted(
        (event for event in floor.events if event.name == "Turn" and event.speaker == speaker), key=lambda e: e.start_s
    )


def _inside(turns: Sequence[Event], at_s: float, besides: Event | None = None) -> bool:
    return any(turn is not besides and turn.start_s < at_s < turn.end_s for turn in turns)


def _first_after(starts: Sequence[float], at_s: float) -> float:
    index = bisect_right(starts, at_s)
    return starts[index] if index < len(starts) else inf


def _believable(pause: Masked, floor: Consensus, labels: Consensus) -> Masked | None:
    """The pause up to the first evidence against it; None when it is contaminated from the start."""
    cuts = [pause.end_s]
    cuts += [
        span.start_s
        for span in (*floor.excluded, *labels.excluded)
        if span.start_s < pause.end_s and span.end_s > pause.start_s
    ]
    for event in labels.events:
        own = event.speaker == pause.speaker and event.name != "Turn"
        barge_in = event.speaker != pause.speaker and event.name in ("Interruption", "NonFloorTakingInterruption")
        if (own or barge_in) and pause.start_s < event.start_s < pause.end_s:
            cuts.append(event.start_s)
    end_s = min(cuts)
    return Masked(pause.speaker, pause.start_s, end_s) if end_s > pause.start_s else None

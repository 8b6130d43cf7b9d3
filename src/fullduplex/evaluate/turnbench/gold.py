"""TurnBench's gold, first stage: three annotators' events become consensus events and excluded spans.

An event stands when at least two of three gave the same class, with starts and ends that differ by at most 0.2 s; its
edges are the median of those who agree. What no majority supports, and no consensus event overlaps, is excluded: the
scorer neither rewards nor charges what falls there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Span

__all__ = ["CLASSES", "FLOOR_CLASSES", "Annotated", "Consensus", "Event", "Masked", "find_consensus"]

Annotated = tuple[float, float, str]
TOLERANCE_S, SEARCH_S, MIN_AGREEMENT = 0.2, 0.5, 2

_TURN = ("Normal Turn", "Regular Turn", "Strong Floor Hold", "Bounded Response", "Filler", "Overlap")
_TAKEN = ("Floor-taking Competitive Interruption", "Floor-taking Cooperative Interruption")
_GROUPS: dict[str, tuple[str, ...]] = {
    "Turn": _TURN,
    "Laughter": ("Laughter",),
    "AwkwardSilence": ("Awkward Silence",),
    "Interruption": _TAKEN,
    "NonFloorTakingInterruption": (
        "Non-floor Taking Competitive Interruption",
        "Non-floor Taking Cooperative Interruption",
    ),
    "Backchannel": ("Acknowledgement Backchannel", "Continuer Backchannel", "Reaction Backchannel"),
    "NonContent": ("Non-Speech Noise", "Channel Bleed", "Speech, Non-Linguistic"),
}
# The annotators' label -> its class; and, for the coarser question of who has the floor, what counts as having it.
CLASSES: dict[str, str] = {label: name for name, labels in _GROUPS.items() for label in labels}
FLOOR_CLASSES: dict[str, str] = dict.fromkeys((*_TURN, *_TAKEN), "Turn")


@dataclass(frozen=True, slots=True)
class Event:
    """A consensus event of one speaker (1 or 2)."""

    speaker: int
    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True, slots=True)
class Masked:
    """A span on one speaker's channel: excluded from scoring, or a negative."""

    speaker: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Consensus:
    """What a majority agreed on, and where there was none."""

    events: tuple[Event, ...]
    excluded: tuple[Masked, ...]


def find_consensus(
    tracks: Mapping[str, Sequence[Annotated]], speaker: int, classes: Mapping[str, str] = CLASSES
) -> Consensus:
    """One speaker's consensus.

    Args:
        tracks: annotator -> (start, end, label). Three of them; labels that `classes` lacks are passed over.
        speaker: 1 or 2.
        classes: label -> class: `CLASSES`, or `FLOOR_CLASSES` for the floor alone.

    Raises:
        InputError: other than three annotators, or an event without length.
    """
    if len(tracks) != 3:
        raise InputError(f"speaker {speaker} has {len(tracks)} annotators; expected three")
    named: dict[str, list[Annotated]] = {}
    for annotator in sorted(tracks):
        named[annotator] = [(s, e, classes[label]) for s, e, label in tracks[annotator] if label in classes]
        if any(not start < end for start, end, _ in named[annotator]):
            raise InputError(
                f"annotator {annotator} of speaker {speaker} has an event that does not end after its start"
            )
    search = _Search(named)
    events = tuple(Event(speaker, *found) for found in search.run())
    spans = [(event.start_s, event.end_s) for event in events]
    alone = [
        (start, end)
        for annotator, track in named.items()
        for index, (start, end, _) in enumerate(track)
        if index not in search.used[annotator] and not any(low < end and start < high for low, high in spans)
    ]
    excluded = tuple(Masked(speaker, round(low, 4), round(high, 4)) for low, high in _joined(alone))
    return Consensus(events, excluded)


def _joined(spans: list[Span]) -> list[Span]:
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


class _Search:
    """Each annotator's events in turn, with the nearest unused event of the same class from each later annotator."""

    def __init__(self, tracks: dict[str, list[Annotated]]) -> None:
        self.tracks = tracks
        self.used: dict[str, set[int]] = {name: set() for name in tracks}

    def run(self) -> list[Annotated]:
        found: list[Annotated] = []
        names = list(self.tracks)
        for place, anchor in enumerate(names):
            for index, (start, _, name) in enumerate(self.tracks[anchor]):
                if index in self.used[anchor]:
                    continue
                group = {anchor: index}
                for other in names[place + 1 :]:
                    match = self._nearest(start, name, other)
                    if match is not None:
                        group[other] = match
                agreeing = self._largest(group, anchor)
                if len(agreeing) < MIN_AGREEMENT:
                    continue
                chosen = [self.tracks[who][group[who]] for who in agreeing]
                edges = (median(s for s, _, _ in chosen), median(e for _, e, _ in chosen))
                found.append((round(edges[0], 4), round(edges[1], 4), name))
                for who in agreeing:
                    self.used[who].add(group[who])
        return found

    def _nearest(self, start_s: float, name: str, annotator: str) -> int | None:
        best: tuple[float, int] | None = None
        for index, (start, _, other) in enumerate(self.tracks[annotator]):
            distance = abs(start - start_s)
            free = index not in self.used[annotator] and other == name and distance <= SEARCH_S
            if free and (best is None or distance < best[0]):
                best = (distance, index)
        return None if best is None else best[1]

    def _largest(self, group: dict[str, int], anchor: str) -> tuple[str, ...]:
        """The most annotators, the anchor among them, whose starts and whose ends all lie within the tolerance."""
        for size in range(len(group), 1, -1):
            for names in combinations(group, size):
                if anchor not in names:
                    continue
                events = [self.tracks[name][group[name]] for name in names]
                starts, ends = [event[0] for event in events], [event[1] for event in events]
                if max(starts) - min(starts) <= TOLERANCE_S and max(ends) - min(ends) <= TOLERANCE_S:
                    return names
        return ()

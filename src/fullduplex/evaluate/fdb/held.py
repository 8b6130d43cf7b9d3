"""What became of the floor when something was said over a system's answer, judged beside a clean run of the same item.

An item counts only if the system was speaking at the onset, and in the clean run still spoke a second after the sound's
end: else a silence there says nothing about the sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, nan

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.overlap import BEHAVIOURS, SYSTEM_GAP_S, Behaviour, classify_behaviour
from fullduplex.evaluate.fdb.takeover import words_from, words_within
from fullduplex.evaluate.lslm import StopScore, StopTrial, stop_score
from fullduplex.evaluate.timing.spans import Recording, Span, merged

__all__ = ["HeldOutcome", "HeldScore", "held_outcome", "held_scores", "stops_in_time"]

_AFTER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutcome:
    """One item. `counts`: the clean run shows that there was something to stop.

    `stop_s`: from the onset to the system's silence, if it fell silent before a second after the sound's end; `resumed_s`:
    from that end to its next word, if there was one.
    """

    kind: str
    counts: bool
    stop_s: float | None = None
    resumed_s: float | None = None
    behaviour: Behaviour = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldScore:
    """One kind of sound over all items that count. `num_resumed` of those that stopped spoke again, `resumed_s` later."""

    num_items: int
    num_counting: int
    stopped_rate: float
    stop_s: float
    num_resumed: int
    resumed_s: float
    behaviours: dict[str, int]

    def figures(self) -> dict[str, float]:
        """By name."""
        counts = {f"num_{name}": float(count) for name, count in self.behaviours.items()}
        head = {"num_items": float(self.num_items), "num_counting": float(self.num_counting)}
        stops = {"stopped_rate": self.stopped_rate, "stop_s": self.stop_s}
        return {**head, **stops, "num_resumed": float(self.num_resumed), "resumed_s": self.resumed_s, **counts}


def _speaking_at(spans: Sequence[Span], at_s: float) -> Span | None:
    return next(((start, end) for start, end in merged(spans, SYSTEM_GAP_S) if start < at_s < end), None)


def held_outcome(kind: str, run: Recording, clean: Recording, mark: Span, *, text: str = "") -> HeldOutcome:
    """Score one item.

    Args:
        kind: of sound.
        run: what happened with the sound.
        clean: what happened without it.
        mark: the sound.
        text: what was said over the answer, if it was speech.
    """
    onset_s, end_s = mark
    now = _speaking_at(run.system.spans, onset_s)
    alone = _speaking_at(clean.system.spans, onset_s)
    if now is None or alone is None or alone[1] < end_s + _AFTER_S:
        return HeldOutcome(kind=kind, counts=False)
    stop_s = now[1] - onset_s if now[1] < end_s + _AFTER_S else None
    starts = [start for start, _ in run.system.spans if start >= end_s]
    before = " ".join(word.text for word in words_within(run.system.words, (0.0, onset_s)))
    rest = " ".join(word.text for word in words_within(clean.system.words, (onset_s, clean.duration_s)))
    after = words_from(run.system.words, end_s, "paper")
    return HeldOutcome(
        kind=kind,
        counts=True,
        stop_s=stop_s,
        resumed_s=starts[0] - end_s if stop_s is not None and starts else None,
        behaviour=classify_behaviour(after, text, before, rest),
    )


def held_scores(outcomes: Sequence[HeldOutcome]) -> dict[str, HeldScore]:
    """Every kind by itself.

    Raises:
        InputError: no outcomes.
    """
    if not outcomes:
        raise InputError("no outcomes to score; expected at least one")
    scores: dict[str, HeldScore] = {}
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        counting = [outcome for outcome in mine if outcome.counts]
        stops = [outcome.stop_s for outcome in counting if outcome.stop_s is not None]
        resumed = [outcome.resumed_s for outcome in counting if outcome.resumed_s is not None]
        scores[kind] = HeldScore(
            num_items=len(mine),
            num_counting=len(counting),
            stopped_rate=len(stops) / len(counting) if counting else nan,
            stop_s=fsum(stops) / len(stops) if stops else nan,
            num_resumed=len(resumed),
            resumed_s=fsum(resumed) / len(resumed) if resumed else nan,
            behaviours={name: sum(o.behaviour == name for o in counting) for name in BEHAVIOURS},
        )
    return scores


def stops_in_time(outcomes: Sequence[HeldOutcome]) -> StopScore:
    """LSLM's precision and recall: interruptions should stop the system within a second, all else should not stop it."""
    counting = [outcome for outcome in outcomes if outcome.counts]
    return stop_score(
        StopTrial(onset_s=0.0 if outcome.kind == "interruption" else None, stop_s=outcome.stop_s)
        for outcome in counting
    )

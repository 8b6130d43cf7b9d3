"""A planned dialogue as the files other scorers read: TurnBench gold and its perfect submission, and a label list.

The plan knows what every sound is, so three "annotators" agree on it to the microsecond.
"""

from typing import Any

from fullduplex.evaluate.generate.plan import Plan
from fullduplex.evaluate.turnbench.floor import Gold, gold_of
from fullduplex.evaluate.turnbench.gold import Annotated

__all__ = ["annotations_of", "labels_of", "perfect_times"]

_LABELS = {
    "turn": "Normal Turn",
    "continued": "Normal Turn",
    "backchannel": "Continuer Backchannel",
    "interruption": "Floor-taking Competitive Interruption",
}


def annotations_of(plan: Plan) -> dict[int, dict[str, list[Annotated]]]:
    """TurnBench annotations: speaker 1 the user, 2 the system; three annotators of one mind."""
    tracks: dict[int, list[Annotated]] = {1: [], 2: []}
    for placed in plan.placed:
        tracks[placed.side + 1].append((placed.start_s, placed.end_s, _LABELS[placed.kind]))
    return {speaker: {name: list(track) for name in "abc"} for speaker, track in tracks.items()}


def perfect_times(gold: Gold) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    """(end of turn, interruption): every positive at its own time, and nothing else."""
    eot = {speaker: sorted(a.time_s for a in gold.eot_positives if a.speaker == speaker) for speaker in (1, 2)}
    cuts = {speaker: sorted(a.time_s for a in gold.int_positives if a.speaker == speaker) for speaker in (1, 2)}
    return eot, cuts


def labels_of(plan: Plan) -> dict[str, Any]:
    """Everything that was said, as plain JSON values, and the gold that follows from it."""
    said = [
        {
            "side": ("user", "system")[placed.side],
            "kind": placed.kind,
            "start_s": round(placed.start_s, 4),
            "end_s": round(placed.end_s, 4),
            "cut": placed.cut,
            "text": placed.line.text,
        }
        for placed in plan.placed
    ]
    gold = gold_of(annotations_of(plan))
    return {
        "said": said,
        "turnbench": {"eot_positives": len(gold.eot_positives), "int_positives": len(gold.int_positives)},
    }

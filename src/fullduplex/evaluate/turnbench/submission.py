"""TurnBench files: gold and predictions from JSON, checked as strictly as the benchmark checks them.

gold.json: {"conversations": {ID: {"duration_s": 60.0, "annotations": {"1": {"a": [[start, end, label], …], "b": …,
"c": …}, "2": …}}}}, or instead of annotations the event sets themselves ("events": {"eot_positives": [[speaker, time]],
"eot_negatives": [[speaker, start, end]], …}). predictions.json: {"predictions": [{"conversation_id": ID, "speaker_1":
{"eot": [times], "interruption": [times]}, "speaker_2": …}]}. probs-eot.json, probs-int.json: {"task": "eot",
"frame_rate_hz": 12.5, "probs": [{"conversation_id": ID, "speaker_1": {"prob": […]}, "speaker_2": …}]}.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullduplex.base.errors import FormatError, InputError
from fullduplex.evaluate.timing.files import read_json
from fullduplex.evaluate.turnbench.floor import Anchor, Gold, gold_of
from fullduplex.evaluate.turnbench.gold import Masked
from fullduplex.evaluate.turnbench.score import TaskScore, score_conversation, summed
from fullduplex.evaluate.turnbench.sweep import SweepItem

__all__ = ["Conversation", "Submitted", "read_gold", "read_predictions", "read_probabilities", "score_submission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Gold of one conversation."""

    gold: Gold
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """Committed times of one conversation: speaker -> times."""

    eot: Mapping[int, Sequence[float]]
    interruption: Mapping[int, Sequence[float]]


def read_gold(file: Path) -> dict[str, Conversation]:
    """Gold by conversation.

    Raises:
        FormatError: not the form of the module's header.
    """
    plain = read_json(file)
    try:
        found = {str(key): _conversation(value) for key, value in plain["conversations"].items()}
    except InputError as error:
        raise type(error)(f"{file}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{file} is no TurnBench gold ({error!r}); expected conversations by id") from error
    if not found:
        raise FormatError(f"{file} holds no conversation")
    return found


def _conversation(plain: dict[str, Any]) -> Conversation:
    duration_s = float(plain["duration_s"])
    if "annotations" in plain:
        tracks = {
            int(speaker): {
                name: [(float(s), float(e), str(label)) for s, e, label in rows] for name, rows in who.items()
            }
            for speaker, who in plain["annotations"].items()
        }
        return Conversation(gold=gold_of(tracks), duration_s=duration_s)
    sets = plain["events"]

    def anchors(name: str) -> tuple[Anchor, ...]:
        return tuple(Anchor(int(speaker), float(time)) for speaker, time in sets.get(name, ()))

    def spans(name: str) -> tuple[Masked, ...]:
        return tuple(Masked(int(speaker), float(start), float(end)) for speaker, start, end in sets.get(name, ()))

    gold = Gold(
        eot_positives=anchors("eot_positives"),
        eot_negatives=spans("eot_negatives"),
        eot_excluded=spans("eot_excluded"),
        int_positives=anchors("int_positives"),
        int_negatives=spans("int_negatives"),
        int_excluded=spans("int_excluded"),
    )
    return Conversation(gold=gold, duration_s=duration_s)


def _covered(ids: Sequence[str], gold: Mapping[str, object], file: Path) -> None:
    """Every conversation once: what is left out is an error, not silence."""
    twice = [name for name, count in Counter(ids).items() if count > 1]
    missing, unknown = sorted(set(gold) - set(ids)), sorted(set(ids) - set(gold))
    for what, names in (("appear twice", twice), ("are missing", missing), ("are not in the gold", unknown)):
        if names:
            raise FormatError(f"{file}: conversations {', '.join(names[:8])} {what}; expected each of the gold once")


def read_predictions(file: Path, gold: Mapping[str, Conversation]) -> dict[str, Submitted]:
    """A submission, complete and in range.

    Raises:
        FormatError: wrong form, or a conversation missing, unknown or twice. InputError: a time outside its recording,
            not finite, or out of order.
    """
    plain = read_json(file)
    try:
        rows = [(str(row["conversation_id"]), _submitted(row)) for row in plain["predictions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{file} is no submission ({error!r}); expected predictions by conversation") from error
    _covered([name for name, _ in rows], gold, file)
    for name, found in rows:
        for times in (*found.eot.values(), *found.interruption.values()):
            if any(not 0 <= time <= gold[name].duration_s for time in times):
                raise InputError(f"{file}: conversation {name} has a time outside 0 to {gold[name].duration_s} s")
    return dict(rows)


def _submitted(row: dict[str, Any]) -> Submitted:
    def times(task: str) -> dict[int, tuple[float, ...]]:
        return {who: tuple(float(time) for time in row[f"speaker_{who}"][task]) for who in (1, 2)}

    return Submitted(eot=times("eot"), interruption=times("interruption"))


def score_submission(
    gold: Mapping[str, Conversation], predictions: Mapping[str, Submitted]
) -> tuple[TaskScore, TaskScore]:
    """(end of turn, interruption) over all conversations."""
    scores = [
        score_conversation(gold[name].gold, predictions[name].eot, predictions[name].interruption) for name in gold
    ]
    return summed([eot for eot, _ in scores]), summed([interruption for _, interruption in scores])


def read_probabilities(file: Path, gold: Mapping[str, Conversation]) -> tuple[str, list[SweepItem]]:
    """(task, conversations) of a probabilities file.

    Raises:
        FormatError: wrong form or coverage. InputError: a wrong number of frames, or values that are no probabilities.
    """
    plain = read_json(file)
    try:
        task, rate_hz = str(plain["task"]), float(plain["frame_rate_hz"])
        rows = [
            (str(row["conversation_id"]), {w: row[f"speaker_{w}"]["prob"] for w in (1, 2)}) for row in plain["probs"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{file} is no probabilities file ({error!r}); expected task, frame_rate_hz, probs"
        ) from error
    if task not in ("eot", "int") or not 0 < rate_hz < 1e5:
        raise FormatError(f"{file}: task {task!r} at {rate_hz} Hz; expected eot or int at a positive rate")
    _covered([name for name, _ in rows], gold, file)
    items: list[SweepItem] = []
    for name, values in rows:
        found = gold[name].gold
        eot = task == "eot"
        items.append(
            SweepItem(
                positives=found.eot_positives if eot else found.int_positives,
                negatives=found.eot_negatives if eot else found.int_negatives,
                excluded=found.eot_excluded if eot else found.int_excluded,
                probabilities=values,
                duration_s=gold[name].duration_s,
                rate_hz=rate_hz,
            )
        )
    return task, items

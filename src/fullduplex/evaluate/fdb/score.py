"""Full-Duplex-Bench v1: items to figures, in either mode.

A mean over nothing is NaN with a count of 0, never a division by zero. Latencies are reported as they are and, beside
that, clipped at 0 as the released script reports them. The sound of a silent system is a result, not an error.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum, nan

from fullduplex.base.errors import InputError
from fullduplex.evaluate.fdb.backchannel import BackchannelOutcome, backchannel_outcome
from fullduplex.evaluate.fdb.items import TASKS, FdbItem, Mode, Task
from fullduplex.evaluate.fdb.takeover import first_start_s, takes_turn, words_from, words_within
from fullduplex.evaluate.fdb.wording import content_words
from fullduplex.evaluate.timing.spans import Span, Word, merged

__all__ = ["FdbOutcome", "FdbScore", "Judge", "fdb_outcome", "fdb_score", "fdb_scores", "lexical_judge", "parse_rating"]

# (what the user said before, the interruption, the system's answer) -> 0 to 5, or None when it cannot say.
Judge = Callable[[str, str, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbOutcome:
    """One item. `latency_s` is not clipped; None without a takeover or without known times.

    `was_speaking`, `talked_through`: the system was speaking as the interruption began, as it ended.
    """

    name: str
    task: Task
    takeover: bool
    latency_s: float | None = None
    rating: float | None = None
    judged: bool = False
    was_speaking: bool = False
    talked_through: bool = False
    backchannel: BackchannelOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbScore:
    """The figures of one task in one mode. NaN: nothing to take the mean of (see the count beside it)."""

    task: Task
    mode: Mode
    num_items: int
    takeover_rate: float
    latency_s: float = nan
    latency_clipped_s: float = nan
    num_latencies: int = 0
    rating: float = nan
    num_rated: int = 0
    num_unrated: int = 0
    num_was_speaking: int = 0
    num_talked_through: int = 0
    frequency_hz: float = nan
    divergence: float = nan
    num_divergences: int = 0

    def figures(self) -> dict[str, float]:
        """What the task is about, by name."""
        out = {"num_items": float(self.num_items), "takeover_rate": self.takeover_rate}
        if self.task in ("smooth_turn_taking", "user_interruption"):
            out |= {
                "latency_s": self.latency_s,
                "latency_clipped_s": self.latency_clipped_s,
                "num_latencies": float(self.num_latencies),
            }
        if self.task == "user_interruption":
            out |= {"rating": self.rating, "num_rated": float(self.num_rated), "num_unrated": float(self.num_unrated)}
            out["num_was_speaking"] = float(self.num_was_speaking)
            out["num_talked_through"] = float(self.num_talked_through)
        if self.task == "backchannel":
            out |= {"frequency_hz": self.frequency_hz, "divergence": self.divergence}
            out["num_divergences"] = float(self.num_divergences)
        return out


def fdb_outcome(item: FdbItem, mode: Mode, judge: Judge | None = None) -> FdbOutcome:
    """Score one item.

    Args:
        item: what happened.
        mode: "paper" or "code" (see `takeover` and `backchannel` for what differs).
        judge: rates the answer to an interruption; asked once, and only after a takeover.
    """
    name, words = item.recording.name, item.recording.system.words
    if item.task == "backchannel":
        found = backchannel_outcome(item, mode)
        return FdbOutcome(name=name, task=item.task, takeover=found.takeover, backchannel=found)
    if item.task == "pause_handling":
        return FdbOutcome(name=name, task=item.task, takeover=takes_turn(words_within(words, item.judged), mode))
    if item.mark is None:
        raise InputError(f"{name}: {item.task} needs the annotated moment (mark)")
    if item.task == "smooth_turn_taking":
        words = words_within(words, item.judged)
        takeover = takes_turn(words, mode)
        return FdbOutcome(
            name=name, task=item.task, takeover=takeover, latency_s=_since(words, item.mark[0]) if takeover else None
        )
    end_s = item.mark[1]
    was_speaking, talked = (_speaking(item.recording.system.spans, at_s) for at_s in item.mark)
    words = words_from(words, end_s, mode)
    takeover = takes_turn(words, mode)
    asked = takeover and judge is not None
    answer = " ".join(word.text for word in words)
    return FdbOutcome(
        name=name,
        task=item.task,
        takeover=takeover,
        latency_s=_since(words, end_s) if takeover else None,
        rating=judge(item.context, item.interruption, answer) if asked and judge is not None else None,
        judged=asked,
        was_speaking=was_speaking,
        talked_through=talked,
    )


def _speaking(spans: Sequence[Span], at_s: float) -> bool:
    """In a span, or in a breath of at most half a second between two."""
    return any(start < at_s < end for start, end in merged(spans, 0.5))


def _since(words: Sequence[Word], at_s: float) -> float | None:
    start_s = first_start_s(words)
    return None if start_s is None else start_s - at_s


def _mean(values: Iterable[float | None]) -> tuple[float, int]:
    known = [value for value in values if value is not None]
    return (fsum(known) / len(known), len(known)) if known else (nan, 0)


def fdb_score(outcomes: Sequence[FdbOutcome], mode: Mode) -> FdbScore:
    """The figures of one task.

    Raises:
        InputError: no outcomes, or outcomes of several tasks.
    """
    tasks = {outcome.task for outcome in outcomes}
    if len(tasks) != 1:
        raise InputError(
            f"got outcomes of {len(tasks)} tasks ({', '.join(sorted(tasks))}); expected one task, not empty"
        )
    latency_s, num_latencies = _mean(outcome.latency_s for outcome in outcomes)
    clipped_s, _ = _mean(None if o.latency_s is None else max(o.latency_s, 0.0) for o in outcomes)
    rating, num_rated = _mean(outcome.rating for outcome in outcomes)
    sounds = [outcome.backchannel for outcome in outcomes if outcome.backchannel is not None]
    frequency_hz, _ = _mean(sound.frequency_hz for sound in sounds)
    divergence, num_divergences = _mean(sound.divergence for sound in sounds)
    return FdbScore(
        task=outcomes[0].task,
        mode=mode,
        num_items=len(outcomes),
        takeover_rate=sum(outcome.takeover for outcome in outcomes) / len(outcomes),
        latency_s=latency_s,
        latency_clipped_s=clipped_s,
        num_latencies=num_latencies,
        rating=rating,
        num_rated=num_rated,
        num_unrated=sum(o.judged and o.rating is None for o in outcomes),
        num_was_speaking=sum(outcome.was_speaking for outcome in outcomes),
        num_talked_through=sum(outcome.talked_through for outcome in outcomes),
        frequency_hz=frequency_hz,
        divergence=divergence,
        num_divergences=num_divergences,
    )


def fdb_scores(items: Sequence[FdbItem], mode: Mode, judge: Judge | None = None) -> dict[Task, FdbScore]:
    """The figures of every task that has items.

    Raises:
        InputError: no items at all, or two of one name in a task.
    """
    if not items:
        raise InputError("no items to score; expected at least one")
    by_task: dict[Task, list[FdbOutcome]] = {}
    seen: set[tuple[Task, str]] = set()
    for item in items:
        key = (item.task, item.recording.name)
        if key in seen:
            raise InputError(f"item {item.recording.name!r} appears twice in {item.task}; give every item its own name")
        seen.add(key)
        by_task.setdefault(item.task, []).append(fdb_outcome(item, mode, judge))
    return {task: fdb_score(by_task[task], mode) for task in TASKS if task in by_task}


_RATING = re.compile(r"I would rate the AI's response as\s*\[?(\d)")


def parse_rating(reply: str) -> float | None:
    """The rating in the sentence the benchmark asks its judge for, 0 to 5; None where there is none."""
    found = _RATING.search(reply)
    return float(found[1]) if found and int(found[1]) <= 5 else None


def lexical_judge(context: str, interruption: str, answer: str) -> float | None:
    """A judge without a model, ours: 5 times the share of the interruption's content words that the answer takes up.

    It sees words, not sense: useful to tell an answer to the new question from one to the old, not to rate quality. None
    when the interruption has no content words.
    """
    wanted = content_words(interruption) - content_words(context) or content_words(interruption)
    return 5.0 * len(wanted & content_words(answer)) / len(wanted) if wanted else None

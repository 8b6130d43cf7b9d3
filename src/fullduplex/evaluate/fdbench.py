"""FD-Bench's rates and delays, as its released script counts them (its second, "enhanced" analysis).

Rates: SRR successful responses a user turn; SIR interruptions that stopped the system, of all; SRIR responses to an
interruption, of those that stopped it; EIR early interruptions by the system (it starts 0.5 s or more before the user
ends) a user turn; NIR answers to noise (shorter than 5.5 s, over 2.5 s before the next user turn) a gap between turns.
Delays, each the *median* (the script's function is named average): FSED user end to response; ERT how early a response
began; EIT the same of early interruptions; IRD user onset to the system's silence.

Two habits of the script are kept, because its figures have them: after the first response to an interruption, a further
segment counts as a response to the turn itself; and an early interruption that ends before the user counts as an
interruption that stopped the system. The printed paper was not at hand: there is no second mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, nan
from statistics import median

from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Recording, Span

__all__ = ["FdBenchCounts", "fdbench_counts", "fdbench_figures"]

EARLY_S, NOISE_ANSWER_S, NOISE_MARGIN_S = 0.5, 5.5, 2.5


@dataclass(slots=True, kw_only=True)
class FdBenchCounts:
    """What was counted in one conversation, and the delays in seconds."""

    num_turns: int = 0
    num_interruptions: int = 0
    num_responses: int = 0
    num_responses_to_interruptions: int = 0
    num_stops: int = 0
    num_early: int = 0
    num_noise: int = 0
    response_delays_s: list[float] = field(default_factory=list[float])
    response_leads_s: list[float] = field(default_factory=list[float])
    early_leads_s: list[float] = field(default_factory=list[float])
    stop_delays_s: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class _Turn:
    """One user turn while the system's segments are looked at in order."""

    start: float
    end: float
    following: float
    interrupting: bool = False
    stopped: bool = False
    answered: bool = False
    response_delay_s: float | None = None
    lead_s: float | None = None


def fdbench_counts(recording: Recording, *, skip_first: bool = False) -> FdBenchCounts:
    """Count one conversation: every span of the user is a turn, every span of the system a segment.

    Args:
        recording: spans of both sides.
        skip_first: leave out the system's first segment (the script does so for Moshi, which greets).

    Raises:
        InputError: the user says nothing.
    """
    user = recording.user.spans
    system = recording.system.spans[1:] if skip_first else recording.system.spans
    if not user:
        raise InputError(f"{recording.name}: the user has no turn; expected at least one span")
    counts = FdBenchCounts(num_turns=len(user))
    for number, (start, end) in enumerate(user):
        following = user[number + 1][0] if number + 1 < len(user) else inf
        turn = _Turn(start, end, following)
        for segment in system:
            _look(turn, segment, counts)
        counts.response_delays_s += [] if turn.response_delay_s is None else [turn.response_delay_s]
        counts.response_leads_s += [] if turn.lead_s is None else [turn.lead_s]
    counts.num_noise = _noise(user, system)
    return counts


def _look(turn: _Turn, segment: Span, counts: FdBenchCounts) -> None:
    start, end = segment
    if start < turn.start < end:
        counts.num_interruptions += 1
        turn.interrupting = True
    if turn.start < start < turn.end - EARLY_S:
        _early(turn, segment, counts)
    elif turn.start < start < turn.end:
        if not turn.interrupting:
            counts.num_responses += 1
            turn.lead_s = turn.end - start
        else:
            _answer(turn, end, counts, lead_s=turn.end - start)
    elif start < turn.start:
        reach = turn.end if turn.following < inf else inf
        if turn.start < end <= reach and turn.interrupting:
            _stop(turn, end - turn.start, counts)
    elif turn.end < start < turn.following:
        if turn.interrupting:
            _answer(turn, end, counts, delay_s=start - turn.end)
        elif turn.response_delay_s is None:
            counts.num_responses += 1
            turn.response_delay_s = start - turn.end


def _early(turn: _Turn, segment: Span, counts: FdBenchCounts) -> None:
    start, end = segment
    counts.num_early += 1
    counts.early_leads_s.append(turn.end - start)
    if end < turn.end and not turn.stopped:
        counts.num_interruptions += 1
        turn.interrupting = True
        _stop(turn, end - start, counts)


def _stop(turn: _Turn, delay_s: float, counts: FdBenchCounts) -> None:
    if not turn.stopped:
        turn.stopped = True
        counts.num_stops += 1
        counts.stop_delays_s.append(delay_s)


def _answer(
    turn: _Turn, end: float, counts: FdBenchCounts, *, delay_s: float | None = None, lead_s: float | None = None
) -> None:
    """The first response to an interruption; it shows that the interruption stopped what was said before."""
    if turn.answered:
        return
    turn.answered = True
    turn.interrupting = False
    counts.num_responses_to_interruptions += 1
    counts.response_delays_s += [] if delay_s is None else [delay_s]
    counts.response_leads_s += [] if lead_s is None else [lead_s]
    _stop(turn, end - turn.start, counts)


def _noise(user: Sequence[Span], system: Sequence[Span]) -> int:
    count = 0
    for (_, end), (following, _) in pairwise(user):
        for low, high in system:
            count += end < high < following - NOISE_MARGIN_S + 1e-9 and high - low < NOISE_ANSWER_S
    return count


def fdbench_figures(parts: Sequence[FdBenchCounts]) -> dict[str, float]:
    """All conversations together. NaN where the script would divide by zero (it prints 0)."""

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    def middle(name: str) -> float:
        values = [value for part in parts for value in getattr(part, name) if value > 0]
        return median(values) if values else nan

    def rate(above: str, below: int) -> float:
        return total(above) / below if below else nan

    turns = total("num_turns")
    return {
        "SRR": rate("num_responses", turns),
        "SIR": rate("num_stops", total("num_interruptions")),
        "SRIR": rate("num_responses_to_interruptions", total("num_stops")),
        "EIR": rate("num_early", turns),
        "NIR": rate("num_noise", turns - len(parts)),
        "FSED_s": middle("response_delays_s"),
        "ERT_s": middle("response_leads_s"),
        "EIT_s": middle("early_leads_s"),
        "IRD_s": middle("stop_delays_s"),
        "num_turns": float(turns),
        "num_interruptions": float(total("num_interruptions")),
    }

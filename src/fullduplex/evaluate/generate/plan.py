"""A two-party dialogue as a plan: which line of which side begins when, and what it is. No sound yet, only lengths.

Gaps, overlaps, pauses, back-channels and interruptions are drawn from stated ranges by seed; the plan is the oracle for
every scorer in this room, because it says exactly when who speaks and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Recording, Side, Span, merged

__all__ = ["DialogueConfig", "Kind", "Line", "Placed", "Plan", "plan_dialogue", "recording_of"]

Kind = Literal["turn", "continued", "backchannel", "interruption"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueConfig:
    """How the two talk. Ranges are (low, high) seconds, drawn evenly; shares are probabilities.

    `gap_s`: silence between turns. `overlap_share` of the changes of turn overlap by `overlap_s` instead.
    `pause_share` of the turns stop in the middle for `pause_s`. `backchannel_share` of the turns get a back-channel.
    `interruption_share` of the turns are cut short: the other begins, and the speaker falls silent `yield_s` later.
    """

    num_turns: int = 12
    gap_s: Span = (0.1, 0.7)
    overlap_share: float = 0.2
    overlap_s: Span = (0.1, 0.5)
    pause_share: float = 0.3
    pause_s: Span = (0.4, 1.0)
    backchannel_share: float = 0.3
    interruption_share: float = 0.15
    yield_s: Span = (0.2, 0.6)

    def __post_init__(self) -> None:
        if self.num_turns < 1:
            raise InputError(f"num_turns is {self.num_turns}; expected at least 1")
        for name in ("gap_s", "overlap_s", "pause_s", "yield_s"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise InputError(f"{name} is ({low}, {high}); expected 0 <= low <= high seconds")
        for name in ("overlap_share", "pause_share", "backchannel_share", "interruption_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something a side can say: its name, its length and its words."""

    name: str
    kind: Literal["turn", "half", "backchannel", "interruption"]
    length_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A line in the dialogue. `end_s` comes before the line's own end where it was cut short."""

    side: Literal[0, 1]
    kind: Kind
    line: Line
    start_s: float
    end_s: float
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything said, in order of beginning, and how long the recording lasts."""

    placed: tuple[Placed, ...]
    duration_s: float


def plan_dialogue(
    voices: tuple[Sequence[Line], Sequence[Line]], config: DialogueConfig | None = None, *, seed: int = 0
) -> Plan:
    """Draw a dialogue.

    Args:
        voices: what each side can say; each needs turns, and the rest where the config asks for it. Lines of kind "half"
            come in pairs, first and second half of a turn, one after the other.
        config: how they talk.
        seed: which dialogue.

    Raises:
        InputError: a side has no line of a kind that is needed.
    """
    writer = _Writer(voices, config or DialogueConfig(), np.random.default_rng(seed))
    for number in range(writer.config.num_turns):
        writer.turn(last=number == writer.config.num_turns - 1)
    placed = tuple(sorted(writer.placed, key=lambda found: (found.start_s, found.side)))
    return Plan(placed=placed, duration_s=max(found.end_s for found in placed) + 0.5)


class _Writer:
    """Draws one turn after the other; `now_s` is where the next may begin."""

    def __init__(
        self, voices: tuple[Sequence[Line], Sequence[Line]], config: DialogueConfig, draw: np.random.Generator
    ) -> None:
        self.voices, self.config, self.draw = voices, config, draw
        self.placed: list[Placed] = []
        self.side: Literal[0, 1] = 0
        self.now_s = 0.5
        self.cutting = False

    def _pick(self, side: int, kind: str) -> Line:
        lines = [line for line in self.voices[side] if line.kind == kind]
        if not lines:
            raise InputError(f"side {side} has no line of kind {kind!r}; give it one, or set that share to 0")
        return lines[int(self.draw.integers(len(lines)))]

    def _pair(self, side: int) -> tuple[Line, Line]:
        halves = [line for line in self.voices[side] if line.kind == "half"]
        if len(halves) < 2:
            raise InputError(f"side {side} has no turn in two halves; give it one, or set pause_share to 0")
        at = 2 * int(self.draw.integers(len(halves) // 2))
        return halves[at], halves[at + 1]

    def _chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def _range(self, span: Span) -> float:
        return float(self.draw.uniform(*span))

    def _say(self, kind: Kind, line: Line, start_s: float, end_s: float | None = None) -> float:
        end_s = start_s + line.length_s if end_s is None else end_s
        cut = end_s < start_s + line.length_s
        self.placed.append(Placed(side=self.side, kind=kind, line=line, start_s=start_s, end_s=end_s, cut=cut))
        return end_s

    def turn(self, *, last: bool) -> None:
        """One turn of the side whose turn it is, and who goes on when."""
        start_s = self.now_s
        paused = not self.cutting and self._chance(self.config.pause_share)
        if paused:
            first, second = self._pair(self.side)
            middle_s = self._say("turn", first, start_s)
            last_start_s = middle_s + self._range(self.config.pause_s)
            line: Line = second
            kind: Kind = "continued"
        else:
            line = self._pick(self.side, "interruption" if self.cutting else "turn")
            last_start_s, kind = start_s, "interruption" if self.cutting else "turn"
        end_s = last_start_s + line.length_s
        self.cutting = not last and line.length_s > 1.2 and self._chance(self.config.interruption_share)
        if self.cutting:
            onset_s = last_start_s + float(self.draw.uniform(0.6, line.length_s - 0.3))
            end_s = min(end_s, onset_s + self._range(self.config.yield_s))
            self._say(kind, line, last_start_s, end_s)
            self.now_s = onset_s
        else:
            self._say(kind, line, last_start_s)
            if line.length_s > 1.4 and self._chance(self.config.backchannel_share):
                self._backchannel(last_start_s, end_s)
            overlapping = self._chance(self.config.overlap_share)
            self.now_s = end_s + (
                -self._range(self.config.overlap_s) if overlapping else self._range(self.config.gap_s)
            )
        self.side = 0 if self.side else 1

    def _backchannel(self, start_s: float, end_s: float) -> None:
        """The other side's, wholly inside the turn, at least 0.1 s from its edges."""
        other: Literal[0, 1] = 0 if self.side else 1
        line = self._pick(other, "backchannel")
        low_s, high_s = start_s + 0.1, end_s - 0.6 - line.length_s
        busy = any(p.side == other and p.end_s > low_s - 0.3 for p in self.placed)
        if low_s < high_s and not busy:
            at_s = float(self.draw.uniform(low_s, high_s))
            self.placed.append(
                Placed(side=other, kind="backchannel", line=line, start_s=at_s, end_s=at_s + line.length_s)
            )


def recording_of(plan: Plan, name: str, inner: dict[str, tuple[Span, ...]] | None = None) -> Recording:
    """The plan's own spans as a recording: side 0 the user, side 1 the system.

    Args:
        plan: who speaks when.
        name: of the recording.
        inner: line name -> spans of sound inside the line, where a line has silences of its own.
    """
    sides: list[Side] = []
    for side in (0, 1):
        spans: list[Span] = []
        for placed in plan.placed:
            if placed.side != side:
                continue
            for start, end in (inner or {}).get(placed.line.name, ((0.0, placed.line.length_s),)):
                low, high = placed.start_s + start, min(placed.start_s + end, placed.end_s)
                spans += [(low, high)] if low < high else []
        sides.append(Side(spans=merged(spans)))
    return Recording(name=name, user=sides[0], system=sides[1], duration_s=plan.duration_s)

"""One test item of Full-Duplex-Bench v1: a recording, the moment it is about, and what the task needs beside it."""

from dataclasses import dataclass
from typing import Literal, get_args

from fullduplex.base.errors import InputError
from fullduplex.evaluate.timing.spans import Recording, Span

__all__ = ["MODES", "TASKS", "FdbItem", "Mode", "Task"]

Mode = Literal["paper", "code"]
Task = Literal["pause_handling", "backchannel", "smooth_turn_taking", "user_interruption"]
MODES: tuple[Mode, ...] = get_args(Mode)
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbItem:
    """What one item is scored on.

    Args:
        task: which of the four.
        recording: the system's words carry the takeover rule, its spans the back-channel rule.
        mark: the annotated moment: the pause; the change of turn ([TURN-TAKING]); the interruption. None for back-channels.
        judged: the stretch in which the system's words count; None: all of it. A pause is judged up to the end of the
            user's turn, so that the answer after it is no takeover.
        context, interruption: what the user said before the interruption, and in it.
        truth: listeners' back-channels as a distribution over equal bins from beginning to end.

    Raises:
        InputError: something the task needs is missing.
    """

    task: Task
    recording: Recording
    mark: Span | None = None
    judged: Span | None = None
    context: str = ""
    interruption: str = ""
    truth: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        name = self.recording.name
        if self.task not in TASKS:
            raise InputError(f"{name}: task {self.task!r} is not one of {', '.join(TASKS)}")
        if self.task in ("smooth_turn_taking", "user_interruption") and self.mark is None:
            raise InputError(f"{name}: {self.task} needs the annotated moment (mark)")
        if self.task == "backchannel" and not self.truth:
            raise InputError(f"{name}: backchannel needs the listeners' distribution (truth)")
        if any(not value >= 0 for value in self.truth) or (self.truth and not sum(self.truth) > 0):
            raise InputError(f"{name}: truth must hold shares of 0 or more that do not sum to 0")

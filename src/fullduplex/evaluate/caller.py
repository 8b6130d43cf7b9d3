"""A scripted caller: says its lines at the right moments of whatever the machine does.

A script is a list of acts. An act waits for its moment (the machine's reply has ended; the machine has been speaking for
a while; a time has come), then its clip is played into the conversation. The caller hears only the machine's sound.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES

__all__ = ["Act", "Caller", "Role", "Spoken", "When", "is_audible"]

Pcm = NDArray[np.float32]
Role = Literal["turn", "interruption", "backchannel", "noise", "side_talk"]
When = Literal["after_reply", "into_reply", "after_act"]

_AUDIBLE = 10 ** (-50 / 20)


def is_audible(pcm: Pcm) -> bool:
    """Is anything above -50 dBFS (RMS)?"""
    return bool(pcm.size and np.sqrt(np.mean(np.square(pcm, dtype=np.float64))) > _AUDIBLE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Act:
    """One line. `pcm` (16 kHz, trimmed) is said `delay_s` after its moment: the end of the machine's reply, the
    beginning of it, or the end of the caller's own previous act. `text` is what is said ("" for noise). It begins
    `lead_samples` into a frame: people do not speak on the machine's beat."""

    role: Role
    text: str
    pcm: Pcm
    when: When = "after_reply"
    delay_s: float = 0.6
    lead_samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """When an act was said, in samples at EAR_RATE_HZ; `machine_spoke`: the machine was audible when it began."""

    act: int
    start: int
    end: int
    machine_spoke: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Caller:
    """The script, and where the caller is in it.

    `patience_s`: how long the caller waits for a reply before going on. `quiet_s`: how long the machine must be silent
    for its reply to count as over.
    """

    acts: tuple[Act, ...]
    patience_s: float = 8.0
    quiet_s: float = 1.2
    now: int = 0
    at: int = 0
    position: int = -1
    act_end: int = 0
    reply_start: int = -1
    last_audible: int = -1
    said: tuple[Spoken, ...] = ()
    machine_spoke: bool = False

    def __post_init__(self) -> None:
        if not self.acts:
            raise InputError("a script needs at least one act")

    @property
    def finished(self) -> bool:
        """Everything is said, and the last reply is over (or will not come)."""
        return self.at >= len(self.acts) and self._reply_over()

    def _since_s(self, sample: int) -> float:
        return (self.now - sample) / EAR_RATE_HZ

    def _reply_over(self) -> bool:
        if self.reply_start < 0 or self.last_audible < self.act_end:
            return self._since_s(self.act_end) >= self.patience_s
        return self._since_s(self.last_audible) >= self.quiet_s

    def _due(self, act: Act) -> bool:
        if act.when == "after_act":
            return self._since_s(self.act_end) >= act.delay_s
        if act.when == "into_reply":
            speaking = self.reply_start >= 0 and self._since_s(self.last_audible) < 0.1
            return (speaking and self._since_s(self.reply_start) >= act.delay_s) or self._reply_over()
        first = self.at == 0
        waited = self._since_s(0 if first else max(self.last_audible, self.act_end))
        return (first or self._reply_over()) and waited >= act.delay_s

    def step(self, machine: Pcm) -> tuple[Pcm, "Caller"]:
        """One frame: hear FRAME_SAMPLES of the machine, say FRAME_SAMPLES."""
        caller = self
        if is_audible(machine):
            fresh = caller.reply_start < caller.act_end and caller.position < 0
            caller = replace(
                caller,
                last_audible=caller.now + FRAME_SAMPLES,
                reply_start=caller.now if fresh or caller.reply_start < 0 else caller.reply_start,
            )
        if caller.position < 0 and caller.at < len(caller.acts) and caller._due(caller.acts[caller.at]):
            spoke = caller.last_audible >= 0 and caller._since_s(caller.last_audible) < 0.3
            caller = replace(caller, position=0, machine_spoke=spoke)
        out = np.zeros(FRAME_SAMPLES, np.float32)
        if caller.position >= 0:
            caller, out = caller._speak()
        return out, replace(caller, now=caller.now + FRAME_SAMPLES)

    def _speak(self) -> tuple["Caller", Pcm]:
        act = self.acts[self.at]
        lead = act.lead_samples if self.position == 0 else 0
        piece = act.pcm[self.position : self.position + FRAME_SAMPLES - lead]
        out = np.zeros(FRAME_SAMPLES, np.float32)
        out[lead : lead + piece.size] = piece
        position = self.position + piece.size
        if position < act.pcm.size:
            return replace(self, position=position), out
        end = self.now + lead + piece.size
        spoken = Spoken(act=self.at, start=end - act.pcm.size, end=end, machine_spoke=self.machine_spoke)
        # A sound that wants no answer does not begin a new exchange: the reply under way stays the one waited for.
        keeps = act.role in ("backchannel", "noise", "side_talk")
        return (
            replace(
                self,
                position=-1,
                at=self.at + 1,
                act_end=self.act_end if keeps else end,
                said=(*self.said, spoken),
            ),
            out,
        )

"""Everything that goes in and out of a session besides sound: inputs and events, as values.

Inputs ride on a frame; events come out of `Session.step`. Times are frame indices (one frame is FRAME_S seconds of
what the machine heard); positions in speech are samples at VOICE_RATE_HZ.

Playback follows epochs. Every `AudioOut` names one; a `Flush` opens the next: the loudspeaker drops whatever it holds
of earlier epochs at once and answers `Heard` with the new epoch and the exact number of samples that were played.
"""

from dataclasses import dataclass

from fullduplex.dialogue.ports import Pcm, Request, Result
from fullduplex.dialogue.turns import Floor

__all__ = [
    "Ask",
    "AudioOut",
    "Cancel",
    "ClearInput",
    "Close",
    "CommitInput",
    "DeadlineMissed",
    "Dropped",
    "Event",
    "Failure",
    "Flush",
    "Frame",
    "Heard",
    "Input",
    "Instruct",
    "Lost",
    "ReplyDone",
    "ReplyStarted",
    "ReplyText",
    "Respond",
    "Resumed",
    "Say",
    "StopSpeaking",
    "TurnChanged",
    "UserSpeech",
    "UserText",
]


# --- inputs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The loudspeaker has played `samples` of `utterance` in all; `epoch` is the last flush it has obeyed."""

    utterance: int
    samples: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Say:
    """The user typed a whole message. `respond` False only adds it to the history."""

    text: str
    respond: bool = True


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer now, whatever the turn detector thinks."""


@dataclass(frozen=True, slots=True)
class CommitInput:
    """The user's turn ends here (push-to-talk clients)."""


@dataclass(frozen=True, slots=True)
class ClearInput:
    """Forget what the user has said in this turn."""


@dataclass(frozen=True, slots=True)
class StopSpeaking:
    """Be quiet now."""


@dataclass(frozen=True, slots=True)
class Instruct:
    """Replace the system message."""

    text: str


@dataclass(frozen=True, slots=True)
class Lost:
    """`frames` frames of sound were shed before this one because the machine could not keep up.

    For the core their time never passed; it reports them and reads less until it has caught up.
    """

    frames: int


@dataclass(frozen=True, slots=True)
class Close:
    """End the conversation."""


Input = Result | Heard | Say | Respond | CommitInput | ClearInput | StopSpeaking | Instruct | Lost | Close


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame of what the machine hears, and what else has arrived by its end.

    `pcm`: FRAME_SAMPLES float32 samples at 16 kHz, echo already removed, or none: then only `inputs` are taken, in the
    middle of the frame `index`, and no time passes. `index` counts whole frames from 0 without gaps.
    `echo_share`: how much of the power of `pcm` may still be the machine's own echo, 0 to 1.
    """

    index: int
    pcm: Pcm
    echo_share: float = 0.0
    inputs: tuple[Input, ...] = ()


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Run this request on its lane and hand the result to a later frame."""

    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    """The result of this request is no longer wanted."""

    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AudioOut:
    """Play `pcm` (VOICE_RATE_HZ), which starts at sample `start` of the utterance."""

    utterance: int
    epoch: int
    start: int
    pcm: Pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """Drop what has not been played, be silent at once, answer `Heard` with this epoch."""

    utterance: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnChanged:
    """The floor went from one state to another, and why."""

    frame: int
    before: Floor
    after: Floor
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSpeech:
    """The user began (`active`) or ended an utterance; `frame` is where the sound of it began or ended."""

    turn: int
    frame: int
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserText:
    """The transcript so far; the first `stable` characters will not change. `final` closes the turn."""

    turn: int
    text: str
    stable: int
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStarted:
    """The machine has committed to a reply; its first audio follows."""

    utterance: int
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyText:
    """Words the machine is going to say, ahead of their sound."""

    utterance: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDone:
    """The reply is over. `heard` is the text that was really played; `complete` if nothing was cut."""

    utterance: int
    text: str
    heard: str
    complete: bool
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The machine goes on from this sample after a false stop."""

    utterance: int
    start: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Input was lost: `frames` of sound."""

    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineMissed:
    """Something came later than promised."""

    what: str
    late_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A port failed; the session goes on."""

    port: str
    message: str


Event = (
    Ask
    | Cancel
    | AudioOut
    | Flush
    | TurnChanged
    | UserSpeech
    | UserText
    | ReplyStarted
    | ReplyText
    | ReplyDone
    | Resumed
    | Dropped
    | DeadlineMissed
    | Failure
)

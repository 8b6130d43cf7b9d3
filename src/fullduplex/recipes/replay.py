"""Play a recording to the machine, or step a recorded log of frames again and compare."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullduplex.base.errors import FormatError, FullduplexError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES
from fullduplex.dialogue.desk import SessionConfig, SessionState
from fullduplex.dialogue.events import Event, Frame
from fullduplex.dialogue.policies.tdm import TdmPolicy
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.ports import Pcm
from fullduplex.dialogue.session import Policy, Session
from fullduplex.dialogue.snapshot import decode, encode
from fullduplex.evaluate.caller import Act
from fullduplex.evaluate.measures import audible_spans
from fullduplex.evaluate.room import RoomConfig
from fullduplex.recipes.runner import Echo, Runner
from fullduplex.recipes.simulate import Conversation, simulate

__all__ = ["FrameLog", "Setup", "read_frames", "read_log", "replay_frames", "replay_sound"]


def replay_sound(
    pcm: Pcm,
    runner: Runner,
    echo: Echo,
    *,
    room: RoomConfig | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Conversation:
    """Play `pcm` (EAR_RATE_HZ) from its beginning as one caller who does not react, until the last reply is over."""
    spans = audible_spans(pcm)
    text = "(recording)" if spans else "(silence)"
    act = Act(role="turn", text=text, pcm=pcm, when="after_act", delay_s=0.0)
    return simulate((act,), runner, echo, room=room, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What kind of conversation was recorded: all that its frames do not hold. `ear`: the name of the one that listened."""

    policy: Policy
    session: SessionConfig
    ear: str

    @classmethod
    def of(cls, session: Session, ear: str) -> "Setup":
        """The setup of a session that listens with the ear of this name."""
        return cls(policy=session.policy, session=session.config, ear=ear)


class FrameLog:
    """Frames as they were stepped, one a line: enough to replay the conversation to the bit, once it was described.

    Use it with `with`, or close it.
    """

    def __init__(self, file: Path) -> None:
        self._stream = file.open("w", encoding="utf-8")

    def describe(self, setup: Setup) -> None:
        """Write the first line, before any frame: how to replay the frames."""
        self._stream.write(encode(setup) + "\n")

    def __call__(self, frame: Frame) -> None:
        """Write one frame."""
        self._stream.write(encode(frame) + "\n")

    def __enter__(self) -> "FrameLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more frames follow."""
        self._stream.close()


def read_frames(file: Path, *, extra: tuple[type[Any], ...] = ()) -> list[Frame]:
    """The frames that a FrameLog wrote; see `read_log`."""
    return read_log(file, extra=extra)[1]


def read_log(file: Path, *, extra: tuple[type[Any], ...] = ()) -> tuple[Setup | None, list[Frame]]:
    """What a FrameLog wrote. A last line that was cut off is left out. The setup is None where the log has none.

    Raises:
        FormatError: not such a log.
    """
    setup: Setup | None = None
    frames: list[Frame] = []
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file} cannot be read as a frame log: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            frame = decode(line, extra=(Setup, *extra))
        except FullduplexError as error:
            if number == len(lines):
                break
            raise FormatError(f"{file}, line {number}: {error}") from error
        if number == 1 and isinstance(frame, Setup):
            setup = _checked(frame, file)
            continue
        if not isinstance(frame, Frame):
            raise FormatError(f"{file}, line {number}: a {type(frame).__name__} is not a frame")
        frames.append(frame)
    if not frames:
        raise FormatError(f"{file} holds no frames")
    return setup, frames


def _checked(setup: Setup, file: Path) -> Setup:
    known = isinstance(setup.policy, (TurnsPolicy, TdmPolicy)) and isinstance(setup.ear, str)
    if not known or not isinstance(setup.session, SessionConfig):
        raise FormatError(f"{file}, line 1: a setup without policy, session and ear; record the conversation again")
    return setup


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """The events of a replay and the state after it."""

    events: list[tuple[float, Event]]
    state: SessionState


def replay_frames(frames: list[Frame], session: Session) -> Replayed:
    """Step recorded frames again; no model but the ear is needed."""
    state = session.init()
    events: list[tuple[float, Event]] = []
    for frame in frames:
        now, state = session.step(frame, state)
        at_s = (frame.index + 1) * FRAME_SAMPLES / EAR_RATE_HZ
        events += [(at_s, event) for event in now]
    return Replayed(events=events, state=state)

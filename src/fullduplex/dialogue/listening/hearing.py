"""What the user is saying: voice activity, the sound of the current turn, its transcript as it grows.

`Hearing` is a value. `hear` takes one frame; `recognised` takes one transcript. A turn may hold several stretches of
speech with pauses between them; it ends when the policy says so (`end_turn`).
"""

from dataclasses import dataclass, replace
from math import log10
from typing import Any

import numpy as np

from fullduplex.base.units import FRAME_S, FRAME_SAMPLES, db_from_amplitude
from fullduplex.dialogue.events import Frame
from fullduplex.dialogue.listening.transcript import agreed_prefix
from fullduplex.dialogue.ports import Ear, Pcm

__all__ = [
    "Hearing",
    "HearingConfig",
    "end_turn",
    "hear",
    "heard_out",
    "is_aside",
    "recognised",
    "turn_pcm",
    "unreadable",
    "wants_recognition",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingConfig:
    """How sound becomes turns.

    `onset_frames` frames above `enter` begin speech, one below `leave` is silence. Speech of which no frame comes within
    `background_db` of this user's active speech level (power over speech, after ITU-T P.56, in this turn, else in earlier
    ones) is the room, television, others: it begins none, and `background_frames` of it are silence.

    What is being said is read whenever it has grown by `partial_frames` (`overlap_partial_frames` while the machine
    speaks) and by `partial_share`: long utterances cost no more per second than short ones. A pause of `pause_frames`
    asks for a final reading.

    While the machine speaks, `aside_db` is asked for, first of a frame (the loudest of a voice are 3 to 9 dB above its
    active level), and after `aside_after_s` of speech of its active level so far: what is quieter is an aside, somebody
    else in the room. A voice that has been found to be one needs a frame as loud as the user's active level to be heard
    again, until it has paused for `aside_pause_frames`. A frame of which `max_echo_share` or more may be the machine's own
    echo is not believed to be speech.
    """

    enter: float = 0.5
    leave: float = 0.5
    onset_frames: int = 2
    preroll_frames: int = 12
    partial_frames: int = 12
    overlap_partial_frames: int = 8
    partial_share: float = 0.15
    pause_frames: int = 2
    segment_frames: int = 312
    segment_max_frames: int = 500
    background_db: float = 12.0
    background_frames: int = 6
    aside_db: float = 9.0
    aside_after_s: float = 0.5
    aside_pause_frames: int = 31
    max_echo_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hearing:
    """The user's side, now.

    `frames` is the sound of the open segment with its pre-roll; `fixed` the text of earlier segments of the turn.
    `silence_frames` counts from the last frame of speech, `speech_frames` the frames of speech in this turn;
    `quiet_frames` counts from the last that was loud enough to be this user's; `aside_frames` is what is left of the pause
    that ends an aside (0: there is none).
    """

    ear: Any
    turn: int = 0
    active: bool = False
    started: bool = False
    run_frames: int = 0
    silence_frames: int = 0
    speech_frames: int = 0
    onset_frame: int = 0
    frames: tuple[Pcm, ...] = ()
    fixed: str = ""
    text: str = ""
    stable: int = 0
    tokens: tuple[int, ...] = ()
    read_frames: int = 0
    asked_frames: int = 0
    level_db: float = -120.0
    user_level_db: float | None = None
    quiet_frames: int = 0
    aside_frames: int = 0
    probability: float = 0.0

    @property
    def transcript(self) -> str:
        """Everything recognised in this turn."""
        return f"{self.fixed} {self.text}".strip()

    @property
    def stable_length(self) -> int:
        """How many characters of `transcript` will not change any more."""
        return len(f"{self.fixed} {self.text[: self.stable]}".strip())

    @property
    def settled(self) -> bool:
        """The transcript covers the last frame of speech."""
        return self.started and self.read_frames >= len(self.frames) - self.silence_frames

    @property
    def silence_s(self) -> float:
        """Seconds since the last frame of speech."""
        return self.silence_frames * FRAME_S

    @property
    def speech_s(self) -> float:
        """Seconds of speech in this turn."""
        return self.speech_frames * FRAME_S


_KNOWN_FRAMES = 16  # of speech tell how loud a voice is
# The first quarter of a second is louder than what follows: loud frames made the onset.
_FIRST_FRAMES_DB = 3.0


def _frame_db(pcm: Pcm) -> float:
    return db_from_amplitude(float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))))


def _level(level_db: float, frame_db: float, speech_frames: int) -> float:
    weight = 1.0 / min(speech_frames + 1, 60)
    if speech_frames == 0:
        return frame_db
    return 10 * log10((1 - weight) * 10 ** (level_db / 10) + weight * 10 ** (frame_db / 10))


def _own_level_db(hearing: Hearing) -> float | None:
    """How loud whoever has this turn speaks; None: nobody has spoken yet."""
    return hearing.level_db if hearing.speech_frames >= _KNOWN_FRAMES else hearing.user_level_db


def _is_below(level_db: float, reference_db: float | None, margin_db: float) -> bool:
    return reference_db is not None and level_db < reference_db - margin_db


def is_aside(hearing: Hearing, config: HearingConfig) -> bool | None:
    """Is what was said so far, while the machine spoke, too quiet to be this user's? None: perhaps; too little was said."""
    if not _is_below(hearing.level_db, hearing.user_level_db, config.aside_db - _FIRST_FRAMES_DB):
        return False
    if hearing.speech_s < config.aside_after_s and hearing.silence_frames < config.pause_frames:
        return None
    return _is_below(hearing.level_db, hearing.user_level_db, config.aside_db)


def _margin_db(hearing: Hearing, config: HearingConfig, *, machine_speaks: bool) -> float:
    if not machine_speaks:
        return config.background_db
    return 0.0 if hearing.aside_frames else config.aside_db


def hear(
    hearing: Hearing, frame: Frame, ear: Ear, config: HearingConfig, *, machine_speaks: bool = False
) -> tuple[Hearing, bool]:
    """One frame later; also whether speech began with this frame (an onset)."""
    pcm, index = frame.pcm, frame.index
    probability, ear_state = ear.step(pcm, hearing.ear)
    if frame.echo_share >= config.max_echo_share:
        probability = 0.0
    voiced = probability >= (config.leave if hearing.active else config.enter)
    quiet = hearing.quiet_frames + 1
    level_db, run, active = hearing.level_db, 0, False
    if voiced:
        frame_db, own_db = _frame_db(pcm), _own_level_db(hearing)
        if not _is_below(frame_db, own_db, config.background_db):
            quiet = 0
        voiced = quiet < config.background_frames if hearing.active else quiet == 0
        margin_db = _margin_db(hearing, config, machine_speaks=machine_speaks)
        run = min(hearing.run_frames + 1, config.onset_frames + 2)
        begins = run >= config.onset_frames and not _is_below(frame_db, own_db, margin_db)
        active = voiced and (hearing.active or begins)
        if voiced:
            level_db = _level(level_db, frame_db, hearing.speech_frames)
    onset = active and not hearing.active
    started = hearing.started or active
    silence = 0 if voiced and started else hearing.silence_frames + 1
    frames = (*hearing.frames, pcm)
    if not started:
        frames = frames[-config.preroll_frames :]
    first = onset and not hearing.started
    return (
        replace(
            hearing,
            ear=ear_state,
            probability=probability,
            active=active,
            started=started,
            turn=hearing.turn + 1 if first else hearing.turn,
            onset_frame=index - run + 1 if first else hearing.onset_frame,
            run_frames=run,
            silence_frames=silence if started else 0,
            speech_frames=hearing.speech_frames + (run if first else 1 if voiced and started else 0),
            frames=frames,
            asked_frames=len(frames) if first else hearing.asked_frames,  # there is hardly a word in it yet
            level_db=level_db,
            quiet_frames=quiet,
            aside_frames=hearing.aside_frames and (config.aside_pause_frames if voiced else hearing.aside_frames - 1),
        ),
        onset,
    )


def wants_recognition(
    hearing: Hearing, config: HearingConfig, *, partials: bool = True, machine_speaks: bool = False
) -> bool:
    """Is there something worth reading, given that no reading is under way?

    New speech is; and, while the machine speaks, a pause after speech that was read only while it was going on.
    """
    if not hearing.started or (heard_out(hearing, config) if machine_speaks else hearing.settled):
        return False
    if hearing.silence_frames >= config.pause_frames:
        return True
    least = config.overlap_partial_frames if machine_speaks else config.partial_frames
    grown = min((1 + config.partial_share) * hearing.asked_frames, config.segment_max_frames)
    return partials and len(hearing.frames) >= max(hearing.asked_frames + least, grown)


def heard_out(hearing: Hearing, config: HearingConfig) -> bool:
    """Was the last reading a final one: did it hear a pause behind the last frame of speech?

    Only there are commands looked for, because the beginning of a longer word may sound like one.
    """
    speech_end = len(hearing.frames) - hearing.silence_frames
    return hearing.started and hearing.read_frames >= speech_end + config.pause_frames


def turn_pcm(hearing: Hearing) -> Pcm:
    """The sound of the open segment, pre-roll included."""
    return np.concatenate(hearing.frames) if hearing.frames else np.zeros(0, np.float32)


def recognised(hearing: Hearing, text: str, tokens: tuple[int, ...], config: HearingConfig) -> Hearing:
    """Take the transcript of the sound that was asked about last (`asked_frames`).

    When the segment is long and the user pauses, or it is far too long, it is closed: its text becomes fixed, so the
    cost of reading stays bounded however long the user speaks.
    """
    stable = max(agreed_prefix(hearing.text, text), 0)
    return _close_long(
        replace(hearing, text=text.strip(), stable=stable, tokens=tokens, read_frames=hearing.asked_frames), config
    )


def unreadable(hearing: Hearing, config: HearingConfig) -> Hearing:
    """The sound that was asked about last could not be read.

    It counts as read, so that one bad reading neither blocks the turn nor is tried for ever.
    """
    return _close_long(replace(hearing, read_frames=hearing.asked_frames), config)


def _close_long(read: Hearing, config: HearingConfig) -> Hearing:
    paused = read.settled and read.silence_frames >= config.pause_frames
    if (len(read.frames) >= config.segment_frames and paused) or len(read.frames) >= config.segment_max_frames:
        tail = read.frames[read.asked_frames :]
        return replace(
            read, fixed=read.transcript, text="", stable=0, tokens=(), frames=tail, read_frames=0, asked_frames=0
        )
    return read


def end_turn(hearing: Hearing, config: HearingConfig, *, enrol: bool, aside: bool = False) -> Hearing:
    """Close the turn. `enrol` lets its level inform what is this user's voice and what is the room; `aside`: it was not."""
    level = hearing.user_level_db
    if enrol and hearing.speech_frames * FRAME_SAMPLES > 0 and hearing.level_db > -100.0:
        level = hearing.level_db if level is None else 0.7 * level + 0.3 * hearing.level_db
    return Hearing(
        ear=hearing.ear,
        turn=hearing.turn,
        frames=hearing.frames[-config.preroll_frames :],
        user_level_db=level,
        probability=hearing.probability,
        active=False,
        aside_frames=config.aside_pause_frames if aside else hearing.aside_frames,
    )

"""The sounds of a session: what the machine says, what the user says over it, and what a microphone would pick up of both.

A session at 16 kHz: a marker, silence, replies heard to their end (echo alone), then replies with one interruption each;
the machine does not stop. The echo reaches the microphone `LOOP_S` and the room's delay after the page played the sound.

Axes: N samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, VOICE_RATE_HZ, samples_from_s
from fullduplex.evaluate.clips import Clip, clip_names, load_clip
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.numerics.resample import resample
from fullduplex.speech.voice import Voice

__all__ = ["FAR_S", "LOOP_S", "MARKER_S", "REPLIES", "Interruption", "Loop", "Session", "make_session", "say_replies"]

Pcm = NDArray[np.float32]

MARKER_S = 1.5  # when the marker begins
FAR_S = 3.0  # when the machine's first reply begins to play
LOOP_S = 0.16  # from playing in the page to the loudspeaker, and from the microphone to the page
_MARKER_SAMPLES = 160
_PAUSE_S = 0.8  # between replies
_ALONE = 6  # replies without an interruption
_TAIL_S = 1.0

REPLIES = (
    "The sea covers more than two thirds of our planet, and most of its floor has never been seen by anyone, because it is "
    "dark and deep and very cold down there.",
    "A lighthouse keeper had a simple day. He cleaned the lamp in the morning, slept in the afternoon, and at night he "
    "watched the ships go by until the sun came up.",
    "Whales find each other with songs that travel for hundreds of miles. Each family has a song of its own, and young "
    "whales need several years to learn it.",
    "To make a good soup, begin with onions and a little butter. Let them turn golden before you add the carrots, the "
    "potatoes, and enough water to cover everything.",
    "The first railway ran between two towns in the north of England. People were afraid that the speed would take their "
    "breath away, but they soon bought tickets.",
    "Bees tell each other where flowers are by dancing. The angle of the dance gives the direction, and how long it lasts "
    "says how far away the flowers are.",
    "Mountains grow so slowly that nobody notices. In a year they rise about as much as a fingernail is thick, and the "
    "rain takes most of that away again.",
    "Paper was invented about two thousand years ago. Before that, people wrote on clay, on stone, on the skins of animals, "
    "and on leaves that were pressed together.",
    "The moon always shows us the same face, because it turns around itself once in the time in which it travels once "
    "around the earth.",
    "If you want to learn to play the piano, practise a little every day. Ten minutes in the morning are worth more than "
    "two hours on a Sunday afternoon.",
    "Some trees are older than any building. There are pines in the desert that were already tall when the pyramids were "
    "being planned, and they are still growing.",
    "A good story needs somebody who wants something, and a reason why it is hard to get. Everything else can be found on "
    "the way, while you are telling it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """From the loudspeaker to the microphone. `clips`: the loudspeaker distorts, tanh of three times the sound."""

    gain: float
    clips: bool = False

    @property
    def name(self) -> str:
        """As in the tables."""
        return f"{self.gain:g}, clipping" if self.clips else f"{self.gain:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """What the user says, [start, end) in samples of the session."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Session:
    """One take, all at 16 kHz and of one length.

    `far` lies where the page plays it, `near` is the user alone, `quiet` the user in this room's noise without echo, `mic`
    everything. `alone` is the stretch of echo without a user.
    """

    loop: Loop
    seed: int
    far: Pcm
    near: Pcm
    quiet: Pcm
    mic: Pcm
    alone: tuple[int, int]
    interruptions: tuple[Interruption, ...]


def say_replies(voice: Voice) -> list[Pcm]:
    """Every reply as the machine would say it, at 16 kHz."""
    return [resample(voice.speak(text).pcm_N, VOICE_RATE_HZ, EAR_RATE_HZ) for text in REPLIES]


def make_session(replies: list[Pcm], loop: Loop, seed: int, *, parts: int = 2) -> Session:
    """One of `parts` sessions that share the interruptions of the scenario `interruptions` among them.

    Args:
        replies: (N,) each, 16 kHz.
        loop: the echo's way.
        seed: 0 to parts - 1; also of the room and of the moments of interruption.
        parts: over how many sessions the interruptions are spread.
    """
    clips = [load_clip(name) for name in clip_names("interruption")[seed::parts]]
    generator = np.random.default_rng((seed, 7))
    order = [i for _ in range(4) for i in generator.permutation(len(replies))]
    spoken = [replies[i] for i in order[: _ALONE + len(clips)]]
    starts = _starts([reply.size for reply in spoken])
    length = starts[-1] + samples_from_s(_TAIL_S, EAR_RATE_HZ)
    far, near = np.zeros(length, np.float32), np.zeros(length, np.float32)
    for start, reply in zip(starts, spoken, strict=False):
        far[start : start + reply.size] = reply
    said = [
        _place(near, clip, starts[_ALONE + i] + int(generator.uniform(1.5, 4.0) * EAR_RATE_HZ))
        for i, clip in enumerate(clips)
    ]
    loud = (np.tanh(3 * far) / 3).astype(np.float32) if loop.clips else far
    heard = np.concatenate([np.zeros(samples_from_s(LOOP_S, EAR_RATE_HZ), np.float32), loud])[:length]
    mic, _ = Room.make(RoomConfig(echo_gain=loop.gain, seed=seed)).mix(near, heard)
    quiet, _ = Room.make(RoomConfig(echo_gain=0.0, seed=seed)).mix(near, heard)
    _mark(mic)
    alone = (starts[0], starts[_ALONE] - samples_from_s(_PAUSE_S - LOOP_S, EAR_RATE_HZ))
    return Session(
        loop=loop, seed=seed, far=far, near=near, quiet=quiet, mic=mic, alone=alone, interruptions=tuple(said)
    )


def _starts(sizes: list[int]) -> list[int]:
    """Where each reply begins, and where one more would."""
    pause = samples_from_s(_PAUSE_S, EAR_RATE_HZ)
    return [int(start) for start in np.cumsum([samples_from_s(FAR_S, EAR_RATE_HZ), *(size + pause for size in sizes)])]


def _place(near: Pcm, clip: Clip, start: int) -> Interruption:
    near[start : start + clip.pcm.size] += clip.pcm
    return Interruption(text=clip.text, start=int(start), end=int(start) + clip.pcm.size)


def _mark(mic: Pcm) -> None:
    """Silence before the replies, and in it ten milliseconds of tone by which the takes are aligned."""
    start = samples_from_s(MARKER_S, EAR_RATE_HZ)
    mic[: samples_from_s(FAR_S, EAR_RATE_HZ)] *= 0.1
    tone = 0.5 * np.sin(2 * np.pi * 1000 / EAR_RATE_HZ * np.arange(_MARKER_SAMPLES))
    mic[start : start + _MARKER_SAMPLES] += tone.astype(np.float32)

"""A plan as sound: the committed clips of two voices, laid out to the sample, with echo and noise if wanted.

Axes: N samples at EAR_RATE_HZ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.evaluate.clips import Clip, clip_names, load_clip
from fullduplex.evaluate.generate.plan import DialogueConfig, Line, Plan, plan_dialogue, recording_of
from fullduplex.evaluate.measures import audible_spans
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.evaluate.timing.spans import Recording, Span

__all__ = ["VOICES", "Dialogue", "Sound", "make_dialogue", "render", "voice_of_clips"]

Pcm = NDArray[np.float32]
_FADE_S = 0.005

# The speakers of the committed clips.
VOICES = {"bella": "af_bella", "michael": "am_michael", "emma": "bf_emma", "george": "bm_george"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sound:
    """A line with its sound and where it is audible."""

    line: Line
    pcm_N: Pcm
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialogue:
    """Two tracks and the exact truth about them. `user_N` holds the echo and noise its microphone picks up."""

    plan: Plan
    truth: Recording
    user_N: Pcm
    system_N: Pcm


def voice_of_clips(name: str) -> tuple[Sound, ...]:
    """Everything one speaker of the committed clips says.

    Raises:
        InputError: no such voice. MissingExtraError: soundfile is not installed.
    """
    if name not in VOICES:
        raise InputError(f"no voice {name!r}; there are: {', '.join(VOICES)}")
    clips = [load_clip(clip) for clip in clip_names()]
    mine = [clip for clip in clips if clip.speaker == VOICES[name] and clip.kind != "side_talk"]
    return tuple(_sound(clip) for clip in sorted(mine, key=lambda clip: clip.name))


def _sound(clip: Clip) -> Sound:
    kinds = {"turn": "turn", "backchannel": "backchannel", "interruption": "interruption"}
    line = Line(
        name=clip.name,
        kind=kinds.get(clip.kind, "half"),  # pyright: ignore[reportArgumentType]
        length_s=clip.pcm.size / EAR_RATE_HZ,
        text=clip.text,
    )
    spans = tuple((low / EAR_RATE_HZ, high / EAR_RATE_HZ) for low, high in audible_spans(clip.pcm, bridge_s=0.05))
    return Sound(line=line, pcm_N=clip.pcm, spans=spans)


def render(plan: Plan, voices: tuple[Sequence[Sound], Sequence[Sound]]) -> tuple[Pcm, Pcm]:
    """Both sides, each alone on its track. A line that was cut short fades out over 5 ms."""
    tracks = [np.zeros(samples_from_s(plan.duration_s, EAR_RATE_HZ), np.float32) for _ in range(2)]
    sounds = [{sound.line.name: sound.pcm_N for sound in side} for side in voices]
    fade = samples_from_s(_FADE_S, EAR_RATE_HZ)
    for placed in plan.placed:
        start = samples_from_s(placed.start_s, EAR_RATE_HZ)
        pcm = sounds[placed.side][placed.line.name]
        pcm = pcm[: samples_from_s(placed.end_s - placed.start_s, EAR_RATE_HZ)].copy()
        if placed.cut and pcm.size > fade:
            pcm[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        tracks[placed.side][start : start + pcm.size] += pcm[: tracks[placed.side].size - start]
    return tracks[0], tracks[1]


def make_dialogue(
    name: str,
    *,
    voices: tuple[str, str] = ("bella", "george"),
    config: DialogueConfig | None = None,
    room: RoomConfig | None = None,
    seed: int = 0,
) -> Dialogue:
    """A dialogue of two different voices from the committed clips, with its labels.

    Args:
        name: of the recording.
        voices: (user, system); see VOICES.
        config: how they talk.
        room: echo of the system in the user's microphone, and noise; silence around by default.
        seed: which dialogue.

    Raises:
        InputError: the same voice twice, or no such voice.
    """
    if voices[0] == voices[1]:
        raise InputError(f"both sides are {voices[0]!r}; expected two different voices")
    sounds = (voice_of_clips(voices[0]), voice_of_clips(voices[1]))
    lines = tuple([sound.line for sound in side] for side in sounds)
    plan = plan_dialogue((lines[0], lines[1]), config, seed=seed)
    user, system = render(plan, sounds)
    inner = {sound.line.name: sound.spans for side in sounds for sound in side}
    if room is not None:
        user, _ = Room.make(room).mix(user, system)
    return Dialogue(plan=plan, truth=recording_of(plan, name, inner), user_N=user, system_N=system)

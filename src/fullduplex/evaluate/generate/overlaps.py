"""Test items in the manner of Full-Duplex-Bench v1.5: one question, and four sounds over its answer, beside a clean run.

The sound begins `DELAY_S` after the question's end, when a system should be answering: an interruption or a back-channel
by the same voice, another person talking to somebody else (quieter), or a noise.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.evaluate.clips import NOISES, clip_names, load_clip, noise
from fullduplex.evaluate.generate.render import VOICES, Sound, voice_of_clips
from fullduplex.evaluate.measures import audible_spans
from fullduplex.evaluate.timing.spans import Span

__all__ = ["OVERLAPS", "Overlap", "OverlapStimulus", "overlap_stimuli"]

Pcm = NDArray[np.float32]
Overlap = Literal["clean", "interruption", "backchannel", "side_talk", "noise"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)

DELAY_S, TAIL_S, _LEAD_S, _FAR_DB = 4.0, 10.0, 0.5, -9.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverlapStimulus:
    """What is played. `mark`: the sound over the answer (in a clean run: where it would be); `spans`: all user speech."""

    name: str
    kind: Overlap
    user_N: Pcm
    spans: tuple[Span, ...]
    mark: Span
    question: str
    text: str


def overlap_stimuli(count: int, *, seed: int = 0) -> tuple[OverlapStimulus, ...]:
    """`count` questions, each with a clean run and four sounds over the answer: five stimuli a question.

    Raises:
        InputError: a count below 1. MissingExtraError: soundfile is not installed.
    """
    if count < 1:
        raise InputError(f"count is {count}; expected at least 1")
    draw = np.random.default_rng((seed, 15))
    voices = [voice_of_clips(name) for name in VOICES]
    made: list[OverlapStimulus] = []
    for number in range(count):
        voice = voices[number % len(voices)]
        question = _pick([sound for sound in voice if sound.line.kind == "turn"], draw)
        sounds = _sounds(voice, draw)
        mark_s = max(sound.size for sound, _ in sounds.values()) / EAR_RATE_HZ
        for kind in OVERLAPS:
            sound, text = sounds.get(kind, (np.zeros(0, np.float32), ""))
            length_s = sound.size / EAR_RATE_HZ if sound.size else mark_s
            made.append(_stimulus(f"question-{number:03d}", kind, question, sound, (text, length_s)))
    return tuple(made)


def _pick(sounds: list[Sound], draw: np.random.Generator) -> Sound:
    return sounds[int(draw.integers(len(sounds)))]


def _sounds(voice: tuple[Sound, ...], draw: np.random.Generator) -> dict[Overlap, tuple[Pcm, str]]:
    cut = _pick([sound for sound in voice if sound.line.kind == "interruption"], draw)
    nod = _pick([sound for sound in voice if sound.line.kind == "backchannel"], draw)
    aside = load_clip(clip_names("side_talk")[int(draw.integers(len(clip_names("side_talk"))))])
    kind = NOISES[int(draw.integers(len(NOISES)))]
    return {
        "interruption": (cut.pcm_N, cut.line.text),
        "backchannel": (nod.pcm_N, nod.line.text),
        "side_talk": ((aside.pcm * 10 ** (_FAR_DB / 20)).astype(np.float32), aside.text),
        "noise": (noise(kind, seed=int(draw.integers(1000))), f"({kind})"),
    }


def _stimulus(name: str, kind: Overlap, question: Sound, sound: Pcm, said: tuple[str, float]) -> OverlapStimulus:
    text, length_s = said
    end_s = _LEAD_S + question.pcm_N.size / EAR_RATE_HZ
    mark = (end_s + DELAY_S, end_s + DELAY_S + length_s)
    user = np.zeros(samples_from_s(mark[0] + max(length_s, 3.0) + TAIL_S, EAR_RATE_HZ), np.float32)
    for start_s, pcm in ((_LEAD_S, question.pcm_N), (mark[0], sound)):
        start = samples_from_s(start_s, EAR_RATE_HZ)
        user[start : start + pcm.size] += pcm
    spans = [(_LEAD_S + low, _LEAD_S + high) for low, high in question.spans]
    if kind not in ("clean", "noise"):
        heard = audible_spans(sound, bridge_s=0.05)
        spans += [(mark[0] + low / EAR_RATE_HZ, mark[0] + high / EAR_RATE_HZ) for low, high in heard]
    return OverlapStimulus(
        name=name,
        kind=kind,
        user_N=user,
        spans=tuple(spans),
        mark=mark,
        question=question.line.text,
        text=text,
    )

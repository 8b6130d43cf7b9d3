"""Voices: text to sound with the place of every word in it.

The place of a word is what lets an interrupted machine know how much of its sentence was heard.

Axes: N samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fullduplex.base.errors import InputError
from fullduplex.base.units import VOICE_RATE_HZ, samples_from_s
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import Pcm, as_pcm, fade, rms
from fullduplex.speech.english.words import spoken

__all__ = [
    "MAX_TEXT_CHARS",
    "Joint",
    "Speech",
    "TimedWord",
    "ToneVoice",
    "Voice",
    "VoiceInPieces",
    "WordSpan",
    "check_text",
    "finish",
    "finish_beginning",
    "finish_rest",
]

MAX_TEXT_CHARS = 600  # a voice reads a clause or a few sentences; a story must be cut, or nothing is heard for long
_FADE_S = 0.005
_LEVEL = 0.1  # -20 dBFS
_PEAK = 0.97
_UNITY = np.float32(1.0)
_LEAD_S = 0.01  # kept before the first sound
_TAIL_S = 0.06
_MARGIN_S = 0.015  # kept back at the end of a beginning: the fade, and what the resampler does at an edge
_GLIDE_S = 0.1  # from the level of the beginning to that of the whole


@dataclass(frozen=True, slots=True)
class WordSpan:
    """Where a written word lies in the sound: [start, end) in samples at `VOICE_RATE_HZ`; empty for a silent word."""

    text: str
    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True)
class Speech:
    """Sound at `VOICE_RATE_HZ` and its words, in order, without overlap."""

    pcm_N: Pcm
    words: tuple[WordSpan, ...]


class Voice(Protocol):
    """Text to speech, one clause at a time."""

    def speak(self, text: str) -> Speech:
        """`text` as sound; silent (N = 0) when nothing in it can be said."""
        ...


@runtime_checkable
class VoiceInPieces(Voice, Protocol):
    """A voice that hands over the beginning of a clause before it has made the rest."""

    def pieces(self, text: str) -> Iterator[tuple[Speech, bool]]:
        """(the sound that follows and all words of the clause, whether it is the last piece), the last possibly empty."""
        ...


@dataclass(frozen=True, slots=True)
class Joint:
    """Where a beginning ends: samples cut off before it (at the voice's rate), samples handed over, their gain."""

    trimmed: int
    given: int
    gain: np.float32


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A written word with its start and end in seconds of the raw sound."""

    text: str
    start_s: float
    end_s: float


class ToneVoice:
    """A voice that needs no model: one soft tone a word, as long as the word would take. Deterministic.

    The last fallback, and a stand-in in tests: 80 ms and 55 ms a letter for a word, a fifth of a second for a stop.
    """

    def speak(self, text: str) -> Speech:
        """`text` as tones. Raises: InputError when it is too long or no text."""
        pieces: list[Pcm] = []
        words: list[TimedWord] = []
        at_s = 0.0
        for item in spoken(check_text(text)):
            said = " ".join(item.words)
            length_s = 0.08 + 0.055 * len(said) if said else 0.0
            words.append(TimedWord(item.text, at_s, at_s + length_s))
            gap_s = (0.2 if item.pause else 0.03) if said else 0.0
            pieces += [_tone(said, length_s), np.zeros(samples_from_s(gap_s, VOICE_RATE_HZ), np.float32)]
            at_s += (pieces[-2].size + pieces[-1].size) / VOICE_RATE_HZ
        pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return finish(pcm, VOICE_RATE_HZ, words)


def check_text(text: str) -> str:
    """`text` when a voice can take it. Raises: InputError for another type or more than `MAX_TEXT_CHARS`."""
    if not isinstance(text, str):
        raise InputError(f"text is {type(text).__name__}; expected str")
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"text has {len(text)} characters; expected at most {MAX_TEXT_CHARS}: cut it into clauses")
    return text


def finish(pcm: Pcm, rate_hz: int, words: Sequence[TimedWord]) -> Speech:
    """Raw sound to `Speech`: silence trimmed at both ends, -20 dBFS while it speaks, faded, at `VOICE_RATE_HZ`.

    Args:
        pcm: (N,) at `rate_hz`, N may be 0.
        words: in order, in seconds of `pcm`.
    """
    pcm = as_pcm(pcm, allow_empty=True)
    if pcm.size == 0 or not pcm.any():
        return Speech(np.zeros(0, np.float32), tuple(WordSpan(word.text, 0, 0) for word in words))
    start, end = _sounding(pcm, rate_hz)
    out = _raw(pcm[start:end], rate_hz)
    return Speech(out * _gain(out), _spans(words, start / rate_hz, out.size))


def finish_beginning(pcm: Pcm, rate_hz: int, words: Sequence[TimedWord]) -> tuple[Speech, Joint]:
    """As `finish`, of sound that goes on: no silence is trimmed behind it, its last 15 ms are kept back.

    Args:
        pcm: (N,) at `rate_hz`, the first samples of a clause.
        words: of the whole clause, in seconds of its raw sound.
    """
    pcm = as_pcm(pcm, allow_empty=True)
    if not pcm.any():
        return Speech(np.zeros(0, np.float32), tuple(WordSpan(word.text, 0, 0) for word in words)), Joint(0, 0, _UNITY)
    start, _ = _sounding(pcm, rate_hz)
    out = _raw(pcm[start:], rate_hz)
    out = out[: max(0, out.size - samples_from_s(_MARGIN_S, VOICE_RATE_HZ))]
    gain = _gain(out) if out.any() else _UNITY
    end = samples_from_s(max((word.end_s for word in words), default=0.0), VOICE_RATE_HZ)
    return Speech(out * gain, _spans(words, start / rate_hz, end)), Joint(start, out.size, gain)


def finish_rest(pcm: Pcm, rate_hz: int, words: Sequence[TimedWord], joint: Joint) -> Speech:
    """The rest of a clause whose beginning `finish_beginning` made, at the level of the whole: no click, no sample lost.

    Args:
        pcm: (N,) at `rate_hz`, the whole clause, beginning included.
        words: in seconds of `pcm`; their places in the result count from the start of the clause.
        joint: what `finish_beginning` returned.
    """
    if joint.given == 0:
        return finish(pcm, rate_hz, words)
    pcm = as_pcm(pcm)
    out = _raw(pcm[joint.trimmed : _sounding(pcm, rate_hz)[1]], rate_hz)
    rest = out[joint.given :]
    glide = np.minimum(np.arange(rest.size, dtype=np.float32) / samples_from_s(_GLIDE_S, VOICE_RATE_HZ), 1.0)
    gains = joint.gain + (_gain(out) - joint.gain) * glide
    heard = np.clip(rest * gains, -_PEAK, _PEAK).astype(np.float32)
    return Speech(heard, _spans(words, joint.trimmed / rate_hz, max(out.size, joint.given)))


def _raw(pcm: Pcm, rate_hz: int) -> Pcm:
    """`pcm` at `VOICE_RATE_HZ`, faded at both ends."""
    out = pcm if rate_hz == VOICE_RATE_HZ else resample(pcm, rate_hz, VOICE_RATE_HZ)
    return fade(out, samples_from_s(_FADE_S, VOICE_RATE_HZ))


def _spans(words: Sequence[TimedWord], trimmed_s: float, size: int) -> tuple[WordSpan, ...]:
    """Words keep their order and stay inside the sound, whatever was trimmed."""
    spans: list[WordSpan] = []
    last = 0
    for word in words:
        first = min(max(last, samples_from_s(word.start_s - trimmed_s, VOICE_RATE_HZ)), size)
        last = min(max(first, samples_from_s(word.end_s - trimmed_s, VOICE_RATE_HZ)), size)
        spans.append(WordSpan(word.text, first, last))
    return tuple(spans)


def _sounding(pcm: Pcm, rate_hz: int) -> tuple[int, int]:
    """From just before the first sound to just after the last: samples within 40 dB of the loudest 10 ms."""
    hop = max(1, rate_hz // 200)
    usable = pcm[: pcm.size // hop * hop] if pcm.size >= hop else np.pad(pcm, (0, hop - pcm.size))
    power = np.square(usable.reshape(-1, hop), dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-4)
    start = loud[0] * hop - samples_from_s(_LEAD_S, rate_hz)
    end = (loud[-1] + 1) * hop + samples_from_s(_TAIL_S, rate_hz)
    return max(0, int(start)), min(pcm.size, int(end))


def _gain(pcm: Pcm) -> np.float32:
    """What brings the loud parts of `pcm` to -20 dBFS (pauses do not count), less where a peak would clip."""
    width = samples_from_s(0.02, VOICE_RATE_HZ)
    loud = rms(pcm)
    if pcm.size >= 2 * width:
        power = np.square(sliding_window_view(pcm, width)[::width], dtype=np.float64).mean(axis=1)
        loud = float(np.sqrt(power[power > power.max() * 1e-2].mean()))
    peak = float(np.abs(pcm).max())
    return np.float32(min(_LEVEL / max(loud, 1e-6), _PEAK / max(peak, 1e-6)))


def _tone(said: str, length_s: float) -> Pcm:
    """A soft tone whose pitch depends on the word: two words are told apart."""
    pitch_hz = 220.0 * 2 ** ((sum(map(ord, said)) % 12) / 12)
    time_s = np.arange(samples_from_s(length_s, VOICE_RATE_HZ)) / VOICE_RATE_HZ
    tone = (0.15 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)
    return fade(tone, samples_from_s(0.01, VOICE_RATE_HZ))

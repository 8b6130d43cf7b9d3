"""Sound to timestamps: a detector finds the speech, a recogniser the words, and `evaluate` never sees either.

The recogniser here gives words without times. They are spread over the detected speech in proportion to their letters:
the first begins where the speech begins and the last ends where it ends, which is all that the takeover rules read.

Axes: N samples at EAR_RATE_HZ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.assets import store
from fullduplex.base.errors import FormatError, InputError, PortError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, FRAME_SAMPLES
from fullduplex.dialogue.ports import Pcm
from fullduplex.evaluate.timing.spans import Recording, Side, Span, Word, merged, total_s
from fullduplex.recipes.sound_files import read_mono
from fullduplex.speech.recogniser import Moonshine, Recogniser
from fullduplex.speech.vad import SileroVad

__all__ = ["HearConfig", "Hearer", "item_sound", "open_hearer", "speech_spans", "spread_words"]

_MAX_READ_S = 19.0
_MERGE_S = 0.6
_FAILURES = (InputError, PortError)


@dataclass(frozen=True, slots=True, kw_only=True)
class HearConfig:
    """When frames are speech: the values that Silero's own `get_speech_timestamps` starts from.

    Speech begins at a probability of `start`, ends when it has stayed below `end` for `silence_s`; what is shorter than
    `speech_s` is none; every span grows by `pad_s` on both sides.
    """

    start: float = 0.5
    end: float = 0.35
    silence_s: float = 0.1
    speech_s: float = 0.25
    pad_s: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.end <= self.start < 1:
            raise InputError(f"end is {self.end}, start {self.start}; expected 0 < end <= start < 1")


def speech_spans(pcm_N: Pcm, ear: Any, config: HearConfig | None = None) -> tuple[Span, ...]:
    """Where `ear` (a streaming detector of 512-sample frames) hears speech."""
    config = config or HearConfig()
    padded = np.pad(pcm_N.astype(np.float32, copy=False), (0, -pcm_N.size % FRAME_SAMPLES))
    state = ear.init()
    spans: list[Span] = []
    start: int | None = None
    last = 0  # frame after the last one that was speech
    for frame in range(padded.size // FRAME_SAMPLES):
        probability, state = ear.step(padded[frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES], state)
        if probability >= (config.start if start is None else config.end):
            start = frame if start is None else start
            last = frame + 1
        elif start is not None and (frame + 1 - last) * FRAME_S >= config.silence_s:
            spans.append((start * FRAME_S, last * FRAME_S))
            start = None
    if start is not None:
        spans.append((start * FRAME_S, last * FRAME_S))
    length_s = pcm_N.size / EAR_RATE_HZ
    long = [(low, high) for low, high in spans if high - low >= config.speech_s]
    grown = [(max(low - config.pad_s, 0.0), min(high + config.pad_s, length_s)) for low, high in long]
    return merged(span for span in grown if span[0] < span[1])


def spread_words(text: str, spans: Sequence[Span]) -> tuple[Word, ...]:
    """The words of `text` over `spans`, each as long as its share of the letters; none when there is no span."""
    words = text.split()
    if not words or not spans:
        return ()
    weights = np.cumsum([0.0, *(len(word) + 1.0 for word in words)])
    at_s = weights / weights[-1] * total_s(spans)
    placed: list[Word] = []
    for word, low, high in zip(words, at_s[:-1], at_s[1:], strict=True):
        placed.append(Word(word, _moment(spans, float(low), ends=False), _moment(spans, float(high), ends=True)))
    return tuple(placed)


def _moment(spans: Sequence[Span], speech_s: float, *, ends: bool) -> float:
    """When `speech_s` seconds of speech had passed; at an edge, the end of one span or the start of the next."""
    left = speech_s
    for start, end in spans:
        if left < end - start - 1e-9 or (ends and left <= end - start + 1e-9):
            return start + left
        left -= end - start
    return spans[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearer:
    """An ear and, if words are wanted, a recogniser."""

    ear: Any
    recogniser: Recogniser | None = None
    config: HearConfig = HearConfig()

    def side(self, pcm_N: Pcm) -> Side:
        """Spans and words of one track."""
        spans = speech_spans(pcm_N, self.ear, self.config)
        words: list[Word] = []
        for group in _groups(spans) if self.recogniser is not None else []:
            words += self._words(pcm_N, group)
        return Side(spans=spans, words=tuple(words))

    def recording(self, name: str, user_N: Pcm, system_N: Pcm) -> Recording:
        """Both tracks; the shorter one is silent at its end."""
        duration_s = max(user_N.size, system_N.size) / EAR_RATE_HZ
        return Recording(name=name, user=self.side(user_N), system=self.side(system_N), duration_s=duration_s)

    def files(self, name: str, sound: Path, other: Path | None = None) -> Recording:
        """A stereo file (user left, system right), or two files (user, system).

        Raises:
            FormatError: one file that is not stereo, or a file that cannot be read.
        """
        if other is not None:
            return self.recording(name, read_mono(sound), read_mono(other))
        try:
            return self.recording(name, read_mono(sound, channel=0), read_mono(sound, channel=1))
        except InputError as error:
            raise FormatError(f"{sound}: expected user left and system right, or two files ({error})") from error

    def _words(self, pcm_N: Pcm, group: list[Span]) -> tuple[Word, ...]:
        low, high = (round(time * EAR_RATE_HZ) for time in (group[0][0], group[-1][1]))
        assert self.recogniser is not None
        try:
            heard = self.recogniser.recognise(np.ascontiguousarray(pcm_N[low:high], np.float32))
        except _FAILURES as error:
            raise PortError(f"the recogniser failed on {group[0][0]:.2f} to {group[-1][1]:.2f} s: {error}") from error
        return spread_words(heard.text, group)


def open_hearer(*, words: bool = True) -> Hearer:
    """Silero and, if words are wanted, Moonshine tiny.

    Raises:
        AssetError: one of them is not installed; the message says how to get it. MissingExtraError: onnxruntime is not.
    """
    ear = SileroVad(store.path("silero-vad", "silero_vad.onnx"))
    if not words:
        return Hearer(ear=ear)
    folder = store.path("moonshine-tiny-en")
    names = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.json")
    return Hearer(ear=ear, recogniser=Moonshine(*(folder / name for name in names)))


def _groups(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans that are read together: close to one another, and no longer than the recogniser takes."""
    groups: list[list[Span]] = []
    for span in _short_enough(spans):
        close = groups and span[0] - groups[-1][-1][1] <= _MERGE_S
        if close and span[1] - groups[-1][0][0] <= _MAX_READ_S:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _short_enough(spans: Sequence[Span]) -> list[Span]:
    cut: list[Span] = []
    for start, end in spans:
        pieces = int((end - start) / _MAX_READ_S) + 1
        edges = np.linspace(start, end, pieces + 1).tolist()
        cut += list(pairwise(edges))
    return cut


def item_sound(hearer: Hearer) -> Callable[[Path], Recording]:
    """Listens to an item folder: `conversation.wav` (user left, system right), or `input.wav` and `output.wav`."""

    def hear(folder: Path) -> Recording:
        if (folder / "conversation.wav").is_file():
            return hearer.files(folder.name, folder / "conversation.wav")
        if (folder / "output.wav").is_file() and (folder / "input.wav").is_file():
            return hearer.files(folder.name, folder / "input.wav", folder / "output.wav")
        raise FormatError(f"{folder} has neither timestamps nor conversation.wav nor input.wav and output.wav")

    return hear

"""Ports without models: speech is amplitude, and every word has its own.

A word is `WORD_FRAMES` frames of constant amplitude 0.1 + 0.0005 * (its number in the vocabulary); silence is 0. The fake
recogniser and the fake voice read and write that code, so what was said and what was heard can be checked exactly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES, VOICE_RATE_HZ
from fullduplex.dialogue import ports
from fullduplex.dialogue.listening.transcript import words_of

WORD_FRAMES = 6
_STEP = 0.0005


class Vocabulary:
    """Words by number, growing as they are met."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def amplitude(self, word: str) -> float:
        if word not in self.words:
            self.words.append(word)
        return 0.1 + _STEP * self.words.index(word)

    def word(self, amplitude: float) -> str:
        return self.words[round((amplitude - 0.1) / _STEP)]


VOCABULARY = Vocabulary()


def say(text: str, *, rate_hz: int = EAR_RATE_HZ) -> np.ndarray:
    """The sound of `text`; "..." is a pause of half a second, a space nothing."""
    pieces: list[np.ndarray] = []
    word_samples = WORD_FRAMES * FRAME_SAMPLES * rate_hz // EAR_RATE_HZ
    for token in text.split():
        if token == "...":
            pieces.append(np.zeros(rate_hz // 2, np.float32))
        else:
            pieces.append(np.full(word_samples, VOCABULARY.amplitude(token), np.float32))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * EAR_RATE_HZ), np.float32)


def read(pcm: np.ndarray, *, rate_hz: int = EAR_RATE_HZ) -> str:
    """The words in a sound; words heard for less than half their length do not count."""
    word_samples = WORD_FRAMES * FRAME_SAMPLES * rate_hz // EAR_RATE_HZ
    values = np.round(pcm.astype(np.float64), 5)
    edges = np.flatnonzero(np.diff(values)) + 1
    words: list[str] = []
    for run in np.split(values, edges):
        count = round(run.size / word_samples) if run.size and run[0] > 0.05 else 0
        if count:
            words += [VOCABULARY.word(float(run[0]))] * count
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class FakeEar:
    """Speech is whatever is louder than 0.05."""

    def init(self) -> int:
        return 0

    def step(self, pcm: ports.Pcm, state: int) -> tuple[float, int]:
        return (0.99 if float(np.add.reduce(np.abs(pcm))) > 0.05 * pcm.size else 0.01), state + 1


class FakePorts:
    """Answers every request at once; `replies` maps the last user message to what the machine says."""

    def __init__(self, replies: dict[str, str] | None = None, *, default: str = "here is a long answer to you") -> None:
        self.replies = replies or {}
        self.default = default
        self.fail: set[str] = set()
        self.prompts: list[tuple[ports.Request, str]] = []
        self.voiced: list[str] = []
        self.sound_end = 0.95
        self.in_pieces = True  # the first clause of a reply comes in two

    def run(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        ticket = request.ticket
        if ports.LANES[type(request)] in self.fail:
            yield ports.Failed(ticket=ticket, message="broken on purpose")
            return
        if isinstance(request, ports.Recognise):
            yield ports.Recognised(ticket=ticket, text=read(request.pcm), tokens=())
        elif isinstance(request, ports.JudgeEnd):
            yield ports.EndJudged(ticket=ticket, probability=self.sound_end)
        elif isinstance(request, ports.Prefill):
            yield ports.Prefilled(ticket=ticket)
        elif isinstance(request, ports.ScoreEnd):
            unfinished = request.messages[-1].text.split()[-1:] in (["and"], ["the"], ["because"], ["me"])
            yield ports.EndScored(ticket=ticket, probability=0.02 if unfinished else 0.9)
        elif isinstance(request, ports.Generate):
            user = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
            self.prompts.append((request, user))
            begun = request.messages[-1].text.split() if request.messages[-1].role == "assistant" else []
            words = self.replies.get(user, self.default).split()[len(begun) :]
            for word in words[: request.sampling.max_tokens]:
                if cancelled():
                    return
                yield ports.Generated(ticket=ticket, text=word + " ", done=False)
            yield ports.Generated(ticket=ticket, text="", done=True)
        else:
            self.voiced.append(request.text)
            words = request.text.split()
            pcm = say(" ".join(w for word in words for w in words_of(word)), rate_hz=VOICE_RATE_HZ)
            size = pcm.size // max(len(words), 1)
            spans = tuple(ports.WordSpan(word, i * size, (i + 1) * size) for i, word in enumerate(words))
            cut = pcm.size // 3 if self.in_pieces and request.urgent else 0
            if cut:
                yield ports.Synthesised(ticket=ticket, pcm=pcm[:cut], words=spans, done=False)
            yield ports.Synthesised(ticket=ticket, pcm=pcm[cut:], words=spans, start=cut)

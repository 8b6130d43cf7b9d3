"""Real models behind the dialogue core's requests: which function answers which request.

`Ports.run(request, cancelled)` is a generator of results; it is called on a lane, never on an event loop.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue import ports
from fullduplex.lm.brain import Brain
from fullduplex.speech.commands import CommandConfig, prefer_command
from fullduplex.speech.recogniser import Moonshine, Recogniser
from fullduplex.speech.turn_end import SmartTurn
from fullduplex.speech.voice import Voice, VoiceInPieces

__all__ = ["Ports"]

_MAX_READ_SAMPLES = 20 * EAR_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What answers. `key` names the conversation to the brain, whose cache many conversations share."""

    recogniser: Recogniser | None
    turn_end: SmartTurn | None
    brain: Brain
    voice: Voice
    key: str = "solo"
    commands: CommandConfig = CommandConfig()

    def run(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        """Answer one request; every exception of a model becomes one `Failed`."""
        try:
            yield from self._answer(request, cancelled)
        except Exception as error:  # noqa: BLE001 - a model may fail in any way; the conversation must go on
            yield ports.Failed(ticket=request.ticket, message=f"{type(error).__name__}: {error}")

    def _answer(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        ticket = request.ticket
        match request:
            case ports.Recognise():
                yield self._recognise(request)
            case ports.JudgeEnd():
                probability = 0.5 if self.turn_end is None else self.turn_end.judge(request.pcm)
                yield ports.EndJudged(ticket=ticket, probability=probability)
            case ports.Prefill():
                self.brain.prefill(request.messages, key=self.key, cancelled=cancelled)
                yield ports.Prefilled(ticket=ticket)
            case ports.ScoreEnd():
                probability = self.brain.end_probability(
                    request.messages, key=self.key, ahead=request.ahead, cancelled=cancelled
                )
                yield ports.EndScored(ticket=ticket, probability=probability)
            case ports.Generate():
                for piece in self.brain.stream(request.messages, request.sampling, key=self.key, cancelled=cancelled):
                    yield ports.Generated(ticket=ticket, text=piece, done=False)
                yield ports.Generated(ticket=ticket, text="", done=True)
            case ports.Synthesise():
                yield from self._speak(request)

    def _speak(self, request: ports.Synthesise) -> Iterator[ports.Synthesised]:
        """A clause somebody waits for comes in pieces, where the voice can; any other at once, which costs less."""
        if request.urgent and isinstance(self.voice, VoiceInPieces):
            pieces = self.voice.pieces(request.text)
        else:
            pieces = iter([(self.voice.speak(request.text), True)])
        start = 0
        for speech, done in pieces:
            words = tuple(ports.WordSpan(w.text, w.start_samples, w.end_samples) for w in speech.words)
            yield ports.Synthesised(ticket=request.ticket, pcm=speech.pcm_N, words=words, start=start, done=done)
            start += speech.pcm_N.size

    def _recognise(self, request: ports.Recognise) -> ports.Recognised:
        if self.recogniser is None:
            return ports.Recognised(ticket=request.ticket, text="")
        pcm = np.ascontiguousarray(request.pcm[-_MAX_READ_SAMPLES:])
        hypothesis = self.recogniser.recognise(pcm, request.draft)
        if request.final and isinstance(self.recogniser, Moonshine):
            hypothesis = prefer_command(self.recogniser, pcm, hypothesis, self.commands)
        # Moonshine now and then puts a whole sentence into quotation marks; they mislead the brain.
        text = hypothesis.text.strip(" \"'“”‘")
        return ports.Recognised(ticket=request.ticket, text=text, tokens=hypothesis.tokens)

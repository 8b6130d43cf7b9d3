"""Our recogniser, brain and voice as pipecat services: the same models on the same threads, nothing in between.

Each follows pipecat's own service for the same kind of model: `MoonshineSTTService` (segments as raw PCM, work in a
thread), `OLLamaLLMService` (developer messages become the user's) and `PiperTTSService` (sentences, work in a thread).
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.utils.time import time_now_iso8601

from fullduplex.base.chat import Message
from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, VOICE_RATE_HZ
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.dialogue.history import History, Item, messages_of
from fullduplex.dialogue.listening.hearing import HearingConfig
from fullduplex.lm.brain import Brain
from fullduplex.speech.recogniser import MAX_AUDIO_S, Hypothesis, Recogniser
from fullduplex.speech.voice import Voice

__all__ = ["BrainService", "RecogniserService", "VoiceService"]

_MAX_READ_SAMPLES = int(MAX_AUDIO_S * EAR_RATE_HZ)
_PARTIAL_S = HearingConfig().overlap_partial_frames * FRAME_S  # as often as our own session reads over its speech


class RecogniserService(SegmentedSTTService):
    """A recogniser that reads a segment once the user has stopped, and with `interim` also while the user speaks.

    `ttfs_s`: from the end of the user's speech to the transcript, of every segment.
    """

    def __init__(self, recogniser: Recogniser, *, ttfs_p99_s: float, interim: bool) -> None:
        settings = STTSettings(model="moonshine-tiny", language=None)
        super().__init__(sample_rate=EAR_RATE_HZ, ttfs_p99_latency=ttfs_p99_s, settings=settings)
        self._recogniser = recogniser
        self._interim = interim
        self._lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recogniser")
        self._speech_ended = 0.0
        self._partial: asyncio.Task[None] | None = None
        self._partial_bytes = 0
        self._draft: tuple[int, ...] = ()
        self.ttfs_s: list[float] = []
        self.transcripts: list[str] = []

    @property
    def wants_wav_segments(self) -> bool:
        """Raw 16-bit PCM."""
        return False

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        """The transcript of one segment."""
        ended = self._speech_ended
        heard = await self._recognise(audio, self._draft)
        self._draft = ()
        self.ttfs_s.append(time.time() - ended)
        self.transcripts.append(heard.text)
        if heard.text:
            yield TranscriptionFrame(heard.text, self._user_id, time_now_iso8601())

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note when the user's speech began and ended."""
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._draft, self._partial_bytes = (), 0
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._speech_ended = frame.timestamp - frame.stop_secs
        await super().process_frame(frame, direction)

    async def process_audio_frame(self, frame: InputAudioRawFrame, direction: FrameDirection) -> None:
        """Keep the sound; read what there is of it from time to time."""
        await super().process_audio_frame(frame, direction)
        if not (self._interim and self._user_speaking):
            return
        due = len(self._audio_buffer) - self._partial_bytes >= _PARTIAL_S * EAR_RATE_HZ * 2
        if due and (self._partial is None or self._partial.done()):
            self._partial_bytes = len(self._audio_buffer)
            self._partial = self.create_task(self._read_partial(bytes(self._audio_buffer)))

    async def _read_partial(self, audio: bytes) -> None:
        heard = await self._recognise(audio, self._draft)
        if self._user_speaking and heard.text:  # never behind the final transcript
            self._draft = heard.tokens
            await self.push_frame(InterimTranscriptionFrame(heard.text, self._user_id, time_now_iso8601()))

    async def _recognise(self, audio: bytes, draft: tuple[int, ...]) -> Hypothesis:
        pcm = np.frombuffer(audio, np.int16).astype(np.float32)[-_MAX_READ_SAMPLES:] / 32768.0
        return await asyncio.get_running_loop().run_in_executor(self._lane, self._recogniser.recognise, pcm, draft)


class BrainService(LLMService):
    """A brain in this process; text comes piece by piece, and an interruption stops it between two tokens.

    Of pipecat's context it is shown as much as our own session would show it (`memory_words`): without a limit a long
    conversation outgrows the cache, and every turn begins with reading all of it again.
    """

    def __init__(self, brain: Brain, config: SessionConfig, *, key: str) -> None:
        none = dict.fromkeys(
            ("temperature", "max_tokens", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
        )
        flags: dict[str, Any] = {"filter_incomplete_user_turns": False, "user_turn_completion_config": None}
        super().__init__(settings=LLMSettings(model="brain", system_instruction=config.system, **none, **flags))
        self._brain = brain
        self._config = config
        self._key = key
        self._lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix="brain")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; pass everything else on."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        try:
            await self.push_frame(LLMFullResponseStartFrame())
            async for piece in self._pieces(self._messages(frame.context)):
                await self._push_llm_text(piece)
        finally:
            await self.push_frame(LLMFullResponseEndFrame())

    def _messages(self, context: LLMContext) -> tuple[Message, ...]:
        items = tuple(
            Item(role="assistant" if message["role"] == "assistant" else "user", text=str(message["content"]))
            for message in context.get_messages()
        )
        config = self._config
        return messages_of(History(system=config.system, memory_words=config.memory_words, items=items))

    async def _pieces(self, messages: tuple[Message, ...]) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        cancelled = threading.Event()
        stream = self._brain.stream

        def answer() -> None:
            last: Exception | None = None
            try:
                for piece in stream(messages, self._config.sampling, key=self._key, cancelled=cancelled.is_set):
                    loop.call_soon_threadsafe(arrived.put_nowait, piece)
            except Exception as error:  # noqa: BLE001 - raised again on the event loop
                last = error
            loop.call_soon_threadsafe(arrived.put_nowait, last)

        self._lane.submit(answer)
        try:
            while (piece := await arrived.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            cancelled.set()


class VoiceService(TTSService):
    """A voice in this process, one sentence at a time (pipecat's default aggregation), with the times of its words.

    With word times an interrupted reply enters pipecat's context as far as it was heard, as it does in our session.
    """

    def __init__(self, voice: Voice) -> None:
        super().__init__(
            push_text_frames=False,
            push_start_frame=True,
            push_stop_frames=True,
            max_consecutive_zero_audio_contexts=0,
            sample_rate=VOICE_RATE_HZ,
            settings=TTSSettings(model=None, voice=None, language=None),
        )
        self._voice = voice
        self._lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")
        self._said = ("", 0)  # a context, and its samples so far: word times count from the beginning of a context

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """The sound of one sentence."""
        loop = asyncio.get_running_loop()
        speech = await loop.run_in_executor(self._lane, self._voice.speak, text)
        before = self._said[1] if self._said[0] == context_id else 0
        self._said = (context_id, before + speech.pcm_N.size)
        if speech.pcm_N.size:
            sound = (np.clip(speech.pcm_N, -1.0, 1.0) * 32767.0).astype(np.int16).tobytes()
            yield TTSAudioRawFrame(sound, VOICE_RATE_HZ, 1, context_id=context_id)
        times_s = [(word.text, (before + word.start_samples) / VOICE_RATE_HZ) for word in speech.words]
        await self.add_word_timestamps(times_s, context_id)

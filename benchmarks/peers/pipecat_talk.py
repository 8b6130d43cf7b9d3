"""The same caller talks to a pipecat pipeline that has our recogniser, brain and voice. See README.md beside this file.

Run it in an environment with the extras `talk` and `peers`:
    python benchmarks/peers/pipecat_talk.py --scenario latency --seed 0 --variant default --json
"""

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_start import MinWordsUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from pipecat_device import Device
from pipecat_services import BrainService, RecogniserService, VoiceService

from fullduplex.base.chat import Message
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.evaluate.measures import ActOutcome, outcomes, summary
from fullduplex.evaluate.room import RoomConfig
from fullduplex.evaluate.scenarios import SCENARIOS, scenario
from fullduplex.recipes.parts import BRAINS, Parts, PartsConfig, open_parts

VARIANTS = ("default", "default-interim", "min-words", "min-words-interim")
_MIN_WORDS = 3
KEY = "peer"
_OURS_ONLY = ("repeated_words", "missing_words", "repeated_s", "missing_s", "stale_s", "step_ms_p99")


class MicrophoneInput(BaseInputTransport):
    """Brings the device's microphone into the pipeline."""

    def __init__(self, params: TransportParams, ready: asyncio.Event) -> None:
        super().__init__(params)
        self._ready = ready

    async def start(self, frame: StartFrame) -> None:
        """Take sound from now on."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._ready.set()

    def send(self, pcm: bytes) -> None:
        """20 ms of microphone, from the device's thread, as pipecat's local audio transport does it."""
        frame = InputAudioRawFrame(audio=pcm, sample_rate=EAR_RATE_HZ, num_channels=1)
        asyncio.run_coroutine_threadsafe(self.push_audio_frame(frame), self.get_event_loop())


class LoudspeakerOutput(BaseOutputTransport):
    """Plays the pipeline's sound on the device, and tells it when a reply is over."""

    def __init__(self, params: TransportParams, device: Device, ready: asyncio.Event) -> None:
        super().__init__(params)
        self._device = device
        self._ready = ready

    async def start(self, frame: StartFrame) -> None:
        """Play sound from now on."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._ready.set()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Queue sound and wait until it has been taken."""
        return await self._device.write(np.frombuffer(frame.audio, np.int16))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """An interruption cuts the reply that is being said."""
        if isinstance(frame, InterruptionFrame):
            self._device.end_reply(complete=False)
        await super().process_frame(frame, direction)

    async def push_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        """The base class passes the end of speech on once all the sound before it has been written."""
        if isinstance(frame, TTSStoppedFrame):
            self._device.end_reply(complete=True)
        await super().push_frame(frame, direction)


def _user_params(variant: str) -> LLMUserAggregatorParams:
    if variant.startswith("default"):
        return LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    strategies = UserTurnStrategies(start=[MinWordsUserTurnStartStrategy(min_words=_MIN_WORDS)])
    return LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=strategies)


def _warm_up(parts: Parts, config: SessionConfig) -> None:
    """First calls are slow; the brain reads the system message, as in pipecat's examples, where the bot speaks first."""
    assert parts.recogniser is not None
    parts.recogniser.recognise(parts.voice.speak("Good morning.").pcm_N)
    parts.brain.prefill((Message("system", config.system),), key=KEY)


async def talk(parts: Parts, device: Device, variant: str, ttfs_p99_s: float) -> dict[str, Any]:
    """Hold the conversation; returns what the pipeline tells of itself."""
    config = SessionConfig()
    _warm_up(parts, config)
    assert parts.recogniser is not None
    stt = RecogniserService(parts.recogniser, ttfs_p99_s=ttfs_p99_s, interim=variant.endswith("interim"))
    llm = BrainService(parts.brain, config, key=KEY)
    tts = VoiceService(parts.voice)
    heard, playing = asyncio.Event(), asyncio.Event()
    microphone = MicrophoneInput(TransportParams(audio_in_enabled=True), heard)
    loudspeaker = LoudspeakerOutput(TransportParams(audio_out_enabled=True), device, playing)
    context = LLMContext()
    user, assistant = LLMContextAggregatorPair(context, user_params=_user_params(variant))
    worker = PipelineWorker(
        Pipeline([microphone, stt, user, llm, tts, loudspeaker, assistant]),
        params=PipelineParams(),
        idle_timeout_secs=None,
        enable_rtvi=False,
        enable_turn_tracking=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await asyncio.gather(heard.wait(), playing.wait())
    stopped = threading.Event()
    cpu_s, began = time.process_time(), time.perf_counter()
    try:
        await asyncio.get_running_loop().run_in_executor(None, device.run, microphone.send, stopped)
    finally:
        stopped.set()
        cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - began)
        await runner.cancel()
        await running
    return {
        "ttfs_s_median": round(float(np.median(stt.ttfs_s)), 3),
        "ttfs_s_p99": round(float(np.quantile(stt.ttfs_s, 0.99)), 3),
        "cpu_share": round(cpu_share, 3),
        "transcripts": stt.transcripts,
        "messages": context.get_messages(),
    }


def _record(device: Device, arguments: argparse.Namespace, told: dict[str, Any]) -> dict[str, Any]:
    caller, machine, replies = device.result()
    results = outcomes(device.acts, device.caller.said, machine, replies)
    if arguments.out is not None:
        import soundfile

        arguments.out.mkdir(parents=True, exist_ok=True)
        name = f"pipecat-{arguments.scenario}-{arguments.variant}"
        soundfile.write(arguments.out / f"{name}.wav", np.stack([caller, machine], axis=1), EAR_RATE_HZ)
        told_text = json.dumps({"replies": replies, **told}, indent=1, ensure_ascii=False, default=str)
        (arguments.out / f"{name}.json").write_text(told_text + "\n", encoding="utf-8")
    return {
        "system": f"pipecat {metadata.version('pipecat-ai')} {arguments.variant}",
        "scenario": arguments.scenario,
        "seed": arguments.seed,
        **summary(results),
        **dict.fromkeys(_OURS_ONLY),
        "unheeded": _unheeded(device, replies),
        "duration_s": round(caller.size / EAR_RATE_HZ, 2),
        "ttfs_s_median": told["ttfs_s_median"],
        "ttfs_s_p99": told["ttfs_s_p99"],
        "cpu_share": told["cpu_share"],
        "device_late_ms_p99": round(1e3 * float(np.quantile(device.late_s, 0.99)), 2),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "acts": [_act(outcome) for outcome in results],
    }


def _unheeded(device: Device, replies: list[tuple[int, int, bool]]) -> int:
    """Interruptions that the reply under way outlived by half a second (a pause in it may look like a stop)."""
    spoken = [s for s in device.caller.said if device.acts[s.act].role == "interruption" and s.machine_spoke]
    late = EAR_RATE_HZ // 2
    return sum(any(first <= s.start <= last and last > s.end + late for first, last, _ in replies) for s in spoken)


def _act(outcome: ActOutcome) -> dict[str, Any]:
    keys = ("role", "text", "reply_gap_s", "stop_s", "cut_in", "kept_floor")
    return {key: getattr(outcome, key) for key in keys}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every program that runs a pipeline asks."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", default="default", choices=VARIANTS)
    parser.add_argument("--brain", default="small", choices=sorted(BRAINS))
    parser.add_argument(
        "--ttfs-p99", type=float, default=0.45, metavar="S", help="the recogniser's measured latency, see README.md"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line instead of indented JSON")
    parser.add_argument("--log", default="ERROR", help="pipecat's log level")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The scripted caller talks to a pipecat pipeline in real time.")
    parser.add_argument("--scenario", default="latency", choices=sorted(SCENARIOS))
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N acts of the script")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="write sound and transcripts there")
    add_options(parser)
    return parser


def main() -> int:
    """Run one scenario with one variant."""
    arguments = _parser().parse_args()
    logger.remove()
    logger.add(sys.stderr, level=arguments.log)
    acts = scenario(arguments.scenario, seed=arguments.seed)[: arguments.limit]
    parts = open_parts(PartsConfig(brain=arguments.brain, strict=True))
    device = Device(acts=acts, room=RoomConfig(seed=arguments.seed))
    told = asyncio.run(talk(parts, device, arguments.variant, arguments.ttfs_p99))
    record = _record(device, arguments, told)
    print(json.dumps(record, ensure_ascii=False, indent=None if arguments.json else 1))
    return 0 if record["answered"] == record["turns"] else 1


if __name__ == "__main__":
    sys.exit(main())

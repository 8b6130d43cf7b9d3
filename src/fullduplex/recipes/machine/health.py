"""What is installed, what is missing, and what speed to expect here."""

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from fullduplex.assets import store
from fullduplex.assets.catalogue import builtin_catalogue
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FullduplexError
from fullduplex.base.units import EAR_RATE_HZ, FRAME_SAMPLES
from fullduplex.evaluate.clips import load_clip
from fullduplex.kernels.decoder.library import decoder_library
from fullduplex.recipes.parts import Parts, PartsConfig, open_parts

__all__ = ["Check", "assets", "machine", "packages", "speed"]

_PACKAGES = {
    "onnxruntime": "ears and voices",
    "tokenizers": "the recogniser",
    "cyllama": "local brains",
    "aiohttp": "the server",
    "soundfile": "sound files",
    "matplotlib": "timelines",
    "torch": "training and streaming layers (optional)",
    "livekit": "WebRTC echo cancellation (optional)",
    "piper-tts": "espeak phonemes, GPL (optional)",
}
_OTHERWISE = {
    "torch": "pip install 'fullduplex[torch]'",
    "piper-tts": "pip install 'fullduplex[espeak]'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. `ok` None means optional and absent. `advice`: what to do."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def machine() -> list[Check]:
    """The computer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free_gb = shutil.disk_usage(store.store_root().parent if store.store_root().parent.exists() else "/").free / 1e9
    return [
        Check(
            name="python",
            ok=platform.python_version_tuple()[:2] == ("3", "11"),
            found=platform.python_version(),
            advice="3.11 is the tested version",
        ),
        Check(name="cores", ok=cores >= 2, found=str(cores), advice="two are needed to listen and think at once"),
        decoder(),
        Check(name="disk", ok=free_gb > 1, found=f"{free_gb:.0f} GB free", advice="models need 0.3 to 1.5 GB"),
    ]


def decoder() -> Check:
    """What runs local brains: our own decoder where there is a C compiler, else llama.cpp."""
    library = decoder_library()
    return Check(
        name="compiled decoder",
        ok=None if library is None else True,
        found="none: llama.cpp runs brains" if library is None else library.decoder_way().decode(),
        advice="install gcc or clang, or pip install ziglang: brains answer two to four times as fast",
    )


def packages() -> list[Check]:
    """Python packages that the conversation uses."""
    checks: list[Check] = []
    for name, purpose in _PACKAGES.items():
        optional = "optional" in purpose
        try:
            checks.append(Check(name=name, ok=True, found=metadata.version(name)))
        except metadata.PackageNotFoundError:
            how = _OTHERWISE.get(name, "pip install 'fullduplex[talk]'")
            advice = f"for {purpose}: {how}"
            checks.append(Check(name=name, ok=None if optional else False, found="not installed", advice=advice))
    return checks


def assets() -> list[Check]:
    """Models and data."""
    catalogue = builtin_catalogue()
    defaults = set(catalogue.defaults())
    checks: list[Check] = []
    for asset in catalogue.assets.values():
        found = store.find(asset.name)
        advice = f"fullduplex assets get {asset.name}"
        ok = True if found else (False if asset.name in defaults else None)
        checks.append(Check(name=asset.name, ok=ok, found="installed" if found else "absent", advice=advice))
    return checks


def _milliseconds(run: Callable[[], Any], repeats: int) -> float:
    run()
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return round(1e3 * float(np.median(times)), 1)


def speed(config: PartsConfig) -> tuple[dict[str, float], dict[str, str]]:
    """Median times of every part in milliseconds, the sum that a reply waits for, and which parts they are.

    `reply_ms` adds what happens one after the other between the end of a pause's first 64 ms and the first sound: reading,
    the end-of-turn score, the first words, their speech. It is an estimate; `fullduplex simulate` measures.
    """
    parts: Parts = open_parts(config)
    question = load_clip("question-01").pcm
    frame = question[FRAME_SAMPLES : 2 * FRAME_SAMPLES]
    state = parts.ear.init()
    figures: dict[str, float] = {"vad_frame_ms": _milliseconds(lambda: parts.ear.step(frame, state), 50)}
    if parts.recogniser is not None:
        recogniser = parts.recogniser
        draft = recogniser.recognise(question).tokens
        figures["recognise_ms"] = _milliseconds(lambda: recogniser.recognise(question, draft), 5)
    if parts.turn_end is not None:
        turn_end = parts.turn_end
        figures["turn_end_ms"] = _milliseconds(lambda: turn_end.judge(question), 5)
    prompt = (Message("system", "You are a helpful assistant."), Message("user", "What is the capital of France?"))
    figures["end_score_ms"] = _milliseconds(lambda: parts.brain.end_probability(prompt, key="doctor"), 5)
    first_words = Sampling(max_tokens=5)
    figures["first_words_ms"] = _milliseconds(lambda: list(parts.brain.stream(prompt, first_words, key="doctor")), 5)
    figures["first_speech_ms"] = _milliseconds(lambda: parts.voice.speak("The capital of France"), 5)
    waits = ("recognise_ms", "end_score_ms", "first_words_ms", "first_speech_ms")
    figures["reply_ms"] = round(64 + sum(figures.get(name, 0.0) for name in waits), 1)
    figures["listening_share_of_core"] = round(
        figures["vad_frame_ms"] / 32 + 0.5 * figures.get("recognise_ms", 0.0) / 256, 3
    )
    figures["seconds_of_speech_tested"] = round(question.size / EAR_RATE_HZ, 2)
    return figures, parts.chosen


def try_speed(config: PartsConfig) -> tuple[dict[str, float], dict[str, str]] | str:
    """`speed`, or why it could not be measured."""
    try:
        return speed(config)
    except FullduplexError as error:
        return str(error)

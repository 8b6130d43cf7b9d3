"""Choose and open the real parts of a conversation: every stage has a fallback, and every choice is logged."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np

from fullduplex.assets import store
from fullduplex.assets.catalogue import builtin_catalogue
from fullduplex.base.errors import AssetError, ConfigError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.dialogue.ports import Ear
from fullduplex.kernels.decoder.library import decoder_library
from fullduplex.lm.brain import Brain
from fullduplex.lm.engine import Engine
from fullduplex.lm.guided import GuidedBrain
from fullduplex.lm.llama import LlamaBrain
from fullduplex.lm.refit import fold_adapter, quicken
from fullduplex.lm.remote import RemoteBrain
from fullduplex.lm.scripted import ScriptedBrain
from fullduplex.recipes.cores import CORES
from fullduplex.speech.english.guess import Guess
from fullduplex.speech.english.lexicon import Lexicon
from fullduplex.speech.english.phonemes import Phonemiser
from fullduplex.speech.kokoro import KokoroVoice
from fullduplex.speech.piper import PiperConfig, PiperVoice, espeak_words
from fullduplex.speech.recogniser import Moonshine, Recogniser
from fullduplex.speech.turn_end import SmartTurn
from fullduplex.speech.vad import EnergyVad, SileroVad
from fullduplex.speech.voice import ToneVoice, Voice

__all__ = [
    "BRAINS",
    "TUNED",
    "VOICES",
    "Parts",
    "PartsConfig",
    "open_brain",
    "open_ear",
    "open_kokoro",
    "open_lexicon",
    "open_parts",
    "open_voice",
    "quick_file",
    "tuned_file",
]

Part = TypeVar("Part")
_LOG = logging.getLogger(__name__)
_ABSENT = (AssetError, MissingExtraError)

BRAINS = {
    "small": "smollm2-135m-instruct",
    "good": "qwen2.5-coder-0.5b-instruct",
    "best": "qwen2.5-coder-1.5b-instruct",
}
# Brains that are a chat model with an adapter of ours: (name of the chat model, folder of the adapter in the package).
TUNED = {"small-duplex": ("small", "small-duplex")}
QUICKENED = ("small",)  # brains in q4_1 that are stored again as q8_0 at first use where llama.cpp runs them
_FILES = (".gguf", ".safetensors")
_MOST_NAMES = 12  # of models, in a message
_HIGHEST_THREADS = 64  # that can be asked for
_MOST_THREADS = 4  # of a brain: more do not pay for models this small
VOICES = ("piper", "piper-espeak", "kokoro", "tones")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsConfig:
    """What to talk with.

    `brain`: small, good, best, small-duplex (`small`, taught time slices), scripted, an asset name, a path to a GGUF file or
    to a state-space student (.safetensors), or the URL of an OpenAI-compatible endpoint (then `brain_model` names the model,
    unless there is only one).
    `threads`, of brain and voice: 2 is faster on two cores that do nothing else, and much slower as soon as something else
    runs; 0 takes as many as are free at the moment (`recipes.cores`), for live conversations. `strict`: no fallbacks, a
    missing part is an error.
    """

    brain: str = "small"
    brain_model: str = ""
    brain_api_key: str = ""
    voice: str = "piper"
    speaker: str = "af_heart"
    threads: int = 1
    context_tokens: int = 4096
    conversations: int = 8
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= _HIGHEST_THREADS:
            raise ConfigError(
                f"threads is {self.threads}; expected 0 to {_HIGHEST_THREADS}, where 0 takes as many as are free"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Open parts, shared by all conversations, and what was chosen (stage -> choice)."""

    ear: Ear
    recogniser: Recogniser | None
    turn_end: SmartTurn | None
    brain: Brain
    voice: Voice
    chosen: dict[str, str]


def open_brain(config: PartsConfig) -> Brain:
    """The brain that `config` names.

    Raises:
        AssetError: it is not installed. ConfigError: the name means nothing, or there is no such file.
    """
    name = config.brain
    if name == "scripted":
        return ScriptedBrain()
    if name.lower().startswith(("http://", "https://")):
        return open_remote(config)
    if name.endswith(_FILES):
        file = brain_file(name)
        if name.endswith(".safetensors"):
            return open_student(file, config)
    else:
        file = quick_file(name) if name in QUICKENED and decoder_library() is None else model_file(name)
    threads = config.threads or _free_cores
    return LlamaBrain(file, threads=threads, context=config.context_tokens, slots=config.conversations)


def open_remote(config: PartsConfig) -> Brain:
    """The endpoint that `config.brain` names, and beside it the small brain (or rules), which tells when a caller has finished.

    Raises:
        PortError: the endpoint cannot be reached or refuses the key. ConfigError: its model must be named.
    """
    model = config.brain_model
    known = RemoteBrain(config.brain, model, config.brain_api_key).models()
    if not model and len(known) != 1:
        told = f"it has {', '.join(known[:_MOST_NAMES])}" if known else "it does not tell which it has"
        raise ConfigError(f"which model of {config.brain}? {told}; name one with --brain-model (brain_model)")
    if model and known and model not in known:
        _LOG.warning(
            "brain: %s does not list a model %r (it has %s)", config.brain, model, ", ".join(known[:_MOST_NAMES])
        )
    answerer = RemoteBrain(config.brain, model or known[0], config.brain_api_key)
    try:
        return GuidedBrain(answerer, open_brain(replace(config, brain="small")))
    except _ABSENT as error:
        _LOG.warning("brain: the small brain is not there to tell when a caller has finished (%s); rules do", error)
        return GuidedBrain(answerer, ScriptedBrain())


def brain_file(name: str) -> Path:
    """The file at the path `name`. Raises: ConfigError when none is there."""
    file = Path(name).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is not there"
        raise ConfigError(f"brain {name} {what}; give the path of a .gguf or .safetensors file")
    return file


def model_file(name: str) -> Path:
    """The GGUF file of a named chat model.

    Raises:
        AssetError: it is not installed. ConfigError: the name means nothing, or is that of an asset of another kind.
    """
    if name in TUNED:
        return tuned_file(name)
    known = f"use {', '.join((*BRAINS, *TUNED))}, scripted, an asset name, a .gguf file or a URL"
    asset = builtin_catalogue().assets.get(BRAINS.get(name, name))
    if asset is None:
        raise ConfigError(f"brain {name!r} is not known; {known}")
    if not any(file.name.endswith(".gguf") for file in asset.files):
        raise ConfigError(f"asset {name} is no brain ({asset.title}); {known}")
    return _model_file(name)


def open_student(file: Path, config: PartsConfig) -> Brain:
    """A state-space student (`fullduplex tune student`), on the model it was made from.

    Raises:
        AssetError: the file or its teacher is not there. FormatError: it is damaged. MissingExtraError: torch is not installed.
    """
    try:
        from fullduplex.lm.student.brain import StudentBrain
        from fullduplex.lm.student.run import read_student, teacher_name
        from fullduplex.lm.tune.weights import read_gguf
    except ImportError as error:
        raise MissingExtraError("torch", "tune") from error
    name = teacher_name(file)
    teacher = Path(name) if name.endswith(".gguf") else model_file(name)
    words = Engine(teacher, threads=1, context=64, sequences=1)
    return StudentBrain(read_student(read_gguf(teacher), file), words, conversations=config.conversations)


def _free_cores() -> AbstractContextManager[int]:
    return CORES.lease(_MOST_THREADS)


def _model_file(name: str) -> Path:
    folder = store.path(BRAINS.get(name, name))
    return next(iter(sorted(folder.glob("*.gguf"))), folder)


def quick_file(name: str) -> Path:
    """The GGUF file of a brain in `QUICKENED`; the file it is made from where it cannot be made."""
    slow = _model_file(name)
    file = store.store_root() / f"{name}-q8_0" / f"{slow.stem}-{slow.stat().st_size}.gguf"
    if file.exists():
        return file
    _LOG.info("brain %s: storing %s with weights that are quicker to read with, once", name, slow.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        quicken(slow, file)
    except (OSError, MissingExtraError) as error:
        _LOG.warning("brain %s: reads slower than it could (%s)", name, error)
        return slow
    return file


def tuned_file(name: str) -> Path:
    """The GGUF file of a brain in `TUNED`, folded together at first use and kept beside the assets.

    Raises:
        AssetError: the chat model is not installed. MissingExtraError: gguf or safetensors is not.
    """
    chat, folder = TUNED[name]
    base = _model_file(chat)
    adapter = Path(str(resources.files("fullduplex.lm").joinpath("adapters", folder, "adapter.safetensors")))
    kept = store.store_root() / name
    file = kept / f"{store.file_sha256(adapter)[:12]}.gguf"
    if not file.exists():
        _LOG.info("brain %s: folding the adapter into %s, once", name, base.name)
        kept.mkdir(parents=True, exist_ok=True)
        fold_adapter(base, adapter, file)
    return file


def open_voice(config: PartsConfig) -> Voice:
    """The voice that `config` names.

    Raises:
        AssetError: it is not installed. ConfigError: the name, or that of the speaker, means nothing.
    """
    if config.voice == "tones":
        return ToneVoice()
    if config.voice not in VOICES:
        raise ConfigError(f"voice {config.voice!r} is not known; use one of {', '.join(VOICES)}")
    if config.voice == "kokoro":
        check_speaker(config.speaker)
        return open_kokoro(config.speaker, open_lexicon())
    lexicon = open_lexicon()
    joe = store.path("piper-joe")
    to_words = espeak_words() if config.voice == "piper-espeak" else None
    # An operator of the voice that finds no second core is done by the first: here two threads cost nothing.
    spoken = PiperConfig(threads=config.threads or min(CORES.count, 2))
    return PiperVoice(
        joe / "en_US-joe-medium.onnx", joe / "en_US-joe-medium.onnx.json", lexicon, spoken, to_words=to_words
    )


def open_lexicon() -> Lexicon:
    """English pronunciations, loaded."""
    words = store.path("english-lexicon")
    lexicon = Lexicon(words / "us_gold.json", words / "us_silver.json", Guess(words / "checkpoint20.npz"))
    lexicon.load()
    return lexicon


def check_speaker(speaker: str) -> None:
    """Raises: ConfigError when Kokoro has no such speaker, neither in the catalogue nor in its folder."""
    files = builtin_catalogue().asset("kokoro-82m").files
    speakers = [file.name.removesuffix(".bin") for file in files if file.name.endswith(".bin")]
    if speaker not in speakers and not (store.store_root() / "kokoro-82m" / f"{speaker}.bin").is_file():
        raise ConfigError(f"speaker {speaker!r} is not known to kokoro; use one of {', '.join(speakers)}")


def open_kokoro(speaker: str, lexicon: Phonemiser, *, speed: float = 1.0) -> KokoroVoice:
    """One speaker of Kokoro."""
    folder = store.path("kokoro-82m")
    model, style = folder / "kokoro-v1.0.int8.onnx", folder / f"{speaker}.bin"
    return KokoroVoice(model, style, folder / "vocab.json", lexicon, speed=speed)


def open_ear(name: str) -> Ear:
    """What tells speech from the rest: silero, or energy (no model).

    Raises:
        AssetError: it is not installed. ConfigError: the name means nothing.
    """
    if name == "energy":
        return EnergyVad()
    if name != "silero":
        raise ConfigError(f"ear {name!r} is not known; use silero or energy")
    return SileroVad(store.path("silero-vad", "silero_vad.onnx"))


def _open_recogniser() -> Recogniser:
    folder = store.path("moonshine-tiny-en")
    return Moonshine(folder / "encoder_model.ort", folder / "decoder_model_merged.ort", folder / "tokenizer.json")


def _open_turn_end() -> SmartTurn:
    return SmartTurn(store.path("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"))


def _nothing() -> None:
    """Where a part may be missing."""


def open_parts(config: PartsConfig) -> Parts:
    """Open everything, with fallbacks: brain -> small -> scripted; voice -> piper -> tones; Silero -> energy.

    A brain that was named by its file has no fallback.
    """
    chosen: dict[str, str] = {}

    def first(stage: str, options: list[tuple[str, Callable[[], Part]]]) -> Part:
        for i, (name, make) in enumerate(options):
            try:
                part = make()
            except _ABSENT as error:
                if config.strict or i == len(options) - 1:
                    raise
                _LOG.warning("%s: %s is not available (%s); falling back to %s", stage, name, error, options[i + 1][0])
                continue
            chosen[stage] = name
            _LOG.info("%s: %s", stage, name)
            return part
        raise AssertionError

    small = PartsConfig(brain="small", threads=config.threads, conversations=config.conversations)
    piper = PartsConfig(voice="piper")
    ear = first("vad", [(name, partial(open_ear, name)) for name in ("silero", "energy")])
    recogniser = first("recogniser", [("moonshine-tiny-en", _open_recogniser), ("none", _nothing)])
    turn_end = first("turn_end", [("smart-turn", _open_turn_end), ("silence", _nothing)])
    brains: list[tuple[str, Callable[[], Brain]]] = [(config.brain, lambda: open_brain(config))]
    if not config.brain.endswith(_FILES):
        brains += [("small", lambda: open_brain(small)), ("scripted", ScriptedBrain)]
    brain = first("brain", brains)
    voices: list[tuple[str, Callable[[], Voice]]] = [
        (config.voice, lambda: open_voice(config)),
        ("piper", lambda: open_voice(piper)),
        ("tones", ToneVoice),
    ]
    voice = first("voice", voices)
    parts = Parts(ear=ear, recogniser=recogniser, turn_end=turn_end, brain=brain, voice=voice, chosen=chosen)
    _warm_up(parts)
    return parts


def _warm_up(parts: Parts) -> None:
    """The first call of a model is slow (memory is laid out, kernels are chosen): let nobody wait for it."""
    hiss = 0.01 * np.random.default_rng(0).standard_normal(EAR_RATE_HZ).astype(np.float32)
    if parts.recogniser is not None:
        parts.recogniser.recognise(hiss)
    if parts.turn_end is not None:
        parts.turn_end.judge(hiss)
    parts.voice.speak("Ready.")

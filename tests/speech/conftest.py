"""Real models, opened once; tests that need one skip with a reason where it is not installed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fullduplex.assets.store import find
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.english.guess import Guess
from fullduplex.speech.english.lexicon import Lexicon
from fullduplex.speech.piper import PiperConfig, PiperVoice
from fullduplex.speech.recogniser import Moonshine
from fullduplex.speech.turn_end import SmartTurn
from fullduplex.speech.vad import SileroVad


def folder_of(name: str) -> Path:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    folder = find(name)
    if folder is None:
        pytest.skip(f"asset missing; run: fullduplex assets get {name}")
    return folder


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    return folder_of


@pytest.fixture(scope="session")
def silero() -> SileroVad:
    return SileroVad(folder_of("silero-vad") / "silero_vad.onnx")


@pytest.fixture(scope="session")
def moonshine() -> Moonshine:
    folder = folder_of("moonshine-tiny-en")
    names = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.json")
    return Moonshine(*(folder / name for name in names))


@pytest.fixture(scope="session")
def smart_turn() -> SmartTurn:
    return SmartTurn(folder_of("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx")


@pytest.fixture(scope="session")
def lexicon() -> Lexicon:
    folder = folder_of("english-lexicon")
    return Lexicon(folder / "us_gold.json", folder / "us_silver.json", Guess(folder / "checkpoint20.npz"))


@pytest.fixture(scope="session")
def joe(lexicon: Lexicon) -> PiperVoice:
    folder = folder_of("piper-joe")
    quiet = PiperConfig(noise_scale=0.0, noise_w=0.0)
    return PiperVoice(folder / "en_US-joe-medium.onnx", folder / "en_US-joe-medium.onnx.json", lexicon, quiet)


@pytest.fixture(scope="session")
def read_speech() -> Pcm:
    """Nine seconds of "A Tale of Two Cities", read aloud, at 16 kHz and -20 dBFS."""
    soundfile = pytest.importorskip("soundfile")
    samples, rate_hz = soundfile.read(folder_of("caller-audio") / "two_cities.wav", dtype="float32", always_2d=True)
    pcm = resample(np.ascontiguousarray(samples[: 9 * rate_hz, 0]), rate_hz, 16_000)
    return pcm * np.float32(0.1 / np.sqrt(np.mean(np.square(pcm))))

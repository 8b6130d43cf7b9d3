"""The caller's voice: committed clips of synthesised speech, and noises made on the spot.

The clips were rendered once (scripts/make_caller_clips.py) so that every machine hears the same caller. Coughs and other
noises are filtered noise bursts: shaped like the real thing, not recorded.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError, MissingExtraError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s

__all__ = ["NOISES", "Clip", "clip_names", "load_clip", "noise", "with_pause"]

Pcm = NDArray[np.float32]
NOISES = ("cough", "throat", "breath", "knock", "keyboard", "static")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A line of the caller at EAR_RATE_HZ, without silence at either end."""

    name: str
    kind: str
    text: str
    pcm: Pcm
    speaker: str = ""


def _table() -> dict[str, dict[str, str]]:
    text = resources.files("fullduplex.evaluate").joinpath("clips/clips.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def clip_names(kind: str | None = None) -> list[str]:
    """Names of all clips, or of one kind: turn, first_half, second_half, interruption, backchannel, side_talk."""
    return [name for name, entry in _table().items() if kind in (None, entry["kind"])]


def load_clip(name: str) -> Clip:
    """One clip.

    Raises:
        InputError: no such clip. MissingExtraError: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError("soundfile", "talk") from error
    entry = _table().get(name)
    if entry is None:
        raise InputError(f"no clip {name!r}; there are: {', '.join(clip_names())}")
    with resources.as_file(resources.files("fullduplex.evaluate").joinpath(f"clips/{name}.flac")) as file:
        sound, _rate = soundfile.read(file, dtype="float32")
    pcm = np.asarray(sound, np.float32)
    return Clip(name=name, kind=entry["kind"], text=entry["text"], pcm=pcm, speaker=entry["speaker"])


def with_pause(first: Clip, second: Clip, pause_s: float) -> Clip:
    """One turn in two pieces with silence between them."""
    gap = np.zeros(samples_from_s(pause_s, EAR_RATE_HZ), np.float32)
    return Clip(
        name=f"{first.name}+{second.name}",
        kind="turn",
        text=f"{first.text} {second.text}",
        pcm=np.concatenate([first.pcm, gap, second.pcm]),
    )


def _band(white: NDArray[np.float64], low_hz: float, high_hz: float) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(white)
    frequency_hz = np.fft.rfftfreq(white.size, 1 / EAR_RATE_HZ)
    spectrum[(frequency_hz < low_hz) | (frequency_hz > high_hz)] = 0
    return np.fft.irfft(spectrum, white.size)


def _bursts(seconds: float, starts_s: list[float], decay_s: float) -> NDArray[np.float64]:
    t = np.arange(samples_from_s(seconds, EAR_RATE_HZ)) / EAR_RATE_HZ
    envelope = np.zeros_like(t)
    for start_s in starts_s:
        since = np.maximum(t - start_s, 0.0)
        envelope += (t >= start_s) * np.minimum(since / 0.008, 1.0) * np.exp(-since / decay_s)
    return envelope


def noise(kind: str, *, level_db: float = -24.0, seed: int = 0) -> Pcm:
    """A noise that is not speech.

    Args:
        kind: one of NOISES.
        level_db: RMS level of its loudest 50 ms, dBFS.
        seed: which of the many coughs.
    """
    generator = np.random.default_rng((seed, len(kind)))
    shapes = {
        "cough": (0.75, [0.0, 0.33], 0.07, 250.0, 4500.0),
        "throat": (0.6, [0.0, 0.12, 0.24, 0.36], 0.08, 120.0, 1800.0),
        "breath": (0.9, [0.0, 0.1, 0.2, 0.3, 0.4], 0.15, 400.0, 6000.0),
        "knock": (0.5, [0.0, 0.22], 0.025, 60.0, 900.0),
        "keyboard": (1.0, [0.0, 0.13, 0.29, 0.41, 0.6, 0.77, 0.88], 0.01, 1500.0, 7500.0),
        "static": (1.0, [0.0], 10.0, 50.0, 7900.0),
    }
    if kind not in shapes:
        raise InputError(f"no noise {kind!r}; there are: {', '.join(NOISES)}")
    seconds, starts_s, decay_s, low_hz, high_hz = shapes[kind]
    starts_s = [start + (generator.uniform(0, 0.02) if start else 0.0) for start in starts_s]
    envelope = _bursts(seconds, starts_s, decay_s)
    sound = _band(generator.standard_normal(envelope.size), low_hz, high_hz) * envelope
    hop = EAR_RATE_HZ // 20
    loudest = np.sqrt(np.max(np.mean(np.square(sound[: sound.size // hop * hop].reshape(-1, hop)), axis=1)))
    return np.clip(sound * 10 ** (level_db / 20) / loudest, -1.0, 1.0).astype(np.float32)

"""The room between the machine and its caller: echo of the loudspeaker, noise, a television.

The echo path is a delay, a direct sound and an exponentially decaying tail of noise, scaled so that its gain (root of
energy, for white sound) is `echo_gain`. It is a model, not a measured room. The television is people talking without end.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.evaluate.clips import clip_names, load_clip

__all__ = ["Room", "RoomConfig", "echo_path", "television"]

Pcm = NDArray[np.float32]

_BREATH_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomConfig:
    """`echo_gain` 0 is a headset, 1 a loud speakerphone.

    Levels are in dBFS, of steady noise and of a television's speech (None: it is off). The committed callers speak at -21.
    Raises: InputError for a seed below 0 or a television louder than 0 dBFS.
    """

    echo_gain: float = 0.0
    echo_delay_s: float = 0.04
    echo_tail_s: float = 0.12
    noise_db: float = -70.0
    television_db: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")
        if self.television_db is not None and not self.television_db <= 0:
            raise InputError(f"television_db is {self.television_db}; expected 0 dBFS or less")


def echo_path(config: RoomConfig) -> Pcm:
    """Impulse response at EAR_RATE_HZ."""
    if not 0.0 <= config.echo_gain <= 4.0:
        raise InputError(f"echo_gain must be in [0, 4], got {config.echo_gain}")
    if min(config.echo_delay_s, config.echo_tail_s) < 0:
        raise InputError(
            f"echo_delay_s and echo_tail_s cannot be negative: {config.echo_delay_s}, {config.echo_tail_s}"
        )
    delay = samples_from_s(config.echo_delay_s, EAR_RATE_HZ)
    tail = samples_from_s(config.echo_tail_s, EAR_RATE_HZ)
    generator = np.random.default_rng(config.seed)
    response = np.zeros(delay + max(tail, 1), np.float64)
    decay = np.exp(-6.9 * np.arange(tail) / max(tail, 1))
    response[delay : delay + tail] = 0.3 * generator.standard_normal(tail) * decay
    response[delay] += 1.0
    return (response * config.echo_gain / np.sqrt(np.sum(response**2))).astype(np.float32)


def television(config: RoomConfig) -> Pcm:
    """Sentences of several voices, one after another with short breaths, at EAR_RATE_HZ; empty when it is off."""
    if config.television_db is None:
        return np.zeros(0, np.float32)
    names = [name for kind in ("first_half", "second_half", "side_talk") for name in clip_names(kind)]
    breath = np.zeros(samples_from_s(_BREATH_S, EAR_RATE_HZ), np.float32)
    order = np.random.default_rng(config.seed).permutation(len(names))
    spoken = np.concatenate([piece for i in order for piece in (load_clip(names[i]).pcm, breath)])
    level = np.sqrt(np.mean(np.square(spoken[spoken != 0], dtype=np.float64)))
    return (spoken * (10 ** (config.television_db / 20) / level)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """The acoustics now: the loudspeaker's recent past, where noise and television have got to."""

    config: RoomConfig
    path: Pcm
    past: Pcm
    television: Pcm
    count: int = 0
    watched: int = 0

    @classmethod
    def make(cls, config: RoomConfig) -> "Room":
        """A silent room."""
        path = echo_path(config)
        return cls(config, path, np.zeros(path.size - 1, np.float32), television(config))

    def mix(self, caller: Pcm, loudspeaker: Pcm) -> tuple[Pcm, "Room"]:
        """What the microphone picks up while both are heard; equal lengths at EAR_RATE_HZ."""
        joined = np.concatenate([self.past, loudspeaker])
        mixed = caller.astype(np.float64)
        if self.config.echo_gain > 0:
            mixed = mixed + np.convolve(joined, self.path, mode="valid")
        generator = np.random.default_rng((self.config.seed, self.count))
        mixed = mixed + 10 ** (self.config.noise_db / 20) * generator.standard_normal(caller.size)
        if self.television.size:
            mixed = mixed + np.take(self.television, np.arange(self.watched, self.watched + caller.size), mode="wrap")
        past = joined[joined.size - self.past.size :]
        return np.clip(mixed, -1.0, 1.0).astype(np.float32), replace(
            self, past=past, count=self.count + 1, watched=self.watched + caller.size
        )

"""Test items in the manner of Full-Duplex-Bench v1, made from the committed clips: the user's sound and the annotation.

The benchmark's own recordings (Candor, ICC, two synthetic sets) are not here. These follow its printed recipe: pauses of
0.4 to 1.0 s inside a turn; a turn and 5 s of silence; an interruption 7 s after its context and 15 s of silence. Its
back-channel truth comes from listeners; ours is a stand-in: an even chance over the second after each sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.evaluate.fdb.backchannel import BIN_S
from fullduplex.evaluate.fdb.items import TASKS, FdbItem, Task
from fullduplex.evaluate.generate.render import VOICES, Sound, voice_of_clips
from fullduplex.evaluate.timing.spans import Recording, Side, Span

__all__ = ["Stimulus", "item_from", "stimuli"]

Pcm = NDArray[np.float32]
_LEAD_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stimulus:
    """What is played to a system, and what the scorer must know. `user_N` at EAR_RATE_HZ, silence at the end included."""

    name: str
    task: Task
    user_N: Pcm
    user: Side
    mark: Span | None = None
    judged: Span | None = None
    context: str = ""
    interruption: str = ""
    truth: tuple[float, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return self.user_N.size / EAR_RATE_HZ


class _Tape:
    """Clips and silences in a row, with the times at which they came."""

    def __init__(self) -> None:
        self.pieces: list[Pcm] = []
        self.spans: list[Span] = []
        self.now_s = 0.0

    def silence(self, seconds: float) -> None:
        self.pieces.append(np.zeros(samples_from_s(seconds, EAR_RATE_HZ), np.float32))
        self.now_s += self.pieces[-1].size / EAR_RATE_HZ

    def say(self, sound: Sound) -> Span:
        start_s = self.now_s
        self.pieces.append(sound.pcm_N)
        self.now_s += sound.pcm_N.size / EAR_RATE_HZ
        self.spans += [(start_s + low, start_s + high) for low, high in sound.spans]
        return start_s, self.now_s

    @property
    def pcm(self) -> Pcm:
        return np.concatenate(self.pieces)

    @property
    def side(self) -> Side:
        return Side(spans=tuple(self.spans))


def _pause(name: str, voice: tuple[Sound, ...], draw: np.random.Generator) -> Stimulus:
    halves = [sound for sound in voice if sound.line.kind == "half"]
    at = 2 * int(draw.integers(len(halves) // 2))
    tape = _Tape()
    tape.silence(_LEAD_S)
    _, low_s = tape.say(halves[at])
    tape.silence(float(draw.uniform(0.4, 1.0)))
    high_s, end_s = tape.say(halves[at + 1])
    tape.silence(5.0)
    return Stimulus(
        name=name, task="pause_handling", user_N=tape.pcm, user=tape.side, mark=(low_s, high_s), judged=(0.0, end_s)
    )


def _turn(name: str, voice: tuple[Sound, ...], draw: np.random.Generator) -> Stimulus:
    turns = [sound for sound in voice if sound.line.kind == "turn"]
    tape = _Tape()
    tape.silence(_LEAD_S)
    order = draw.permutation(len(turns))
    end_s = 0.0
    for index in order:  # the benchmark takes turns of more than 4 s
        _, end_s = tape.say(turns[index])
        if end_s - _LEAD_S > 4.0:
            break
        tape.silence(0.15)
    tape.silence(5.0)
    return Stimulus(
        name=name, task="smooth_turn_taking", user_N=tape.pcm, user=tape.side, mark=(end_s, end_s), judged=None
    )


def _interruption(name: str, voice: tuple[Sound, ...], draw: np.random.Generator) -> Stimulus:
    turns = [sound for sound in voice if sound.line.kind == "turn"]
    cuts = [sound for sound in voice if sound.line.kind == "interruption"]
    first, second = turns[int(draw.integers(len(turns)))], cuts[int(draw.integers(len(cuts)))]
    tape = _Tape()
    tape.silence(_LEAD_S)
    tape.say(first)
    tape.silence(7.0)
    mark = tape.say(second)
    tape.silence(15.0)
    return Stimulus(
        name=name,
        task="user_interruption",
        user_N=tape.pcm,
        user=tape.side,
        mark=mark,
        context=first.line.text,
        interruption=second.line.text,
    )


def _monologue(name: str, voice: tuple[Sound, ...], draw: np.random.Generator) -> Stimulus:
    parts = [sound for sound in voice if sound.line.kind in ("turn", "half")]
    tape = _Tape()
    tape.silence(_LEAD_S)
    ends_s: list[float] = []
    for index in draw.permutation(len(parts)):
        _, end_s = tape.say(parts[index])
        ends_s.append(end_s)
        if end_s > 12.0:
            break
        tape.silence(float(draw.uniform(0.25, 0.5)))
    # What comes after the last word is no longer a moment for a back-channel.
    judged = (0.0, ends_s[-1])
    tape.silence(1.0)
    bins = np.zeros(int(tape.now_s / BIN_S) + 1)
    for end_s in ends_s[:-1]:
        bins[int(end_s / BIN_S) : int((end_s + 1.0) / BIN_S)] += 1
    return Stimulus(
        name=name,
        task="backchannel",
        user_N=tape.pcm,
        user=tape.side,
        judged=judged,
        truth=tuple((bins / bins.sum()).tolist()),
    )


_MAKERS: dict[Task, Callable[[str, tuple[Sound, ...], np.random.Generator], Stimulus]] = {
    "pause_handling": _pause,
    "backchannel": _monologue,
    "smooth_turn_taking": _turn,
    "user_interruption": _interruption,
}


def stimuli(task: Task, count: int, *, seed: int = 0) -> tuple[Stimulus, ...]:
    """`count` items of one task; the speakers take turns.

    Raises:
        InputError: no such task, or a count below 1. MissingExtraError: soundfile is not installed.
    """
    if task not in TASKS:
        raise InputError(f"no task {task!r}; there are: {', '.join(TASKS)}")
    if count < 1:
        raise InputError(f"count is {count}; expected at least 1")
    voices = [voice_of_clips(name) for name in VOICES]
    draw = np.random.default_rng((seed, TASKS.index(task)))
    made = [_MAKERS[task](f"{task}-{i:03d}", voices[i % len(voices)], draw) for i in range(count)]
    return tuple(made)


def item_from(stimulus: Stimulus, system: Side, *, duration_s: float | None = None) -> FdbItem:
    """The item for the scorer, once a system has answered.

    Args:
        stimulus: what was played.
        system: what the system did, on the stimulus's clock.
        duration_s: how long was recorded, where that is longer than the stimulus.
    """
    length_s = max(stimulus.duration_s, duration_s or 0.0)
    recording = Recording(name=stimulus.name, user=stimulus.user, system=system, duration_s=length_s)
    return FdbItem(
        task=stimulus.task,
        recording=recording,
        mark=stimulus.mark,
        judged=stimulus.judged,
        context=stimulus.context,
        interruption=stimulus.interruption,
        truth=stimulus.truth,
    )

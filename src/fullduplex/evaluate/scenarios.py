"""Scripts for the simulated caller, by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.evaluate.caller import Act, Role, When
from fullduplex.evaluate.clips import NOISES, Clip, clip_names, load_clip, noise, with_pause

__all__ = ["SCENARIOS", "scenario"]

Script = tuple[Act, ...]


def _act(clip: Clip, role: Role, when: When = "after_reply", delay_s: float = 0.6) -> Act:
    return Act(role=role, text=clip.text, pcm=clip.pcm, when=when, delay_s=delay_s)


def _turn(name: str, delay_s: float = 0.6) -> Act:
    return _act(load_clip(name), "turn", delay_s=delay_s)


def _into(name: str, role: Role, delay_s: float) -> Act:
    return _act(load_clip(name), role, "into_reply", delay_s)


def _noise(kind: str, delay_s: float, seed: int = 0) -> Act:
    return Act(role="noise", text=f"({kind})", pcm=noise(kind, seed=seed), when="into_reply", delay_s=delay_s)


def _demo(seed: int) -> Script:
    """Asks, hums along, coughs, interrupts, pauses in mid-sentence, changes its mind."""
    paused = with_pause(load_clip("paused-07a"), load_clip("paused-07b"), 0.6)
    return (
        _turn("question-01", 0.8),
        _turn("question-04"),
        _into("backchannel-03-f0", "backchannel", 1.2),
        _noise("cough", 2.6, seed),
        _into("interruption-04-f0", "interruption", 4.2),
        _turn("question-05"),
        _into("backchannel-06-f0", "backchannel", 1.0),
        _act(paused, "turn"),
        _turn("question-08"),
        _into("interruption-01-f0", "interruption", 1.5),
        _turn("question-16"),
    )


def _latency(seed: int) -> Script:
    """Every question and every paused turn once, in a shuffled order: reply gaps and cut-ins."""
    generator = np.random.default_rng(seed)
    acts = [_turn(name) for name in clip_names("turn")]
    halves = zip(clip_names("first_half"), clip_names("second_half"), strict=True)
    for first, second in halves:
        pause_s = float(generator.uniform(0.4, 0.9))
        acts.append(_act(with_pause(load_clip(first), load_clip(second), pause_s), "turn"))
    return tuple(acts[i] for i in generator.permutation(len(acts)))


_OTHERS_DB = (-12.0, -21.0, -26.0)  # a voice as loud as the user's, from 4, 11 and 20 times the distance
_LONG = ("question-04", "question-08", "question-10", "question-13", "question-02", "question-20")


def _interruptions(seed: int) -> Script:
    """Long answers, each interrupted at a random moment."""
    generator = np.random.default_rng(seed)
    acts: list[Act] = []
    for i, name in enumerate(clip_names("interruption")):
        acts.append(_turn(_LONG[i % len(_LONG)]))
        acts.append(_into(name, "interruption", float(generator.uniform(0.3, 2.5))))
    return tuple(acts)


def _backchannels(seed: int) -> Script:
    """Long answers, each with one sound that should not stop it: back-channels, noises, somebody else in the room."""
    generator = np.random.default_rng(seed)
    sounds = [_into(name, "backchannel", 1.0) for name in clip_names("backchannel")]
    sounds += [_noise(kind, 1.0, seed + i) for i in range(2) for kind in NOISES]
    acts: list[Act] = []
    for i, sound in enumerate(sounds):
        acts.append(_turn(_LONG[i % len(_LONG)]))
        delay_s = float(generator.uniform(0.4, 1.6))
        acts.append(Act(role=sound.role, text=sound.text, pcm=sound.pcm, when="into_reply", delay_s=delay_s))
    for name in clip_names("side_talk"):
        clip = load_clip(name)
        for far_db in _OTHERS_DB:
            pcm = (clip.pcm * 10 ** (far_db / 20)).astype(np.float32)
            acts.append(_turn(_LONG[len(acts) // 2 % len(_LONG)]))
            delay_s = float(generator.uniform(0.4, 1.6))
            acts.append(
                Act(role="side_talk", text=f"{clip.text} ({far_db:g} dB)", pcm=pcm, when="into_reply", delay_s=delay_s)
            )
    return tuple(acts)


def _listener(seed: int) -> Script:
    """Only questions, long answers, nothing else: does the machine's own echo stop it?"""
    return tuple(_turn(name) for name in _LONG)


SCENARIOS: dict[str, Callable[[int], Script]] = {
    "demo": _demo,
    "latency": _latency,
    "interruptions": _interruptions,
    "backchannels": _backchannels,
    "listener": _listener,
}


def scenario(name: str, *, seed: int = 0) -> Script:
    """The acts of a scenario.

    Raises:
        InputError: no such scenario, or a seed below 0.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    if name not in SCENARIOS:
        raise InputError(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    leads = np.random.default_rng((seed, 1)).integers(0, FRAME_SAMPLES, 1000)
    acts = enumerate(SCENARIOS[name](seed))
    return tuple(replace(act, lead_samples=int(leads[i % leads.size])) for i, act in acts)

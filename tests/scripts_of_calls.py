"""Scripted calls that tests share: what the caller says, frame by frame, and runs of them."""

from dataclasses import dataclass

import numpy as np

from bench import Bench
from fakes import FakePorts, say, silence
from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue.session import Policy
from fullduplex.dialogue.snapshot import encode

REPLIES = {
    "count": "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
    "no stop it": "fine then",
    "tell me more": "there is nothing more to tell",
}


def busy_call() -> np.ndarray:
    """A question, a hum over the answer, an interruption, a pause in a sentence, silence: every floor occurs."""
    return np.concatenate(
        [
            say("count"),
            silence(1.6),
            say("mm-hm"),
            silence(1.2),
            say("no stop it"),
            silence(2.0),
            say("tell me ... more"),
            silence(3.0),
        ]
    )


def bench_for_busy_call(policy: Policy | None = None) -> Bench:
    return Bench(FakePorts(dict(REPLIES)), policy=policy)


@dataclass(frozen=True)
class Traced:
    """A run: its bench, the state before every frame, and its events as text."""

    bench: Bench
    states: list[str]
    events: list[str]


def trace(bench: Bench, pcm: np.ndarray, *, every: int = 1) -> Traced:
    """Step `pcm` frame by frame and keep every `every`-th state as text."""
    states: list[str] = []
    for i in range(pcm.size // FRAME_SAMPLES):
        if i % every == 0:
            states.append(encode(bench.runner.state))
        bench.hear(pcm[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
    return Traced(bench, states, [f"{index} {encode(event)}" for index, event in bench.events])


def texts(bench: Bench) -> list[str]:
    return [f"{index} {encode(event)}" for index, event in bench.events]

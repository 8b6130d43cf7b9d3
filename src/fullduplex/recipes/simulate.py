"""A scripted caller talks to the machine: in simulated time, or in real time with real threads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, FRAME_SAMPLES, VOICE_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.ports import Pcm
from fullduplex.dialogue.speaking.reply import word_ranges
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.evaluate.caller import Act, Caller, Spoken
from fullduplex.evaluate.measures import ActOutcome, continuity, outcomes, summary, with_words, word_continuity
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.numerics.resample import make
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.runner import Echo, Runner

__all__ = ["Conversation", "Pace", "Simulation", "failures_of", "simulate"]

_POLL_S = 0.003
_VOICE_FRAME = FRAME_SAMPLES * VOICE_RATE_HZ // EAR_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversation:
    """What happened. Tracks at EAR_RATE_HZ: the caller alone, the machine as the loudspeaker played it, the microphone.

    `step_s`: how long each step of the core took, ear included.
    """

    caller: Pcm
    machine: Pcm
    microphone: Pcm
    events: list[tuple[float, ev.Event]]
    said: tuple[Spoken, ...]
    outcomes: list[ActOutcome]
    figures: dict[str, Any]
    step_s: list[float]


@dataclass(kw_only=True)
class Simulation:
    """The moving parts between a caller and a runner: room, echo canceller, loudspeaker.

    `network_s`: one-way delay of everything the machine sends, the loudspeaker's own buffer included.
    """

    caller: Caller
    room: Room
    echo: Echo
    network_s: float = 0.03
    speaker: ls.Loudspeaker = field(default_factory=ls.Loudspeaker)
    reports: list[ev.Heard] = field(default_factory=list)
    pieces: list[tuple[int, int, int]] = field(default_factory=list)
    replies: dict[int, list[int]] = field(default_factory=dict)
    complete: dict[int, bool] = field(default_factory=dict)
    words: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    tracks: list[tuple[Pcm, Pcm, Pcm]] = field(default_factory=list)
    events: list[tuple[float, ev.Event]] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._down = make(VOICE_RATE_HZ, EAR_RATE_HZ)
        self._down_state = self._down.init()
        self._machine = np.zeros(FRAME_SAMPLES, np.float32)
        self._ready = np.zeros(0, np.float32)
        self._in_flight: list[tuple[float, ev.Event]] = []

    def frame(self, runner: Runner) -> None:
        """FRAME_S seconds of everything."""
        now_s = runner.now_s
        machine = self._play(now_s)
        caller, self.caller = self.caller.step(machine)
        microphone, self.room = self.room.mix(caller, machine)
        heard = self.echo.process(microphone, machine)
        acks, self.reports = tuple(self.reports), []
        self._between(runner, now_s)
        self._handle(runner.step(heard, acks, echo_share=self.echo.echo_share), now_s + FRAME_S)
        self.step_s.append(runner.step_s)
        if runner.state.reply is not None:
            self.words[runner.state.reply.utterance] = word_ranges(runner.state.reply)
        self.tracks.append((caller, machine, microphone))

    def _between(self, runner: Runner, now_s: float) -> None:
        """Results that arrive within the frame are taken when they arrive."""
        if isinstance(runner.lanes, SimulatedLanes):
            while (at_s := runner.lanes.next_arrival_s(now_s + FRAME_S)) is not None:
                self._handle(runner.react(at_s), at_s)

    def wait(self, runner: Runner, began: float) -> None:
        """Real time: until the end of the frame, taking results as the threads bring them."""
        end_s = runner.now_s + FRAME_S
        while (left_s := end_s - (time.perf_counter() - began)) > 0:
            time.sleep(min(left_s, _POLL_S))
            at_s = min(time.perf_counter() - began, end_s)
            self._handle(runner.react(at_s), at_s)

    def _handle(self, events: list[ev.Event], at_s: float) -> None:
        for event in events:
            self.events.append((at_s, event))
            if isinstance(event, (ev.AudioOut, ev.Flush)):
                self._in_flight.append((at_s + self.network_s, event))
            elif isinstance(event, ev.ReplyDone):
                self.complete[event.utterance] = event.complete

    def _play(self, now_s: float) -> Pcm:
        """The loudspeaker for one frame. What arrives within the frame takes effect at its exact sample."""
        out: list[Pcm] = []
        at = 0
        while self._in_flight and self._in_flight[0][0] < now_s + FRAME_S:
            due_s, event = self._in_flight.pop(0)
            sample = min(max(round((due_s - now_s) * VOICE_RATE_HZ), at), _VOICE_FRAME)
            out.append(self._pull(sample - at))
            at = sample
            if isinstance(event, ev.AudioOut):
                self.speaker = ls.play(self.speaker, event.utterance, event.epoch, event.start, event.pcm)
            elif isinstance(event, ev.Flush):
                self.speaker, report = ls.flush(self.speaker, event.utterance, event.epoch)
                self._report(report)
        out.append(self._pull(_VOICE_FRAME - at))
        pcm, self._down_state = self._down.step(np.concatenate(out), self._down_state)
        self._ready = np.concatenate([self._ready, pcm])
        if self._ready.size < FRAME_SAMPLES:  # the resampler's delay, once at the beginning
            self._ready = np.concatenate([np.zeros(FRAME_SAMPLES - self._ready.size, np.float32), self._ready])
        machine, self._ready = self._ready[:FRAME_SAMPLES], self._ready[FRAME_SAMPLES:]
        return machine

    def _pull(self, num_samples: int) -> Pcm:
        if num_samples <= 0:
            return np.zeros(0, np.float32)
        pcm, self.speaker, report = ls.pull(self.speaker, num_samples)
        if report is not None:
            self.pieces += report.pieces
            sample = len(self.tracks) * FRAME_SAMPLES
            for utterance, _start, _stop in report.pieces:
                span = self.replies.setdefault(utterance, [sample, sample])
                span[1] = sample + FRAME_SAMPLES
            self._report(report)
        return pcm

    def _report(self, report: ls.Report) -> None:
        self.reports.append(ev.Heard(utterance=report.utterance, samples=report.samples, epoch=report.epoch))

    def result(self) -> Conversation:
        """What happened so far."""
        caller, machine, microphone = (np.concatenate(track) for track in zip(*self.tracks, strict=True))
        replies = [(first, last, self.complete.get(key, False)) for key, (first, last) in self.replies.items()]
        starts_s = {key: first / EAR_RATE_HZ for key, (first, _last) in self.replies.items()}
        results = outcomes(self.caller.acts, self.caller.said, machine, replies)
        results = with_words(results, starts_s, self.pieces, self.words)
        repeated, missing = continuity(self.pieces)
        repeated_words, missing_words = word_continuity(self.pieces, self.words)
        figures: dict[str, Any] = summary(results)
        figures |= failures_of(self.events)
        figures |= {
            "repeated_words": repeated_words,
            "missing_words": missing_words,
            "repeated_s": round(repeated / VOICE_RATE_HZ, 4),
            "missing_s": round(missing / VOICE_RATE_HZ, 4),
            "stale_s": round(self.speaker.stale_samples / VOICE_RATE_HZ, 4),
            "step_ms_p99": round(1e3 * float(np.quantile(self.step_s, 0.99)), 3),
            "duration_s": round(caller.size / EAR_RATE_HZ, 4),
        }
        return Conversation(
            caller=caller,
            machine=machine,
            microphone=microphone,
            events=self.events,
            said=self.caller.said,
            outcomes=results,
            figures=figures,
            step_s=self.step_s,
        )


def failures_of(events: list[tuple[float, ev.Event]]) -> dict[str, Any]:
    """How often a part failed, and how it did first."""
    failed = [event for _, event in events if isinstance(event, ev.Failure)]
    return {
        "failures": len(failed),
        "first_failure": f"{failed[0].port}: {failed[0].message}" if failed else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`real`: keep step with the wall clock (threads do the work meanwhile). `limit_s`: longest conversation."""

    real: bool = False
    limit_s: float = 1800.0


def simulate(
    acts: tuple[Act, ...],
    runner: Runner,
    echo: Echo,
    *,
    room: RoomConfig | None = None,
    pace: Pace | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Conversation:
    """Let the caller say its acts to the machine.

    Args:
        acts: the script.
        runner: the machine.
        echo: removes the loudspeaker's sound from the microphone's.
        room: acoustics; a quiet headset by default.
        pace: real or simulated time.
        progress: called with the simulated seconds and the number of acts said.

    Returns:
        Both tracks, the events, and what they amount to.
    """
    pace = pace or Pace()
    simulation = Simulation(caller=Caller(acts=acts), room=Room.make(room or RoomConfig()), echo=echo)
    began = time.perf_counter()
    while not simulation.caller.finished and runner.now_s < pace.limit_s:
        if pace.real:
            simulation.wait(runner, began)
        simulation.frame(runner)
        if progress is not None:
            progress(runner.now_s, len(simulation.caller.said))
    runner.close()
    return simulation.result()

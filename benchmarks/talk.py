"""The conversation, measured. One JSON line a part; see docs/measured.md for what came out.

    python benchmarks/talk.py latency --brain small --real-time
    python benchmarks/talk.py interruptions | backchannels | echo | television | overhead | listeners | hour
    python benchmarks/talk.py crowd --conversations 3 --limit 8

Simulated time charges every model with its processor time; --real-time runs threads against the wall clock, as the server
does (leave the machine alone meanwhile). The peer with the same models and clips: benchmarks/peers/pipecat_talk.py.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, FRAME_SAMPLES, VOICE_RATE_HZ
from fullduplex.dialogue import ports
from fullduplex.dialogue.events import ReplyDone
from fullduplex.dialogue.policies.turns import TurnsConfig
from fullduplex.dialogue.session import Session
from fullduplex.evaluate.caller import Act, Caller
from fullduplex.evaluate.clips import clip_names, load_clip
from fullduplex.evaluate.measures import continuity
from fullduplex.evaluate.room import Room, RoomConfig
from fullduplex.evaluate.scenarios import scenario
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.parts import PartsConfig, open_parts
from fullduplex.recipes.runner import Runner
from fullduplex.recipes.simulate import Conversation, Pace, Simulation, simulate
from fullduplex.recipes.talk import TalkConfig, make_echo, make_pool, make_runner, make_session

CALLER_DBFS = -21.0  # of the committed clips while they speak


def converse(arguments: argparse.Namespace, name: str, room: RoomConfig, seed: int) -> Conversation:
    """One scenario on real parts."""
    acts = scenario(name, seed=seed)[: arguments.limit]
    parts = open_parts(
        PartsConfig(brain=arguments.brain, voice=arguments.voice, threads=threads_of(arguments), strict=True)
    )
    pool = make_pool(parts) if arguments.real_time else None
    runner = make_runner(parts, TalkConfig(), pool=pool)
    echo = make_echo(enabled=room.echo_gain > 0)
    result = simulate(acts, runner, echo, room=room, pace=Pace(real=arguments.real_time, limit_s=1500.0))
    if pool is not None:
        pool.close()
    return result


def threads_of(arguments: argparse.Namespace) -> int:
    """0: as many as are free."""
    return arguments.threads or (0 if arguments.real_time else 1)


def scripted(arguments: argparse.Namespace) -> dict[str, Any]:
    """latency, interruptions, backchannels: the scenario's figures, pooled over seeds."""
    return pooled([converse(arguments, arguments.part, RoomConfig(), seed) for seed in range(arguments.seeds)])


def crowd(arguments: argparse.Namespace) -> dict[str, Any]:
    """The scenario `latency` by several callers at once, in real time, over shared models and threads, as a server has it."""
    count = arguments.conversations
    chosen = PartsConfig(brain=arguments.brain, voice=arguments.voice, threads=0, conversations=count, strict=True)
    parts = open_parts(chosen)
    pool = make_pool(parts)

    def one(seed: int) -> Conversation:
        time.sleep(1.7 * seed)  # callers do not call in step
        runner = make_runner(parts, TalkConfig(), pool=pool, key=f"caller {seed}")
        acts = scenario("latency", seed=seed)[: arguments.limit]
        return simulate(acts, runner, make_echo(enabled=False), pace=Pace(real=True, limit_s=1500.0))

    with ThreadPoolExecutor(count) as callers:
        results = list(callers.map(one, range(count)))
    pool.close()
    failures = sum(result.figures["failures"] for result in results)
    return {"conversations": count, **pooled(results), "failures": failures}


def pooled(results: list[Conversation]) -> dict[str, Any]:
    """Figures of several conversations together."""
    outcomes = [outcome for result in results for outcome in result.outcomes]
    gaps = [o.reply_gap_s for o in outcomes if o.reply_gap_s is not None and not o.cut_in]
    stops = [o.stop_s for o in outcomes if o.role == "interruption" and o.stop_s is not None]
    kept = [o.kept_floor for o in outcomes if o.kept_floor is not None]
    turns = [o for o in outcomes if o.role in ("turn", "interruption")]
    return {
        "turns": len(turns),
        "answered": sum(o.reply_gap_s is not None for o in turns),
        "cut_in_rate": round(float(np.mean([o.cut_in for o in turns])), 4),
        "reply_gap_s": quantiles(gaps),
        "pause_s": quantiles([o.pause_s for o in outcomes if o.pause_s is not None]),
        "stop_s": quantiles(stops),
        "stopped_rate": stopped_rate(results),
        "kept_floor_rate": round(float(np.mean(kept)), 4) if kept else None,
        "harmless_sounds": len(kept),
        "repeated_words": sum(r.figures["repeated_words"] for r in results),
        "missing_words": sum(r.figures["missing_words"] for r in results),
        "stale_s": sum(r.figures["stale_s"] for r in results),
    }


def stopped_rate(results: list[Conversation]) -> float | None:
    """Share of interruptions over the machine's speech after which the reply under way was given up.

    A reply that ends by itself in the first 0.2 s, before anything can be judged, leaves nothing to give up.
    """
    given_up = total = 0
    for result in results:
        ends = [(at_s, event.complete) for at_s, event in result.events if isinstance(event, ReplyDone)]
        for outcome in result.outcomes:
            begin_s = outcome.start_s
            ended = any(complete and begin_s - 0.1 <= at_s <= begin_s + 0.2 for at_s, complete in ends)
            if outcome.role == "interruption" and outcome.stop_s is not None and not ended:
                total += 1
                given_up += any(begin_s - 0.1 <= at_s <= outcome.end_s + 2.0 for at_s, complete in ends if not complete)
    return round(given_up / total, 4) if total else None


def quantiles(values: list[float]) -> dict[str, float] | None:
    """Median and 95th percentile, with a 95 % bootstrap interval of the median."""
    if not values:
        return None
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(values, (1000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    figures = {"median": np.median(values), "median_low": low, "median_high": high, "p95": np.quantile(values, 0.95)}
    return {name: round(float(value), 3) for name, value in figures.items()} | {"count": len(values)}


def echo(arguments: argparse.Namespace) -> dict[str, Any]:
    """The machine's own echo at loop gains 0 to 1: how often does it interrupt itself?"""
    rows: dict[str, Any] = {}
    for gain in (0.0, 0.1, 0.3, 1.0):
        flushes = spoken_s = replies = 0.0
        for seed in range(arguments.seeds):
            result = converse(arguments, "listener", RoomConfig(echo_gain=gain, seed=seed), seed)
            names = [type(event).__name__ for _at, event in result.events]
            flushes += names.count("Flush")
            replies += names.count("ReplyDone")
            spoken_s += float((np.abs(result.machine) > 1e-3).mean() * result.machine.size / EAR_RATE_HZ)
        rows[str(gain)] = {"self_interruptions": flushes, "replies": replies, "machine_speech_s": round(spoken_s, 1)}
        print(f"gain {gain}: {rows[str(gain)]}", file=sys.stderr, flush=True)
    return {"gains": rows}


def television(arguments: argparse.Namespace) -> dict[str, Any]:
    """People who talk without end in the same room: are turns still found, answered in time, and interruptions heeded?"""
    rows: dict[str, Any] = {}
    for quieter_db in (32, 26, 20, 15):
        room = RoomConfig(television_db=CALLER_DBFS - quieter_db)
        rows[f"{quieter_db} dB below the caller"] = told = {
            name: pooled([converse(arguments, name, room, seed) for seed in range(arguments.seeds)])
            for name in ("latency", "interruptions")
        }
        print(f"{quieter_db} dB below the caller: {told}", file=sys.stderr, flush=True)
    return rows


class NoEar:
    """Voice activity for free, so that what is left is the runtime."""

    def init(self) -> int:
        return 0

    def step(self, pcm: np.ndarray, state: int) -> tuple[float, int]:
        return (0.99 if pcm[0] else 0.01), state


class Ready:
    """Answers for free, and at once, so that what is left is the runtime: every turn is understood and gets a long reply."""

    def __init__(self) -> None:
        self.words = [f"word{i} " for i in range(40)]
        self.pcm = np.full(VOICE_RATE_HZ, 0.1, np.float32)

    def run(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
        ticket = request.ticket
        match request:
            case ports.Recognise():
                yield ports.Recognised(ticket=ticket, text="tell me a long story about the sea")
            case ports.JudgeEnd():
                yield ports.EndJudged(ticket=ticket, probability=0.95)
            case ports.ScoreEnd():
                yield ports.EndScored(ticket=ticket, probability=0.95)
            case ports.Prefill():
                yield ports.Prefilled(ticket=ticket)
            case ports.Generate():
                for word in self.words:
                    yield ports.Generated(ticket=ticket, text=word, done=False)
                yield ports.Generated(ticket=ticket, text="", done=True)
            case ports.Synthesise():
                said = request.text.split()
                step = self.pcm.size // max(len(said), 1)
                spans = tuple(ports.WordSpan(word, i * step, (i + 1) * step) for i, word in enumerate(said))
                yield ports.Synthesised(ticket=ticket, pcm=self.pcm, words=spans)


def overhead(arguments: argparse.Namespace) -> dict[str, Any]:
    """The core without any model, listening, thinking and speaking, and the echo canceller: per step of 32 ms and per 80 ms.

    On a machine shared with others a 99th percentile tells how often they got in the way: `jitter` is that of the same
    sort over and over, in the same steps, as a multiple of its median.
    """
    parts = open_parts(PartsConfig(brain="scripted", voice="tones"))
    session = Session(ear=NoEar(), policy=make_session(parts, TalkConfig()).policy)
    runner = Runner(session, SimulatedLanes(Ready().run, charge=lambda request, index: 0.01))
    simulation = Simulation(
        caller=Caller(acts=scenario("listener")), room=Room.make(RoomConfig()), echo=make_echo(enabled=False)
    )
    canceller = make_echo()
    draw = np.random.default_rng(0)
    speech, silence = (level * draw.standard_normal(FRAME_SAMPLES).astype(np.float32) for level in (0.1, 0.0))
    core, echo_s, same, floors = [], [], [], Counter[str]()
    unsorted = draw.standard_normal(8000).astype(np.float32)
    for i in range(arguments.frames):
        now_s = runner.now_s
        played = simulation._play(now_s)
        near = speech if i % 400 < 60 else silence
        began = time.thread_time()
        canceller.process(near + played, played)
        echo_s.append(time.thread_time() - began)
        acks, simulation.reports = tuple(simulation.reports), []
        began = time.thread_time()
        events = runner.step(near, acks)
        core.append(time.thread_time() - began)
        began = time.thread_time()
        np.sort(unsorted)
        same.append(time.thread_time() - began)
        simulation._handle(events, now_s + FRAME_S)
        floors[runner.state.floor.value] += 1
        simulation.events.clear()
    parts_s = {"core": np.array(core), "echo": np.array(echo_s), "both": np.array(core) + np.array(echo_s)}
    return {
        "frames_by_floor": dict(floors),
        "per_80_ms_p50": {name: per_80_ms(taken, 0.5) for name, taken in parts_s.items()},
        "per_80_ms_p99": {name: per_80_ms(taken, 0.99) for name, taken in parts_s.items()},
        "jitter": round(per_80_ms(np.array(same), 0.99) / per_80_ms(np.array(same), 0.5), 2),
        "same_ms_p50": per_80_ms(np.array(same), 0.5),
    }


def per_80_ms(steps_s: np.ndarray, quantile: float) -> float:
    """A quantile of the time taken by five steps in a row, for half of them (80 ms)."""
    fives = steps_s[: steps_s.size // 5 * 5].reshape(-1, 5).sum(axis=1)
    return round(1e3 * float(np.quantile(fives / 2, quantile)), 4)


def listeners(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor time of listening (voice activity, reading, end of turn, reading ahead) for a second of conversation.

    The caller speaks about half of the time: every question clip, then as much silence.
    """
    parts = open_parts(PartsConfig(brain=arguments.brain, strict=True))
    config = TalkConfig(turns=TurnsConfig(answers=False))
    runner = make_runner(parts, config)
    lanes = runner.lanes
    assert isinstance(lanes, SimulatedLanes)
    pieces = [load_clip(name).pcm for name in clip_names("turn")]
    sound = np.concatenate([part for pcm in pieces for part in (pcm, np.zeros_like(pcm))])
    count = sound.size // FRAME_SAMPLES
    steps = 0.0
    for i in range(count):
        began = time.thread_time()
        busy_s = sum(lanes.busy_s.values())
        runner.step(sound[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES])
        steps += time.thread_time() - began - (sum(lanes.busy_s.values()) - busy_s)
    seconds = count * FRAME_S
    shares = {lane: round(busy_s / seconds, 4) for lane, busy_s in lanes.busy_s.items()}
    shares["ear_and_core"] = round(steps / seconds, 4)
    return {
        "share_of_core": shares,
        "sessions_per_core": round(1 / sum(shares.values()), 1),
        "seconds": round(seconds, 1),
    }


def hour(arguments: argparse.Namespace) -> dict[str, Any]:
    """An hour of conversation with real ears, a scripted brain and a tone voice: memory, drift, missed turns.

    Nothing is recorded, so that whatever grows is the machine's own.
    """
    parts = open_parts(PartsConfig(brain="scripted", voice="tones"))
    names = clip_names("turn")
    clips = [load_clip(names[i % len(names)]) for i in range(int(arguments.hours * 3600 / 6))]
    script = tuple(Act(role="turn", text=clip.text, pcm=clip.pcm) for clip in clips)
    runner = make_runner(parts, TalkConfig())
    room = Room.make(RoomConfig())
    simulation = Simulation(caller=Caller(acts=script), room=room, echo=make_echo(enabled=False))
    nothing = (np.zeros(0, np.float32),) * 3
    memory: list[tuple[int, float]] = []
    counts: Counter[str] = Counter()
    while not simulation.caller.finished and runner.now_s < 3600 * arguments.hours:
        simulation.frame(runner)
        simulation.tracks[-1] = nothing
        counts.update(type(event).__name__ for _at, event in simulation.events)
        simulation.events.clear()
        if not memory or runner.now_s - memory[-1][0] >= 300:
            memory.append((round(runner.now_s), rss_mb()))
    repeated, missing = continuity(simulation.pieces)
    return {
        "hours": round(runner.now_s / 3600, 3),
        "turns": len(simulation.caller.said),
        "events": {
            name: counts[name] for name in ("ReplyStarted", "ReplyDone", "Failure", "Dropped", "DeadlineMissed")
        },
        "rss_mb_by_time": memory,
        "repeated_samples": repeated,
        "missing_samples": missing,
        "step_ms_p99": round(1e3 * float(np.quantile(simulation.step_s, 0.99)), 3),
    }


def rss_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


PARTS = {
    "latency": scripted,
    "interruptions": scripted,
    "backchannels": scripted,
    "echo": echo,
    "television": television,
    "overhead": overhead,
    "listeners": listeners,
    "hour": hour,
    "crowd": crowd,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--brain", default="small")
    parser.add_argument("--voice", default="piper")
    parser.add_argument("--threads", type=int, help="of brain and voice (default: what is free in real time, else 1)")
    parser.add_argument("--real-time", action="store_true")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds of the scenario to pool")
    parser.add_argument("--limit", type=int, default=10_000, help="only the first acts of a scenario")
    parser.add_argument("--conversations", type=int, default=3, help="crowd: how many at once")
    parser.add_argument("--frames", type=int, default=20_000, help="overhead: how many frames")
    parser.add_argument("--hours", type=float, default=1.0, help="hour: how many")
    arguments = parser.parse_args()
    began = time.perf_counter()
    figures = PARTS[arguments.part](arguments)
    head = {
        "part": arguments.part,
        "brain": arguments.brain,
        "threads": threads_of(arguments) or "free",
        "real_time": arguments.real_time,
    }
    print(json.dumps({**head, **figures, "wall_s": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()

"""Prompts on some devices, answers on others (the paper's "Duplex-Split", section VIII; the idea is Splitwise's).

Each pool holds all weights. A prompt runs alone with those that wait beside it, makes the first token, and its keys and
values travel to the pool that decodes, whose stages never hold a prompt: even gaps between tokens, less memory for
caches, and one pool that waits for the other.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.hardware.checks import whole
from fullduplex.hardware.device import Link, System
from fullduplex.hardware.model import Model
from fullduplex.hardware.serving.intake import Books, Intake, admit, start
from fullduplex.hardware.serving.quick import Cost, quick_cost
from fullduplex.hardware.serving.simulate import Log, Serving
from fullduplex.hardware.serving.traffic import Requests
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.steady import Steady, cache_bytes, largest_batch

__all__ = ["Pools", "simulate_split", "steady_split"]

_NEVER = float("inf")
_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """Two systems, and the wire from each device of the first to one of the second."""

    prompts: System
    answers: System
    wire: Link = Link(bytes_per_s=450e9, hop_s=5e-6)

    def move_seconds(self, model: Model, prompt: float) -> float:
        """Keys and values of a prompt, sliced over the devices of the smaller pool."""
        ways = min(self.prompts.num_devices, self.answers.num_devices)
        return self.wire.hop_s + model.session_bytes(prompt) / ways / self.wire.bytes_per_s


def steady_split(model: Model, pools: Pools, *, batch: int, prompt: int, answer: int) -> Steady:
    """Throughput in the long run with `batch` requests in both pools together, cut to what the second can hold.

    Requests go round: prompt, wire, half a stage until the next one begins, and answer - 1 stages. The rate at which all
    round trips take as long as they must is found by halving, and is at most a prompt after the other. Waiting for other
    prompts is left out, so this is what evenly spaced requests get and others nearly reach.

    Raises: InputError when nothing fits.
    """
    whole(prompt, 1, "prompt")
    whole(answer, 1, "answer")
    batch = min(whole(batch, 1, "batch"), largest_batch(model, pools.answers, prompt + answer))
    largest_batch(model, pools.prompts, prompt)
    first = stage_cost(model, pools.prompts, Stage.of_lengths(0, 0, 1, prompt))
    move_s, context = pools.move_seconds(model, prompt), prompt + answer / 2
    low, high = 0.0, 1 / first.seconds  # prompts a second
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        decoding = batch - rate * (first.seconds + move_s)
        if decoding <= 0:
            high = rate
            continue
        stage_s = stage_cost(model, pools.answers, _decodes(decoding, context)).seconds
        held = rate * (answer - 0.5) * stage_s
        low, high = (rate, high) if held < decoding else (low, rate)
    rate = low
    decoding = max(1.0, batch - rate * (first.seconds + move_s))
    stage = stage_cost(model, pools.answers, _decodes(decoding, context))
    joules = first.energy_j + (answer - 1) * stage.energy_j / decoding
    return Steady(
        batch=batch,
        stage_s=batch / (rate * answer),
        tokens_per_s=rate * answer,
        joules_per_token=joules / answer,
        decode_stage_s=stage.seconds,
    )


def _decodes(number: float, context: float) -> Stage:
    return Stage.of_lengths(max(1, round(number)), context)


@dataclass(slots=True)
class _Run(Intake):
    waiting: deque[int] = field(default_factory=deque)  # admitted, prompt not begun
    prompting: list[int] = field(default_factory=list)
    prompts_end_s: float = _NEVER
    moving: list[tuple[float, int]] = field(default_factory=list)  # a heap: ready at, request
    stage_end_s: float = _NEVER
    joined: list[int] = field(default_factory=list)  # requests whose first stage this is
    rows: list[tuple[float, int, int, int]] = field(default_factory=list)  # seconds, old decodes, all decodes, prompts
    handover_s: list[float] = field(default_factory=list)


def simulate_split(model: Model, pools: Pools, requests: Requests, serving: Serving) -> Log:
    """Serve `requests` to their end; `serving.batch` counts the requests in both pools together.

    Raises: InputError when a request does not fit into an empty pool. ConfigError for a chunk: prompts are whole here.
    """
    if serving.chunk:
        raise ConfigError(f"chunk is {serving.chunk}; prompts have devices of their own here and stay whole: use 0")
    totals = requests.prompt + requests.answer
    largest_batch(model, pools.answers, int(totals.max()))
    largest_batch(model, pools.prompts, int(requests.prompt.max()))
    count = len(requests)
    books = Books(
        prompts=requests.prompt.tolist(),
        answers=requests.answer.tolist(),
        sizes=(model.state_bytes + model.kv_bytes_per_token * totals).tolist(),
        arrival_s=np.full(count, np.nan) if serving.closed else requests.arrival_s.copy(),
        first_s=np.full(count, np.nan),
        last_s=np.full(count, np.nan),
    )
    costs = quick_cost(model, pools.prompts, serving.routing), quick_cost(model, pools.answers, serving.routing)
    run, room = _Run(), cache_bytes(model, pools.answers)
    while True:
        run.waiting += admit(run, books, serving, room, running=bool(run.rows))
        _begin(run, books, costs)
        coming = run.moving[0][0] if run.moving and run.stage_end_s == _NEVER else _NEVER
        arrival = _NEVER
        if not serving.closed and run.next_request < count and run.present < serving.batch:
            later = float(books.arrival_s[run.next_request])
            arrival = later if later > run.now_s else _NEVER
        run.now_s = min(run.prompts_end_s, run.stage_end_s, coming, arrival)
        if run.now_s == _NEVER:
            break
        _end_prompts(run, books, model, pools)
        _end_stage(run, books)
    return _log(run, books, model, pools)


def _begin(run: _Run, books: Books, costs: tuple[Cost, Cost]) -> None:
    """Start whatever an idle pool can do now."""
    if run.waiting and run.prompts_end_s == _NEVER:
        run.prompting = list(run.waiting)
        run.waiting.clear()
        lengths = [books.prompts[request] for request in run.prompting]
        pairs = sum(length * length / 2 for length in lengths)
        seconds, joules = costs[0](0, 0.0, len(lengths), sum(lengths), pairs, len(run.rows))
        run.joules += joules
        run.prompts_end_s = run.now_s + seconds
        run.rows.append((seconds, 0, 0, len(lengths)))
    if run.stage_end_s == _NEVER:
        old = run.decoding
        while run.moving and run.moving[0][0] <= run.now_s:
            _, request = heapq.heappop(run.moving)
            run.joined.append(request)
            start(run, request, books.prompts[request] + 1, books.answers[request] - 1)
        if run.decoding:
            seconds, joules = costs[1](run.decoding, run.context, 0, 0, 0.0, run.stage)
            run.joules += joules
            run.stage_end_s = run.now_s + seconds
            run.rows.append((seconds, old, run.decoding, 0))


def _end_prompts(run: _Run, books: Books, model: Model, pools: Pools) -> None:
    if run.prompts_end_s > run.now_s:
        return
    run.prompts_end_s = _NEVER
    for request in run.prompting:
        books.first_s[request] = run.now_s
        if books.answers[request] == 1:
            _leave(run, books, request)
        else:
            heapq.heappush(run.moving, (run.now_s + pools.move_seconds(model, books.prompts[request]), request))


def _end_stage(run: _Run, books: Books) -> None:
    if run.stage_end_s > run.now_s:
        return
    run.stage_end_s = _NEVER
    run.context += run.decoding
    run.handover_s += [run.now_s - float(books.first_s[request]) for request in run.joined]
    run.joined.clear()
    for request in run.ends.pop(run.stage, ()):
        run.context -= books.prompts[request] + books.answers[request]
        run.decoding -= 1
        _leave(run, books, request)
    run.stage += 1


def _leave(run: _Run, books: Books, request: int) -> None:
    run.present -= 1
    run.reserved -= books.sizes[request]
    books.last_s[request] = run.now_s


def _log(run: _Run, books: Books, model: Model, pools: Pools) -> Log:
    table = np.array(run.rows)
    counts = table[:, 1:].astype(np.int64)
    ended = books.last_s[np.isfinite(books.last_s)]
    if not ended.size:
        raise InputError("no request ended; give at least one")
    weights = model.weight_bytes(pools.prompts.num_nodes) + model.weight_bytes(pools.answers.num_nodes)
    return Log(
        stage_s=table[:, 0],
        decodes=counts[:, 1],
        prompts=counts[:, 2],
        tokens=counts[:, 1] + counts[:, 2],
        arrival_s=books.arrival_s,
        first_s=books.first_s,
        last_s=books.last_s,
        end_s=float(ended.max()),
        energy_j=run.joules,
        peak_bytes=run.peak + weights,
        handover_s=np.array(run.handover_s),
        handed_over=counts[:, 1] - counts[:, 0],
    )

"""Continuous batching, stage by stage: the simulator that checks the closed form and knows about tails.

In every stage each decoding request takes one token, and requests that were admitted bring their prompt, whole or in
chunks, in the same stage (mixed stages mix; arXiv:2409.01141, section II). A request is admitted when a place in the
batch is free and its bytes at full length fit beside those of the others. Work in a stage is constant in the number of
requests: contexts are kept as their sum, ends in a calendar.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.hardware.checks import whole
from fullduplex.hardware.device import System
from fullduplex.hardware.model import Model
from fullduplex.hardware.serving.intake import Books, Intake, admit, start
from fullduplex.hardware.serving.quick import quick_cost
from fullduplex.hardware.serving.traffic import Requests
from fullduplex.hardware.steady import cache_bytes, largest_batch
from fullduplex.hardware.workload import EVEN, Routing

__all__ = ["Log", "Serving", "simulate"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How requests are served.

    Args:
        batch: places; memory may allow fewer.
        closed: a request arrives when a place is free (its arrival time is not used), and the first batch is found
            half way through its answers, so that the run starts near its long-run state.
        chunk: most prompt tokens a stage takes; 0 for whole prompts, all in the stage that admits them.
        routing: of tokens to experts; every stage has one of the routings drawn, so stages of the same size differ.
    """

    batch: int
    closed: bool = False
    chunk: int = 0
    routing: Routing = EVEN

    def __post_init__(self) -> None:
        whole(self.batch, 1, "batch")
        whole(self.chunk, 0, "chunk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What happened.

    Args:
        stage_s, decodes, prompts, tokens: of every stage: seconds, requests decoding, prompts that ended, tokens made.
        arrival_s, first_s, last_s: of every request: seconds; NaN where the run began within its answer.
        energy_j: of all stages; peak_bytes: the most that sessions and weights had reserved.
        handover_s, handed_over: where prompts have devices of their own: seconds from the first token to the second of
            each request, and how many of the decodes of each stage these are.
    """

    stage_s: Array
    decodes: NDArray[np.int64]
    prompts: NDArray[np.int64]
    tokens: NDArray[np.int64]
    arrival_s: Array
    first_s: Array
    last_s: Array
    end_s: float
    energy_j: float
    peak_bytes: float
    handover_s: Array = field(default_factory=lambda: np.zeros(0))
    handed_over: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def tokens_per_s(self) -> float:
        return float(self.tokens.sum()) / self.end_s

    @property
    def first_token_s(self) -> Array:
        """T2FT of the requests that were seen from their arrival."""
        waits = self.first_s - self.arrival_s
        return waits[np.isfinite(waits)]

    @property
    def whole_s(self) -> Array:
        """E2E: arrival to last token."""
        waits = (self.last_s - self.arrival_s)[np.isfinite(self.first_s)]
        return waits[np.isfinite(waits)]

    @property
    def waiting(self) -> int:
        """Requests without their first token when the last one arrived; 0 in a closed loop."""
        return 0 if np.isnan(self.arrival_s).any() else int((self.first_s > self.arrival_s[-1]).sum())

    def overloaded(self, batch: int) -> bool:
        """Whether more came than was served: more than a batch waits at the end, and each third waited longer."""
        if self.waiting <= batch or len(self.first_token_s) < 3:
            return False
        first, second, third = (float(part.mean()) for part in np.array_split(self.first_token_s, 3))
        return third > second > first

    def between_tokens_s(self, share: float) -> float:
        """Quantile of TBT over all tokens but first ones: each decoding request waits for the stage it is in."""
        gaps = np.concatenate([self.stage_s, self.handover_s])
        times = np.concatenate([self.decodes - self.handed_over, np.ones(len(self.handover_s), dtype=np.int64)])
        order = np.argsort(gaps)
        covered = np.cumsum(times[order])
        if not covered[-1]:
            raise InputError("no request took a second token; there is no time between tokens")
        return float(gaps[order][np.searchsorted(covered, share * covered[-1])])


@dataclass(slots=True)
class _Run(Intake):
    prefill: deque[tuple[int, int]] = field(default_factory=deque)  # (request, prompt tokens done)
    rows: list[tuple[float, int, int]] = field(default_factory=list)


def simulate(model: Model, system: System, requests: Requests, serving: Serving) -> Log:
    """Serve `requests` to their end (closed: until the last has been admitted and is done).

    Raises: InputError when a request does not fit into an empty system.
    """
    totals = requests.prompt + requests.answer
    largest_batch(model, system, int(totals.max()))  # refuses what could never be admitted
    books = Books(
        prompts=requests.prompt.tolist(),
        answers=requests.answer.tolist(),
        sizes=model.session_bytes(totals.astype(np.float64)).tolist(),
        arrival_s=np.full(len(requests), np.nan) if serving.closed else requests.arrival_s.copy(),
        first_s=np.full(len(requests), np.nan),
        last_s=np.full(len(requests), np.nan),
    )
    cost = quick_cost(model, system, serving.routing)
    run, room = _Run(), cache_bytes(model, system)
    while True:
        run.prefill += ((request, 0) for request in admit(run, books, serving, room, running=run.stage > 0))
        if run.present:
            ended, prompt_tokens, pairs = _take_prompts(run, books.prompts, serving.chunk)
            seconds, joules = cost(run.decoding, run.context, len(ended), prompt_tokens, pairs, run.stage)
            _advance(run, books, ended, seconds, joules)
        elif run.next_request < len(requests):
            run.now_s = max(run.now_s, float(books.arrival_s[run.next_request]))
        else:
            break
    table = np.array(run.rows)
    return Log(
        stage_s=table[:, 0],
        decodes=table[:, 1].astype(np.int64),
        prompts=table[:, 2].astype(np.int64),
        tokens=table[:, 1:].sum(axis=1).astype(np.int64),
        arrival_s=books.arrival_s,
        first_s=books.first_s,
        last_s=books.last_s,
        end_s=run.now_s,
        energy_j=run.joules,
        peak_bytes=run.peak + model.weight_bytes(system.num_nodes),
    )


def _advance(run: _Run, books: Books, ended: list[int], seconds: float, joules: float) -> None:
    """One stage passes: all that decode take a token, prompts that ended make their first."""
    run.now_s += seconds
    run.joules += joules
    run.rows.append((seconds, run.decoding, len(ended)))
    run.context += run.decoding
    for request in run.ends.pop(run.stage, ()):
        _leave(run, books, request, books.prompts[request] + books.answers[request])
        run.decoding -= 1
    run.stage += 1
    for request in ended:
        books.first_s[request] = run.now_s
        if books.answers[request] == 1:
            _leave(run, books, request, 0)
        else:
            start(run, request, books.prompts[request] + 1, books.answers[request] - 1)


def _leave(run: _Run, books: Books, request: int, context: int) -> None:
    run.present -= 1
    run.context -= context
    run.reserved -= books.sizes[request]
    books.last_s[request] = run.now_s


def _take_prompts(run: _Run, prompts: list[int], chunk: int) -> tuple[list[int], int, float]:
    """Prompt tokens of this stage, first come first served: requests whose prompt ends, tokens, (query, key) pairs."""
    ended: list[int] = []
    tokens, pairs = 0, 0.0
    while run.prefill and (not chunk or tokens < chunk):
        request, done = run.prefill.popleft()
        take = prompts[request] - done
        if chunk:
            take = min(take, chunk - tokens)
        tokens += take
        pairs += take * (done + take / 2)
        if done + take == prompts[request]:
            ended.append(request)
        else:
            run.prefill.appendleft((request, done + take))
    return ended, tokens, pairs

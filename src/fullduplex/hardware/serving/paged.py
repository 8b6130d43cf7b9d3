"""A server that keeps its cache in blocks, as vLLM does: nothing is reserved for answers, and who came last must yield.

Every stage has a budget of tokens. Requests that run come first, in the order of their admission: one token each, or the
next piece of their prompt. When a request needs a block and none is free, the last one admitted loses its blocks, goes
back to the head of the queue, and later computes again what nobody kept of its prompt and its answer so far. Requests in the
queue enter first come first served while all their tokens fit. This is the scheduler of vLLM 0.19
(`v1/core/sched/scheduler.py`), with its prefix cache for requests sent back only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.hardware.checks import whole
from fullduplex.hardware.serving.traffic import Requests
from fullduplex.hardware.stage import Stage

__all__ = ["Blocks", "PagedLog", "serve_paged"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Blocks of cache and tokens in each, most tokens a stage, most requests that run at once."""

    blocks: int
    block_tokens: int = 16
    stage_tokens: int = 2048
    places: int = 256

    def __post_init__(self) -> None:
        for name in ("blocks", "block_tokens", "stage_tokens", "places"):
            whole(getattr(self, name), 1, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedLog:
    """Seconds of first and last token of every request (NaN: not by the end of the run), stages, requests sent back."""

    first_s: Array
    last_s: Array
    stages: int
    sent_back: int
    peak_blocks: int


@dataclass(slots=True)
class _Request:
    number: int
    prompt: int
    answer: int
    made: int = 0  # tokens of the answer
    known: int = 0  # tokens in the cache
    blocks: int = 0
    left: tuple[int, int] = (0, 0)  # when sent back: blocks left behind, and blocks handed out before theirs are


@dataclass(slots=True)
class _Run:
    free: int
    handed_out: int = 0
    now_s: float = 0.0
    arrived: int = 0
    stages: int = 0
    sent_back: int = 0
    fewest_free: int = 0
    running: list[_Request] = field(default_factory=list)
    waiting: list[_Request] = field(default_factory=list)


def serve_paged(
    requests: Requests, blocks: Blocks, seconds: Callable[[Stage], float], *, until_s: float = float("inf")
) -> PagedLog:
    """Serve `requests`; `seconds` is the time of a stage. The run stops at `until_s`, or when all is done.

    Raises: InputError for a request longer than the cache.
    """
    longest = int((requests.prompt + requests.answer).max())
    if longest > blocks.blocks * blocks.block_tokens:
        raise InputError(
            f"a request has {longest} tokens; the cache holds {blocks.blocks * blocks.block_tokens}: use more blocks"
        )
    first_s, last_s = np.full(len(requests), np.nan), np.full(len(requests), np.nan)
    queue = [
        _Request(number, prompt, answer)
        for number, (prompt, answer) in enumerate(zip(requests.prompt.tolist(), requests.answer.tolist(), strict=True))
    ]
    arrivals: list[float] = requests.arrival_s.tolist()
    run = _Run(free=blocks.blocks, fewest_free=blocks.blocks)
    while run.now_s < until_s:
        while run.arrived < len(queue) and arrivals[run.arrived] <= run.now_s:
            run.waiting.append(queue[run.arrived])
            run.arrived += 1
        if not run.running and not run.waiting:
            if run.arrived == len(queue):
                break
            run.now_s = arrivals[run.arrived]
            continue
        taken = _schedule(run, blocks)
        run.now_s += seconds(_stage_of(taken))
        run.stages += 1
        run.fewest_free = min(run.fewest_free, run.free)
        _finish(run, taken, first_s, last_s)
    return PagedLog(
        first_s=first_s,
        last_s=last_s,
        stages=run.stages,
        sent_back=run.sent_back,
        peak_blocks=blocks.blocks - run.fewest_free,
    )


def _schedule(run: _Run, blocks: Blocks) -> list[tuple[_Request, int]]:
    """Requests of this stage and how many tokens each computes."""
    taken: list[tuple[_Request, int]] = []
    budget, calm, index = blocks.stage_tokens, True, 0
    while index < len(run.running) and budget:
        request = run.running[index]
        tokens = min(request.prompt + request.made - request.known, budget)
        while not _hold(run, request, request.known + tokens, blocks):
            calm = False
            _send_back(run, run.running.pop(), blocks.block_tokens)
            if index == len(run.running):  # it was the last one itself
                break
        else:
            taken.append((request, tokens))
            budget -= tokens
            index += 1
    while calm and run.waiting and budget and len(run.running) < blocks.places:
        request = run.waiting[0]
        whole_length = request.prompt + request.made
        if -(-whole_length // blocks.block_tokens) > run.free:
            break
        run.waiting.pop(0)
        request.known = _still_cached(run, request) * blocks.block_tokens
        tokens = min(whole_length - request.known, budget)
        _hold(run, request, request.known + tokens, blocks)
        run.running.append(request)
        taken.append((request, tokens))
        budget -= tokens
    return taken


def _hold(run: _Run, request: _Request, tokens: int, blocks: Blocks) -> bool:
    """Blocks for `tokens` tokens of `request`, if they are free."""
    more = -(-tokens // blocks.block_tokens) - request.blocks
    if more > run.free:
        return False
    request.blocks += more
    run.free -= more
    run.handed_out += more
    return True


def _still_cached(run: _Run, request: _Request) -> int:
    """Blocks of a request sent back that nobody got since: free ones go out in the order they came, last tokens first."""
    left, before = request.left
    request.left = (0, 0)
    return max(0, left - max(0, run.handed_out - before))


def _send_back(run: _Run, request: _Request, block_tokens: int) -> None:
    request.left = (request.known // block_tokens, run.handed_out + run.free)
    run.free += request.blocks
    request.blocks = request.known = 0
    run.waiting.insert(0, request)
    run.sent_back += 1


def _stage_of(taken: list[tuple[_Request, int]]) -> Stage:
    decode = context = prompts = tokens = 0
    pairs = 0.0
    for request, count in taken:
        if count == 1:
            decode += 1
            context += request.known + 1
        else:
            prompts += request.known + count == request.prompt + request.made
            tokens += count
            pairs += count * (request.known + count / 2)
    return Stage(decode=decode, context_tokens=context, prompts=prompts, prompt_tokens=tokens, prompt_pairs=pairs)


def _finish(run: _Run, taken: list[tuple[_Request, int]], first_s: Array, last_s: Array) -> None:
    """The stage is over: who has all its tokens in the cache makes one more."""
    ended = False
    for request, count in taken:
        request.known += count
        if request.known < request.prompt + request.made:
            continue
        request.made += 1
        if request.made == 1:
            first_s[request.number] = run.now_s
        if request.made == request.answer:
            last_s[request.number] = run.now_s
            run.free += request.blocks
            request.blocks = 0
            ended = True
    if ended:
        run.running = [request for request in run.running if request.made < request.answer]

"""One stage: every request in the batch takes one token, and every newly admitted one its whole prompt.

The cost of a stage is a sum over layers of roofline times (arXiv:2409.01141, sections III to V). Where the units in
memory exist: decode attention runs there; experts do in stages without a prompt, or are split if the system
co-processes; everything else runs on the processor. State-space steps run where they are faster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import at_least
from fullduplex.hardware.device import Processor, System
from fullduplex.hardware.exchange import all_to_all_seconds, remote_copies, ring_all_reduce_seconds
from fullduplex.hardware.model import Model
from fullduplex.hardware.schedule import split_seconds
from fullduplex.hardware.workload import (
    Work,
    decode_attention,
    expert_seconds,
    expert_work,
    gemm,
    prefill_attention,
    route_tokens,
    state_space_scan,
    state_space_step,
)

__all__ = ["Stage", "StageCost", "stage_cost"]

_FEWEST_DRAWS, _MOST_DRAWS = 16, 256
_EXACT_TOKENS = 16
_PARTS = ("linear", "mixer", "feed_forward", "experts", "exchange", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is in the batch.

    Args:
        decode: requests that take one token.
        context_tokens: tokens they look back on, summed over requests.
        prompts: requests that bring `prompt_tokens` in all; `prompt_pairs` (query, key) pairs, about half their squares.
    """

    decode: int
    context_tokens: float
    prompts: int = 0
    prompt_tokens: int = 0
    prompt_pairs: float = 0.0

    def __post_init__(self) -> None:
        for field in ("decode", "context_tokens", "prompts", "prompt_tokens", "prompt_pairs"):
            at_least(getattr(self, field), 0, field)

    @property
    def tokens(self) -> int:
        return self.decode + self.prompt_tokens

    @staticmethod
    def of_lengths(decode: int, context: float, prompts: int = 0, prompt: int = 0) -> "Stage":
        """`decode` requests with `context` tokens each and `prompts` prompts of `prompt` tokens each."""
        return Stage(
            decode=decode,
            context_tokens=decode * context,
            prompts=prompts,
            prompt_tokens=prompts * prompt,
            prompt_pairs=prompts * prompt * prompt / 2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Seconds of a stage by part (their sum is the stage), and joules of DRAM reads and arithmetic in all devices."""

    parts_s: Mapping[str, float]
    energy_j: float

    @property
    def seconds(self) -> float:
        return sum(self.parts_s.values())


@dataclass(slots=True)
class _Sum:
    """Seconds by part and joules while a stage is added up."""

    parts_s: dict[str, float]
    joules: float
    alu_pj: float
    xpu: Processor
    pim: Processor | None

    def add(self, part: str, work: Work, processor: Processor, times: float, devices: float) -> float:
        seconds = times * work.seconds(processor)
        self.parts_s[part] += seconds
        self.charge(work, processor, times * devices)
        return seconds

    def charge(self, work: Work, processor: Processor, times: float) -> None:
        self.joules += 1e-12 * times * (work.bytes * 8 * processor.read_pj_per_bit + work.flops * self.alu_pj)


def stage_cost(
    model: Model, system: System, stage: Stage, *, skew: float = 0.0, seed: int = 0, between: bool = False
) -> StageCost:
    """Seconds and joules of one stage.

    Args:
        skew: Zipf exponent of the routing to experts; the cost is the mean of 16 (many tokens) to 256 (few)
            routings drawn from `seed`.
        between: the fast way for many stages with ever new numbers of tokens: experts by straight lines between
            eighths of a doubling (experts within 3 % of the slow way).

    Raises: ConfigError when the experts cannot be dealt to the devices.
    """
    if stage.tokens == 0:
        return StageCost(parts_s=dict.fromkeys(_PARTS, 0.0), energy_j=0.0)
    total = _empty(system)
    xpu = total.xpu
    devices, nodes, everywhere = system.tensor_parallel, system.num_nodes, system.num_devices
    rows = stage.tokens / nodes
    for inner, columns in model.mixer_shapes:
        total.add("linear", gemm(rows, inner, columns / devices), xpu, model.num_layers, everywhere)
    _mix(total, model, system, stage)
    _feed(total, model, system, stage, rows)
    if model.num_expert_layers:
        (_experts_between if between else _experts)(total, model, system, stage, skew, seed)
    message = rows * model.hidden * 2
    reduces = model.num_layers * (1 if model.feed_forward is None else 2)
    total.parts_s["exchange"] += reduces * ring_all_reduce_seconds(devices, message, system.link)
    heads = (stage.decode + stage.prompts) / nodes
    total.add("head", gemm(heads, model.hidden, model.vocabulary / devices), xpu, 1, everywhere)
    return StageCost(parts_s=total.parts_s, energy_j=total.joules)


def _empty(system: System) -> _Sum:
    device, share = system.device, system.dram_efficiency
    return _Sum(dict.fromkeys(_PARTS, 0.0), 0.0, device.alu_pj_per_flop, device.xpu(share), device.pim(share))


def _mix(total: _Sum, model: Model, system: System, stage: Stage) -> None:
    """Attention or state space: decodes in memory where there are units, prompts on the processor."""
    xpu, pim = total.xpu, total.pim
    devices, nodes, everywhere = system.tensor_parallel, system.num_nodes, system.num_devices
    if model.attention is None:
        step = state_space_step(model, stage.decode / nodes, devices)
        scan = state_space_scan(model, stage.prompt_tokens / nodes, devices)
        side = xpu if pim is None or step.seconds(xpu) <= step.seconds(pim) else pim
    else:
        step = decode_attention(model, stage.context_tokens / nodes, devices)
        scan = prefill_attention(model, stage.prompt_pairs / nodes, stage.prompt_tokens / nodes, devices)
        side = xpu if pim is None else pim
    together = system.co_processing != "none"
    for work, processor in ((step, side), (scan, xpu)):
        total.charge(work, processor, model.num_layers * everywhere)
    times = (step.seconds(side), scan.seconds(xpu))
    total.parts_s["mixer"] += model.num_layers * (max(times) if together else sum(times))
    if together and model.attention is not None and stage.prompt_tokens:
        # Prompts fill a memory space of the processor's own; their keys and values are then copied to the others.
        copied = 2 * stage.prompt_tokens * model.kv_bytes_per_token / nodes / devices
        total.add("mixer", Work(0.0, copied), xpu, 1, everywhere)


def _feed(total: _Sum, model: Model, system: System, stage: Stage, rows: float) -> None:
    """Dense feed-forward layers and the routers of experts, on the processor."""
    feed = model.feed_forward
    if feed is None:
        return
    xpu = total.xpu
    width = feed.width / system.tensor_parallel
    wide, narrow = gemm(rows, model.hidden, width), gemm(rows, width, model.hidden)
    total.add("feed_forward", wide, xpu, model.num_dense_layers * (feed.num_matrices - 1), system.num_devices)
    total.add("feed_forward", narrow, xpu, model.num_dense_layers, system.num_devices)
    if model.num_expert_layers:
        router = gemm(rows, model.hidden, feed.num_experts)
        total.add("experts", router, xpu, model.num_expert_layers, system.num_devices)


def _experts(total: _Sum, model: Model, system: System, stage: Stage, skew: float, seed: int) -> None:
    seconds, joules = _experts_alone(model, system, stage.tokens, stage.prompts > 0, skew, seed)
    _charge_experts(total, model, system, stage.tokens, seconds, joules)


def _experts_between(total: _Sum, model: Model, system: System, stage: Stage, skew: float, seed: int) -> None:
    """Fast twin of `_experts`: straight lines between numbers of tokens that grow by an eighth of a doubling."""
    tokens, mixed = stage.tokens, stage.prompts > 0
    low, high = _knots(tokens)
    seconds, joules = _experts_alone(model, system, low, mixed, skew, seed)
    if high > low:
        more_s, more_j = _experts_alone(model, system, high, mixed, skew, seed)
        share = (tokens - low) / (high - low)
        seconds, joules = seconds + share * (more_s - seconds), joules + share * (more_j - joules)
    _charge_experts(total, model, system, tokens, seconds, joules)


def _knots(tokens: int) -> tuple[int, int]:
    """The numbers of tokens on both sides that are computed; the same twice if `tokens` is one of them."""
    if tokens <= _EXACT_TOKENS:
        return tokens, tokens
    step = 1 << (tokens.bit_length() - 4)
    low = tokens // step * step
    return low, low if low == tokens else low + step


def _charge_experts(total: _Sum, model: Model, system: System, tokens: int, seconds: float, joules: float) -> None:
    total.parts_s["experts"] += seconds
    total.joules += joules
    feed = model.feed_forward
    assert feed is not None
    nodes, devices = system.num_nodes, system.tensor_parallel
    if nodes > 1:
        copies = remote_copies(feed.num_experts, feed.top_k, nodes)
        message = tokens / nodes * model.hidden * 2 * copies / devices
        total.parts_s["exchange"] += model.num_expert_layers * 2 * all_to_all_seconds(message, nodes, system.node_link)


@lru_cache(maxsize=4096)
def _experts_alone(
    model: Model, system: System, tokens: int, mixed: bool, skew: float, seed: int
) -> tuple[float, float]:
    """Seconds and joules of all experts of a stage, in the mean over routings."""
    total = _empty(system)
    counts, slices = _deal(model, system, tokens, skew, seed)
    xpu, pim = total.xpu, total.pim
    on_xpu = expert_seconds(model, counts, slices, xpu)
    if pim is None:
        seconds, in_memory = on_xpu.sum(axis=-1), np.zeros(counts.shape)
    elif system.co_processing == "none":
        on_side = on_xpu if mixed else expert_seconds(model, counts, slices, pim)
        seconds, in_memory = on_side.sum(axis=-1), np.full(counts.shape, float(not mixed))
    else:
        on_pim = expert_seconds(model, counts, slices, pim)
        seconds, in_memory = split_seconds(counts, on_xpu, on_pim, spaces=system.co_processing == "spaces")
    layers = model.num_expert_layers
    flops, moved = expert_work(model, counts, slices)
    shares = system.num_devices / counts.shape[1]  # devices that do the same as one listed here
    for processor, mask in ((xpu, 1 - in_memory), (pim, in_memory)):
        if processor is not None:
            work = Work(float((flops * mask).sum()) / len(counts), float((moved * mask).sum()) / len(counts))
            total.charge(work, processor, layers * shares)
    return layers * float(seconds.max(axis=-1).mean()), total.joules  # the slowest device holds up the rest


def _deal(model: Model, system: System, tokens: int, skew: float, seed: int) -> tuple[NDArray[np.int64], float]:
    """Tokens of the experts of each unlike device, shape (draws, devices, experts), and slices of an expert."""
    feed = model.feed_forward
    assert feed is not None
    owners = system.num_nodes if system.expert_tensor else min(system.num_devices, feed.num_experts)
    slices = system.num_devices / owners
    if feed.num_experts % owners:
        if not system.expert_tensor:
            raise ConfigError(f"num_devices is {system.num_devices}; {feed.num_experts} experts do not divide evenly")
        raise ConfigError(f"num_devices makes {owners} nodes; {feed.num_experts} experts do not divide evenly")
    return _routed(model, tokens, skew, seed).reshape(-1, owners, feed.num_experts // owners), slices


@lru_cache(maxsize=256)
def _routed(model: Model, tokens: int, skew: float, seed: int) -> NDArray[np.int64]:
    """Routings do not depend on the system, so systems are compared on the same ones."""
    assert model.feed_forward is not None
    # Few tokens scatter more, and cost less to draw.
    draws = max(_FEWEST_DRAWS, min(_MOST_DRAWS, 4096 // max(tokens, 1)))
    found = route_tokens(model.feed_forward, tokens, draws, np.random.default_rng((seed, tokens)), skew)
    found.flags.writeable = False
    return found

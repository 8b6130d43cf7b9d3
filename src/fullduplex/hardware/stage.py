"""One stage: every request in the batch takes one token, and every newly admitted one its whole prompt.

The cost of a stage is a sum over layers of roofline times (arXiv:2409.01141, sections III to V). Where the units in
memory exist: decode attention runs there; experts do in stages without a prompt, or are split if the system
co-processes; everything else runs on the processor. State-space steps run where they are faster. With devices set
apart ("hetero") experts and decode attention always run on the units in memory of those, and nothing else does.

Nodes are data parallel and a prompt is not cut: the node with the most prompts holds up the stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import at_least
from fullduplex.hardware.device import Processor, System
from fullduplex.hardware.exchange import all_reduce_seconds, all_to_all_seconds, remote_copies
from fullduplex.hardware.model import FeedForward, Model
from fullduplex.hardware.schedule import split_seconds
from fullduplex.hardware.workload import (
    EVEN,
    Routing,
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

__all__ = [
    "Experts",
    "Share",
    "Stage",
    "StageCost",
    "dense_layers",
    "exchange_seconds",
    "expert_cost",
    "mixer_work",
    "stage_cost",
]

_FEWEST_DRAWS, _MOST_DRAWS = 16, 256
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

    def share(self, nodes: int, *, slowest: bool) -> "Share":
        """What one of `nodes` nodes has of it: the mean, or the one with the most prompts (taken as equally long)."""
        whole_prompts = max(1, self.prompts)
        part = -(-whole_prompts // nodes) / whole_prompts if slowest else 1 / nodes
        return Share(
            decode=self.decode / nodes,
            context_tokens=self.context_tokens / nodes,
            prompt_tokens=self.prompt_tokens * part,
            prompt_pairs=self.prompt_pairs * part,
            heads=(self.decode / nodes) + self.prompts * part,
        )

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
class Share:
    """The part of a stage that one node has; `heads` are the tokens whose successor is looked for."""

    decode: float
    context_tokens: float
    prompt_tokens: float
    prompt_pairs: float
    heads: float

    @property
    def rows(self) -> float:
        return self.decode + self.prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """All experts of a stage: seconds for each routing drawn (their mean is the cost), joules in the mean."""

    drawn_s: NDArray[np.float64]
    energy_j: float

    @property
    def seconds(self) -> float:
        return float(self.drawn_s.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Seconds of a stage by part, and joules of DRAM reads and arithmetic in all devices; their sums are the stage's."""

    parts_s: Mapping[str, float]
    parts_j: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return sum(self.parts_s.values())

    @property
    def energy_j(self) -> float:
        return sum(self.parts_j.values())


@dataclass(slots=True)
class _Sum:
    """Seconds by part and joules while a stage is added up."""

    parts_s: dict[str, float]
    parts_j: dict[str, float]
    alu_pj: float

    def charge(self, part: str, work: Work, processor: Processor, times: float) -> None:
        joules = 1e-12 * times * (work.bytes * 8 * processor.read_pj_per_bit + work.flops * self.alu_pj)
        self.parts_j[part] += joules


def stage_cost(model: Model, system: System, stage: Stage, *, routing: Routing = EVEN, seed: int = 0) -> StageCost:
    """Seconds and joules of one stage.

    Args:
        routing: to experts; the cost is the mean of 16 (many tokens) to 256 (few) routings drawn from `seed`.

    Raises: ConfigError when the experts cannot be dealt to the devices.
    """
    total = _Sum(dict.fromkeys(_PARTS, 0.0), dict.fromkeys(_PARTS, 0.0), system.device.alu_pj_per_flop)
    if stage.tokens == 0:
        return StageCost(parts_s=total.parts_s, parts_j=total.parts_j)
    xpu, nodes = system.device.xpu(system.dram_efficiency), system.num_nodes
    slowest, mean = stage.share(nodes, slowest=True), stage.share(nodes, slowest=False)
    for part, inner, columns, layers in dense_layers(model, system):
        rows = (slowest.heads, mean.heads) if part == "head" else (slowest.rows, mean.rows)
        slow, even = (gemm(count, inner, columns, model.weight_bits) for count in rows)
        total.parts_s[part] += layers * slow.seconds(xpu)
        total.charge(part, even, xpu, layers * nodes * system.dense_parallel)
    _mix(total, model, system, slowest, mean)
    if model.num_expert_layers:
        experts = expert_cost(model, system, stage.tokens, stage.prompt_tokens > 0, routing, seed)
        total.parts_s["experts"] += experts.seconds
        total.parts_j["experts"] += experts.energy_j
    total.parts_s["exchange"] += exchange_seconds(model, system, slowest.rows, stage.tokens / nodes)
    return StageCost(parts_s=total.parts_s, parts_j=total.parts_j)


def dense_layers(model: Model, system: System) -> list[tuple[str, float, float, int]]:
    """Linear layers that every token passes: part of the stage, in and out on one device, how many of them."""
    devices, feed = system.dense_parallel, model.feed_forward
    found = [("linear", float(inner), columns / devices, model.num_layers) for inner, columns in model.mixer_shapes]
    if feed is not None:
        width, layers = feed.width / devices, model.num_dense_layers
        found.append(("feed_forward", model.hidden, width, layers * (feed.num_matrices - 1)))
        found.append(("feed_forward", width, model.hidden, layers))
    if feed is not None and model.num_expert_layers:
        found.append(("experts", model.hidden, feed.num_experts, model.num_expert_layers))  # the router
    found.append(("head", model.hidden, model.vocabulary / devices, 1))
    return found


def mixer_work(model: Model, system: System, share: Share) -> tuple[tuple[Work, Processor], tuple[Work, Processor]]:
    """One layer on one device: the decodes and where they run, the prompts and where they run."""
    efficiency = system.dram_efficiency
    xpu, pim = system.device.xpu(efficiency), system.device.pim(efficiency)
    step_on, scan_on = system.cache_parallel, system.dense_parallel
    if model.attention is not None:
        step = decode_attention(model, share.context_tokens, step_on)
        scan = prefill_attention(model, share.prompt_pairs, share.prompt_tokens, scan_on)
        return (step, pim or xpu), (scan, xpu)
    step = state_space_step(model, share.decode, step_on)
    scan = state_space_scan(model, share.prompt_tokens, scan_on)
    slower = pim is not None and not system.apart and step.seconds(xpu) <= step.seconds(pim)
    return (step, xpu if slower or pim is None else pim), (scan, xpu)


def _mix(total: _Sum, model: Model, system: System, slowest: Share, mean: Share) -> None:
    """Attention or state space; the copy of a prompt's keys and values where two sides work at once."""
    layers, nodes = model.num_layers, system.num_nodes
    devices = system.cache_parallel, system.dense_parallel
    for (work, side), on in zip(mixer_work(model, system, mean), devices, strict=True):
        total.charge("mixer", work, side, layers * nodes * on)
    step_s, scan_s = (work.seconds(side) for work, side in mixer_work(model, system, slowest))
    if system.apart or system.co_processing != "none":
        total.parts_s["mixer"] += layers * max(step_s, scan_s)
    else:
        total.parts_s["mixer"] += layers * (step_s + scan_s)
    if system.co_processing != "none" and model.attention is not None:
        # Prompts fill a memory space of the processor's own; their keys and values are then copied to the others.
        xpu, each = system.device.xpu(system.dram_efficiency), 2 * model.kv_bytes_per_token / system.tensor_parallel
        total.parts_s["mixer"] += Work(0.0, slowest.prompt_tokens * each).seconds(xpu)
        total.charge("mixer", Work(0.0, mean.prompt_tokens * each), xpu, system.num_devices)


def exchange_seconds(model: Model, system: System, rows: float, mean_rows: float) -> float:
    """All-reduces inside a node (`rows` tokens in the slowest), all-to-all between nodes, steps to devices set apart."""
    message = rows * model.hidden * 2
    parts = 1 if model.feed_forward is None else 2
    if system.apart:
        # Mixer on one group (its linear layers), then queries to the caches and back; experts on the other group.
        crossings = (
            2
            * (1 + (model.num_expert_layers > 0))
            * (system.link.hop_s + message / system.apart / system.link.bytes_per_s)
        )
        dense = all_reduce_seconds(system.dense_parallel, message, system.link)
        there = all_reduce_seconds(system.apart, message, system.link)
        dense_parts = model.num_layers + model.num_dense_layers
        return dense_parts * dense + model.num_expert_layers * there + model.num_layers * crossings
    seconds = model.num_layers * parts * all_reduce_seconds(system.tensor_parallel, message, system.link)
    feed = model.feed_forward
    if system.num_nodes > 1 and feed is not None and model.num_expert_layers:
        copies = remote_copies(feed.num_experts, feed.top_k, system.num_nodes)
        sent = mean_rows * model.hidden * 2 * copies / system.tensor_parallel
        seconds += model.num_expert_layers * 2 * all_to_all_seconds(sent, system.num_nodes, system.node_link)
    return seconds


@lru_cache(maxsize=4096)
def expert_cost(
    model: Model, system: System, tokens: int, mixed: bool, routing: Routing = EVEN, seed: int = 0
) -> Experts:
    """All experts of a stage of `tokens` tokens, with a prompt among them if `mixed`."""
    xpu, pim = system.device.xpu(system.dram_efficiency), system.device.pim(system.dram_efficiency)
    counts, slices = _deal(model, system, tokens, routing, seed)
    on_xpu = expert_seconds(model, counts, slices, xpu)
    if pim is None:
        seconds, in_memory = on_xpu.sum(axis=-1), np.zeros(counts.shape)
    elif system.co_processing == "none":
        there = system.apart > 0 or not mixed
        on_side = expert_seconds(model, counts, slices, pim) if there else on_xpu
        seconds, in_memory = on_side.sum(axis=-1), np.full(counts.shape, float(there))
    else:
        on_pim = expert_seconds(model, counts, slices, pim)
        seconds, in_memory = split_seconds(counts, on_xpu, on_pim, spaces=system.co_processing == "spaces")
    layers, total = model.num_expert_layers, _Sum({}, {"experts": 0.0}, system.device.alu_pj_per_flop)
    flops, moved = expert_work(model, counts, slices)
    shares = _expert_devices(system) / counts.shape[1]  # devices that do the same as one listed here
    for processor, mask in ((xpu, 1 - in_memory), (pim, in_memory)):
        if processor is not None:
            work = Work(float((flops * mask).sum()) / len(counts), float((moved * mask).sum()) / len(counts))
            total.charge("experts", work, processor, layers * shares)
    return Experts(
        drawn_s=layers * seconds.max(axis=-1), energy_j=total.parts_j["experts"]
    )  # the slowest device holds up the rest


def _expert_devices(system: System) -> int:
    return system.apart or system.num_devices


def _deal(model: Model, system: System, tokens: int, routing: Routing, seed: int) -> tuple[NDArray[np.int64], float]:
    """Tokens of the experts of each unlike device, shape (draws, devices, experts), and slices of an expert."""
    feed = model.feed_forward
    assert feed is not None
    devices = _expert_devices(system)
    owners = system.num_nodes if system.expert_tensor else min(devices, feed.num_experts)
    if feed.num_experts % owners:
        if not system.expert_tensor:
            raise ConfigError(f"num_devices is {devices}; {feed.num_experts} experts do not divide evenly")
        raise ConfigError(f"num_devices makes {owners} nodes; {feed.num_experts} experts do not divide evenly")
    counts = _routed(feed, tokens, routing, seed)
    return counts.reshape(-1, owners, feed.num_experts // owners), devices / owners


@lru_cache(maxsize=256)
def _routed(feed: FeedForward, tokens: int, routing: Routing, seed: int) -> NDArray[np.int64]:
    """Routings do not depend on the system, so systems are compared on the same ones."""
    # Few tokens scatter more, and cost less to draw.
    draws = max(_FEWEST_DRAWS, min(_MOST_DRAWS, 4096 // max(tokens, 1)))
    found = route_tokens(feed, tokens, draws, np.random.default_rng((seed, tokens)), routing)
    found.flags.writeable = False
    return found

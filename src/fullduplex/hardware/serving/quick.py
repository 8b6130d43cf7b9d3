"""The cost of very many stages: the coefficients of `stage_cost` once, then a few products and maxima a stage.

Only the numbers of requests, tokens, (query, key) pairs and looked-back tokens change from stage to stage, and
operations and bytes are straight lines in them. Each line is found by asking the functions of `stage.py` at one and at
two, so no formula is written twice. Experts are drawn for numbers of tokens that grow by an eighth of a doubling, with
straight lines between (within 3 % of the slow way).
"""

from collections.abc import Callable
from typing import Any

from fullduplex.hardware.device import Processor, System
from fullduplex.hardware.model import Model
from fullduplex.hardware.stage import Share, dense_layers, exchange_seconds, expert_cost, mixer_work
from fullduplex.hardware.workload import EVEN, Routing, Work, gemm

__all__ = ["Cost", "quick_cost"]

Cost = Callable[[int, float, int, int, float, int], tuple[float, float]]
_EXACT_TOKENS = 16


def quick_cost(model: Model, system: System, routing: Routing = EVEN, seed: int = 0) -> Cost:
    """Fast twin of `stage_cost` for one model on one system.

    Returns: a function of decodes, their context tokens, prompts, prompt tokens, prompt pairs, and the number of the
        routing that the experts get (-1 for the mean of all routings); it gives seconds and joules.
    """
    dense = _dense_cost(model, system)
    if not model.num_expert_layers:
        return dense
    experts = _expert_cost(model, system, routing, seed)

    def cost(
        decode: int, context: float, prompts: int = 0, tokens: int = 0, pairs: float = 0.0, draw: int = -1
    ) -> tuple[float, float]:
        seconds, joules = dense(decode, context, prompts, tokens, pairs, draw)
        more_s, more_j = experts(decode + tokens, tokens > 0, draw)
        return seconds + more_s, joules + more_j

    return cost


def _dense_cost(model: Model, system: System) -> Cost:
    """Everything but the experts."""
    curved = bool(system.link.all_reduce)  # a measured curve is no straight line
    nodes, together = system.num_nodes, bool(system.apart) or system.co_processing != "none"
    lines, head, fixed_j, row_j, head_fixed_j, head_j = _linear_lines(model, system)
    head_fixed_s, head_each_s, head_flops_s = head
    (context_s, decode_s), (pair_s, token_flops_s, token_bytes_s), joules_of = _mixer_lines(model, system)
    context_j, decode_j, token_j, pair_j = joules_of
    copy_s, copy_j = _copy_line(model, system)
    reduce_fixed, reduce_each, dispatch_each = (0.0, 0.0, 0.0) if curved else _exchange_lines(model, system)
    token_j += row_j + copy_j
    decode_j += row_j

    def cost(
        decode: int, context: float, prompts: int = 0, tokens: int = 0, pairs: float = 0.0, draw: int = -1
    ) -> tuple[float, float]:
        heads, mean_rows = decode + prompts, (decode + tokens) / nodes
        joules = fixed_j + decode_j * decode + context_j * context + token_j * tokens + pair_j * pairs
        if heads:
            joules += head_fixed_j + head_j * heads
        decodes, brought, asked = float(decode), float(tokens), float(heads)
        if nodes > 1:
            whole = prompts or 1
            part = -(-whole // nodes) / whole
            decodes, context, brought, pairs = decode / nodes, context / nodes, tokens * part, pairs * part
            asked = decodes + prompts * part
        rows = decodes + brought
        seconds = reduce_fixed + reduce_each * rows + dispatch_each * mean_rows
        if curved:
            seconds = exchange_seconds(model, system, rows, mean_rows)
        for fixed_s, each_s, flops_s in lines:
            moved, done = fixed_s + each_s * rows, flops_s * rows
            seconds += moved if moved > done else done
        if heads:
            moved, done = head_fixed_s + head_each_s * asked, head_flops_s * asked
            seconds += moved if moved > done else done
        step = context_s * context + decode_s * decodes
        if not tokens:
            return seconds + step, joules
        scan, moved = pair_s * pairs + token_flops_s * brought, token_bytes_s * brought
        scan = moved if moved > scan else scan
        return seconds + copy_s * brought + ((step if step > scan else scan) if together else step + scan), joules

    return cost


Line = tuple[float, float, float]


def _linear_lines(model: Model, system: System) -> tuple[list[Line], Line, float, float, float, float]:
    """Seconds (fixed, each row, operations of a row) of every linear layer and of the head; joules of both likewise."""
    xpu = system.device.xpu(system.dram_efficiency)
    lines: list[Line] = []
    head: Line = (0.0, 0.0, 0.0)
    joules = {False: [0.0, 0.0], True: [0.0, 0.0]}
    for part, inner, columns, layers in dense_layers(model, system):
        if not layers:
            continue
        one, two = (gemm(rows, inner, columns, model.weight_bits) for rows in (1.0, 2.0))
        each = two.bytes - one.bytes
        fixed = one.bytes - each
        line = (
            layers * fixed / xpu.bytes_per_s, layers * each / xpu.bytes_per_s, layers * one.flops / xpu.flops_per_s
        )  # fmt: skip
        if part == "head":
            head = line
        else:
            lines.append(line)
        times = layers * system.num_nodes * system.dense_parallel
        found = joules[part == "head"]
        found[0] += times * _joules(Work(0.0, fixed), system, xpu)
        found[1] += layers * system.dense_parallel * _joules(Work(one.flops, each), system, xpu)
    return lines, head, joules[False][0], joules[False][1], joules[True][0], joules[True][1]


def _joules(work: Work, system: System, processor: Processor) -> float:
    return 1e-12 * (work.bytes * 8 * processor.read_pj_per_bit + work.flops * system.device.alu_pj_per_flop)


def _mixer_lines(model: Model, system: System) -> tuple[tuple[float, float], Line, tuple[float, float, float, float]]:
    """Seconds for a token looked back on and a decode; for a pair, and a prompt token's operations and bytes; joules."""
    nothing: dict[str, Any] = {
        "decode": 0.0, "context_tokens": 0.0, "prompt_tokens": 0.0, "prompt_pairs": 0.0, "heads": 0.0,
    }  # fmt: skip
    layers = model.num_layers

    def asked(name: str) -> tuple[tuple[Work, Processor], tuple[Work, Processor]]:
        return mixer_work(model, system, Share(**{**nothing, name: 1.0}))

    (context, there), _ = asked("context_tokens")
    (decode, at), _ = asked("decode")
    _, (token, xpu) = asked("prompt_tokens")
    _, (pair, _) = asked("prompt_pairs")
    step = layers * context.seconds(there), layers * decode.seconds(at)
    scan = (
        layers * pair.flops / xpu.flops_per_s, layers * token.flops / xpu.flops_per_s,
        layers * token.bytes / xpu.bytes_per_s,
    )  # fmt: skip
    joules = (
        layers * system.cache_parallel * _joules(context, system, there),
        layers * system.cache_parallel * _joules(decode, system, at),
        layers * system.dense_parallel * _joules(token, system, xpu),
        layers * system.dense_parallel * _joules(pair, system, xpu),
    )
    return step, scan, joules


def _copy_line(model: Model, system: System) -> tuple[float, float]:
    """Seconds and joules of a prompt token whose keys and values are copied between memory spaces."""
    if system.co_processing == "none" or model.attention is None:
        return 0.0, 0.0
    xpu = system.device.xpu(system.dram_efficiency)
    work = Work(0.0, 2 * model.kv_bytes_per_token / system.tensor_parallel)
    return work.seconds(xpu), system.tensor_parallel * _joules(work, system, xpu)


def _exchange_lines(model: Model, system: System) -> Line:
    """Seconds: fixed, for each row of the slowest node, for each row of the mean node."""
    one = exchange_seconds(model, system, 1.0, 1.0)
    slowest = exchange_seconds(model, system, 2.0, 1.0) - one
    mean = exchange_seconds(model, system, 1.0, 2.0) - one
    return one - slowest - mean, slowest, mean


def _expert_cost(
    model: Model, system: System, routing: Routing, seed: int
) -> Callable[[int, bool, int], tuple[float, float]]:
    """Seconds and joules of all experts for a number of tokens, a prompt among them or not, and a routing or the mean."""
    known: dict[tuple[int, bool], tuple[float, float, list[float]]] = {}

    def knot(tokens: int, mixed: bool) -> tuple[float, float, list[float]]:
        found = known.get((tokens, mixed))
        if found is None:
            drawn = expert_cost(model, system, tokens, mixed, routing, seed)
            mean = drawn.seconds
            found = known[tokens, mixed] = (mean, drawn.energy_j, (drawn.drawn_s / mean).tolist())
        return found

    def cost(tokens: int, mixed: bool, draw: int) -> tuple[float, float]:
        step = 1 if tokens <= _EXACT_TOKENS else 1 << (tokens.bit_length() - 4)
        low = tokens - tokens % step
        seconds, joules, ratios = knot(low, mixed)
        if low < tokens:
            more_s, more_j, _ = knot(low + step, mixed)
            share = (tokens - low) / step
            seconds, joules = seconds + share * (more_s - seconds), joules + share * (more_j - joules)
        if draw >= 0:
            seconds *= ratios[draw % len(ratios)]
        return seconds, joules

    return cost

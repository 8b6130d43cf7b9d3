"""The closed form: tokens a second of a full batch that is refilled as requests end.

Each request brings `prompt` tokens and takes `answer` tokens, one a stage, the first with its prompt. In the long run
a request starts in a given stage with probability 1 / answer, so the prompts in a stage are binomial and a stage
decodes only with probability (1 - 1 / answer)^batch.
"""

import math
from dataclasses import dataclass

from fullduplex.base.errors import InputError
from fullduplex.hardware.checks import at_least, whole
from fullduplex.hardware.device import System
from fullduplex.hardware.model import Model
from fullduplex.hardware.stage import Stage, stage_cost
from fullduplex.hardware.workload import EVEN, Routing

__all__ = ["Steady", "cache_bytes", "decode_only_share", "largest_batch", "steady"]

_NEGLIGIBLE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """A batch in the long run: requests in it (fewer than asked if memory is short), stage time, energy."""

    batch: int
    stage_s: float
    tokens_per_s: float
    joules_per_token: float
    decode_stage_s: float


def decode_only_share(batch: int, answer: int) -> float:
    """Share of stages without a prompt in the long run, (1 - 1 / answer)^batch."""
    whole(batch, 1, "batch")
    whole(answer, 1, "answer")
    return (1 - 1 / answer) ** batch


def cache_bytes(model: Model, system: System) -> float:
    """Bytes left for caches and states beside the weights; below 0 where the weights do not fit.

    Devices set apart hold experts and caches, the others everything else; without, all devices share both.
    """
    if not system.apart:
        return system.capacity_bytes - model.weight_bytes(system.num_nodes)
    experts = model.weight_bits / 8 * model.expert_parameters
    each = system.device.capacity_bytes
    if model.weight_bytes() - experts > each * system.dense_parallel:
        return each * system.dense_parallel - (model.weight_bytes() - experts)
    return each * system.apart - experts


def largest_batch(model: Model, system: System, session_tokens: float) -> int:
    """Sessions of `session_tokens` that fit into memory beside the weights.

    Raises: InputError when the weights, or one session, do not fit.
    """
    free = cache_bytes(model, system)
    each = model.session_bytes(session_tokens)
    if free < each:
        raise InputError(
            f"{model.weight_bytes(system.num_nodes) / 1e9:.1f} GB of weights and one session of {each / 1e9:.3f} GB do "
            f"not fit into {system.capacity_bytes / 1e9:.1f} GB; use more devices, or a shorter session"
        )
    return int(free // each)


def steady(
    model: Model,
    system: System,
    *,
    batch: int,
    prompt: int,
    answer: int,
    spread: float = 0.0,
    routing: Routing = EVEN,
) -> Steady:
    """Throughput and energy in the long run.

    Args:
        batch: requests at once, cut to what fits into memory at full length.
        prompt: mean tokens a request brings; answer: mean tokens it takes, at least 1.
        spread: standard deviation of both lengths over their mean. A request met at a random moment has a long answer
            more often than a short one, and attention over a prompt grows with its square: both by 1 + spread^2.

    Raises: InputError when nothing fits.
    """
    whole(batch, 1, "batch")
    whole(prompt, 1, "prompt")
    whole(answer, 1, "answer")
    square = 1 + at_least(spread, 0, "spread") ** 2
    batch = min(batch, largest_batch(model, system, prompt + answer))
    seconds = joules = 0.0
    context = prompt + answer / 2 * square
    starts = 1 / answer
    decode_s = stage_cost(model, system, Stage.of_lengths(batch, context), routing=routing).seconds
    for prompts in range(batch + 1):
        chance = math.comb(batch, prompts) * starts**prompts * (1 - starts) ** (batch - prompts)
        if chance < _NEGLIGIBLE:
            if prompts > batch * starts:
                break
            continue
        stage = Stage(
            decode=batch - prompts,
            context_tokens=(batch - prompts) * context,
            prompts=prompts,
            prompt_tokens=prompts * prompt,
            prompt_pairs=prompts * prompt * prompt / 2 * square,
        )
        cost = stage_cost(model, system, stage, routing=routing)
        seconds += chance * cost.seconds
        joules += chance * cost.energy_j
    return Steady(
        batch=batch,
        stage_s=seconds,
        tokens_per_s=batch / seconds,
        joules_per_token=joules / batch,
        decode_stage_s=decode_s,
    )

"""A real model on a measured machine: what its calls should take, and how far that is from what they took.

Two predictions. From matrix products alone: the machine's constants, nothing of the model's own program. And from every
other call: the same three constants fitted there, the calls between predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fullduplex.base.errors import InputError
from fullduplex.hardware.calibrate.fit import Fit, fit_roofline
from fullduplex.hardware.checks import positive, whole
from fullduplex.hardware.device import Device, System
from fullduplex.hardware.model import Model
from fullduplex.hardware.stage import Share, dense_layers, mixer_work
from fullduplex.hardware.workload import Work, gemm

__all__ = ["Call", "Predicted", "call_work", "predict_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`tokens` new tokens of one conversation behind `context` old ones, and the seconds they took."""

    tokens: int
    context: int
    seconds: float

    def __post_init__(self) -> None:
        whole(self.tokens, 1, "tokens")
        whole(self.context, 0, "context")
        positive(self.seconds, "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Seconds of every call from products alone; the fit to every other call, and its mean errors there and between."""

    from_products_s: tuple[float, ...]
    products_error: float
    fit: Fit
    from_calls_s: tuple[float, ...]
    fitted_error: float
    held_out_error: float


def call_work(model: Model, call: Call) -> Work:
    """Operations and bytes of one call on one device, weights as they are stored."""
    system = System(device=Device(flops_per_s=1.0, bytes_per_s=1.0, capacity_bytes=1.0, source="shapes only"))
    pairs, seen = call.tokens * (call.context + call.tokens / 2), float(call.context + call.tokens)
    share = Share(
        decode=0.0,
        context_tokens=0.0,
        prompt_tokens=float(call.tokens),
        prompt_pairs=pairs,
        heads=1.0,
    )
    flops = moved = 0.0
    for part, inner, columns, layers in dense_layers(model, system):
        work = gemm(1.0 if part == "head" else call.tokens, inner, columns, model.weight_bits)
        flops, moved = flops + layers * work.flops, moved + layers * work.bytes
    _, (scan, _) = mixer_work(model, system, share)
    cache = seen * model.kv_bytes_per_token
    return Work(flops + model.num_layers * scan.flops, moved + model.num_layers * scan.bytes + cache)


def predict_calls(model: Model, calls: Sequence[Call], device: Device, products: Fit) -> Predicted:
    """Both predictions for `calls`, which should mix short and long ones in any order.

    Raises: InputError for fewer than six calls, or a model with experts (a call does not say which it visits).
    """
    if len(calls) < 6:
        raise InputError(f"{len(calls)} calls were timed; expected at least 6")
    if model.num_expert_layers:
        raise InputError("the model has experts; a call does not say which of them it visits: use a dense one")
    work = [call_work(model, call) for call in calls]
    measured = np.array([call.seconds for call in calls])
    # A kernel's start is paid by each product of each layer.
    launches = sum(layers for _, _, _, layers in dense_layers(model, System(device=device)))
    plain = products.seconds(work, device) + (launches - 1) * products.start_s
    fit = fit_roofline(work[::2], measured[::2], device)
    own = fit.seconds(work, device)
    return Predicted(
        from_products_s=tuple(plain.tolist()),
        products_error=float(np.abs(plain / measured - 1).mean()),
        fit=fit,
        from_calls_s=tuple(own.tolist()),
        fitted_error=fit.error(work[::2], measured[::2], device),
        held_out_error=fit.error(work[1::2], measured[1::2], device),
    )

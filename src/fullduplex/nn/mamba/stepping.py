"""One step of a Mamba or Mamba-2 layer as one call of native/step.h; the slow twin is the layer's own `scan` of one step.

It is taken where it can be: compiled kernels, no gradient wanted, no autocast, all weights in the precision of the state.
Large batches go the other way, because a matrix product reads the weights once for many rows. Inside a `PreNorm` block
the norm and the residual are part of the call.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fullduplex.kernels.native.library import native

__all__ = ["MOST_ROWS", "BlockNorm", "StepCall", "run_step"]

MOST_ROWS = 8


@dataclass(frozen=True, slots=True)
class BlockNorm:
    """The norm of the block around a layer."""

    gain_D: Tensor
    epsilon: float


@dataclass(frozen=True, slots=True)
class StepCall:
    """What a layer lends for one step.

    Args:
        kernel: name in native/step.h.
        weights: in the order given there; None for a bias there is not.
        sizes: as given there, without batch and threads; the width of the model first.
        shapes: of past and states, without batch. C takes their word for it, so they are checked before.
        limits: numbers between the block's epsilon and the sizes.
    """

    kernel: str
    weights: tuple[Tensor | None, ...]
    sizes: tuple[int, ...]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    limits: tuple[float, ...] = ()


def run_step(
    x_BD: Tensor, call: StepCall, state: tuple[Tensor, Tensor], norm: BlockNorm | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """y_BD, past and states after one step; None where one call may not do it.

    Args:
        x_BD: input.
        call: what the layer lends.
        state: past and states before.
        norm: of a block: y = x + layer(norm(x)) instead of layer(x).
    """
    past, h = state
    kind, gain_D = h.dtype, None if norm is None else norm.gain_D
    if x_BD.shape[0] > MOST_ROWS or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return None
    rows = x_BD.shape[0]
    fits = (x_BD.shape[1], past.shape, h.shape) == (call.sizes[0], (rows, *call.shapes[0]), (rows, *call.shapes[1]))
    if not fits:
        return None  # the other path says what is wrong
    lent = (*call.weights, past, h, gain_D)
    for each in lent:
        if each is not None and not (each.dtype is kind and each.is_contiguous() and each.is_cpu):
            return None
    if norm is not None and x_BD.dtype is not kind:
        return None  # a residual keeps its own precision
    x_BD = x_BD.to(kind).contiguous()
    compiled = native() if kind in (torch.float32, torch.float64) and x_BD.is_cpu else None
    if compiled is None:
        return None
    out = (torch.empty_like(x_BD), torch.empty_like(past), torch.empty_like(h))
    epsilon = 0.0 if norm is None else norm.epsilon
    sizes = (rows, *call.sizes, torch.get_num_threads())
    compiled.run(call.kernel, kind, (x_BD, *lent), out, epsilon, *call.limits, sizes)
    return out

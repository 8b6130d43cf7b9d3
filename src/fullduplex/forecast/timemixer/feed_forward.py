"""The feed-forward layer of a block with its sums, as one step that keeps only what went in.

Autograd would keep the hidden values and their GELU, the largest things of a training step. Where a C compiler was found a
chunk of columns goes through both maps in the nearest cache (kernels/native/feedforward.h); else autograd does it.
Axes: D features, F hidden features, R columns (rows and steps).
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fullduplex.kernels.native.library import native_for

__all__ = ["feed_forward", "feed_forward_ref"]

Weights = tuple[Tensor, Tensor, Tensor, Tensor]


def feed_forward(x_DR: Tensor | None, s_DR: Tensor, t_DR: Tensor | None, weights: Weights) -> Tensor:
    """x + W2 gelu(W1 (s + t) + b1) + b2, shape (D, R).

    Args:
        x_DR: what the layer is added to; None is nothing.
        s_DR: its input.
        t_DR: the other part of its input; None is nothing.
        weights: W1 of shape (F, D), b1, W2 of shape (D, F), b2.
    """
    given = [each for each in (x_DR, s_DR, t_DR, *weights) if each is not None]
    one_kind = {each.dtype for each in given} in ({torch.float32}, {torch.float64})
    if not one_kind or torch.is_autocast_enabled("cpu") or native_for(*given) is None:
        return feed_forward_ref(x_DR, s_DR, t_DR, weights)
    return cast("Tensor", _FeedForward.apply(x_DR, s_DR, t_DR, *weights))


def feed_forward_ref(x_DR: Tensor | None, s_DR: Tensor, t_DR: Tensor | None, weights: Weights) -> Tensor:
    """The slow twin, by autograd."""
    w1_FD, b1_F, w2_DF, b2_D = weights
    sum_DR = s_DR if t_DR is None else s_DR + t_DR
    y_DR = w2_DF @ functional.gelu(w1_FD @ sum_DR + b1_F.unsqueeze(1)) + b2_D.unsqueeze(1)
    return y_DR if x_DR is None else x_DR + y_DR


class _FeedForward(torch.autograd.Function):
    """Both directions in C."""

    @staticmethod
    def forward(ctx: Any, x: Tensor | None, s: Tensor, t: Tensor | None, *weights: Tensor) -> Tensor:
        lent = [None if each is None else each.contiguous() for each in (x, s, t, *weights)]
        ctx.save_for_backward(*lent[1:])
        y = torch.empty_like(s, memory_format=torch.contiguous_format)
        compiled = native_for(s)
        assert compiled is not None
        compiled.run("feed_forward", s.dtype, lent, y, _sizes(s, weights[0]))
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy = grad_outputs[0].contiguous()
        s, t, *weights = ctx.saved_tensors
        out = [torch.empty_like(each) for each in (s, *weights)]
        compiled = native_for(s)
        assert compiled is not None
        compiled.run("feed_forward_backward", s.dtype, [None, s, t, *weights], dy, out, _sizes(s, weights[0]))
        ds, *dweights = out
        return dy if ctx.needs_input_grad[0] else None, ds, None if t is None else ds, *dweights


def _sizes(s_DR: Tensor, w1_FD: Tensor) -> tuple[int, ...]:
    return (*reversed(w1_FD.shape), s_DR.shape[1], torch.get_num_threads())

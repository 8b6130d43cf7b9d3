"""GELU and the linear map after it as one step, which keeps only what went in.

Plain autograd keeps both the input of the GELU and its output, the largest things of a training step; the output is quick
to make again on the way back. Axes: D features, R rows, T steps.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["gelu_then_features", "gelu_then_features_ref", "gelu_then_steps", "gelu_then_steps_ref"]


def gelu_then_features(x_DR: Tensor, weight_ED: Tensor, bias_E: Tensor) -> Tensor:
    """W gelu(x) + b along the first axis; shape (E, R)."""
    made: Tensor = _GeluMap.apply(x_DR, weight_ED, bias_E, True)  # type: ignore[no-untyped-call]
    return made


def gelu_then_steps(x_RT: Tensor, weight_UT: Tensor, bias_U: Tensor) -> Tensor:
    """The same along the last axis; shape (R, U)."""
    made: Tensor = _GeluMap.apply(x_RT, weight_UT, bias_U, False)  # type: ignore[no-untyped-call]
    return made


def gelu_then_features_ref(x_DR: Tensor, weight_ED: Tensor, bias_E: Tensor) -> Tensor:
    """The slow twin, by autograd."""
    return weight_ED @ F.gelu(x_DR) + bias_E.unsqueeze(1)


def gelu_then_steps_ref(x_RT: Tensor, weight_UT: Tensor, bias_U: Tensor) -> Tensor:
    """The slow twin, by autograd."""
    return F.linear(F.gelu(x_RT), weight_UT, bias_U)


class _GeluMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, first_axis: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.first_axis = first_axis
        if first_axis:
            return torch.addmm(bias.unsqueeze(1), weight, F.gelu(x))
        return torch.addmm(bias, F.gelu(x), weight.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        if ctx.first_axis:
            grad_weight, grad_bias, grad_hidden = grad @ F.gelu(x).t(), grad.sum(1), weight.t() @ grad
        else:
            grad_weight, grad_bias, grad_hidden = grad.t() @ F.gelu(x), grad.sum(0), grad @ weight
        torch.ops.aten.gelu_backward.grad_input(grad_hidden, x, grad_input=grad_hidden)
        return grad_hidden, grad_weight, grad_bias, None

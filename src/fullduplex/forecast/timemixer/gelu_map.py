"""GELU and the linear map along time after it as one step, which keeps only what went in.

Plain autograd keeps both the input of the GELU and its output; the output is quick to make again on the way back. Axes: R rows,
T and U steps.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["gelu_map", "gelu_map_ref"]


def gelu_map(x_RT: Tensor, weight_UT: Tensor, bias_U: Tensor) -> Tensor:
    """W gelu(x) + b along the last axis; shape (R, U)."""
    return cast("Tensor", _GeluMap.apply(x_RT, weight_UT, bias_U))


def gelu_map_ref(x_RT: Tensor, weight_UT: Tensor, bias_U: Tensor) -> Tensor:
    """The slow twin, by autograd."""
    return functional.linear(functional.gelu(x_RT), weight_UT, bias_U)


class _GeluMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.addmm(bias, functional.gelu(x), weight.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        grad_weight, grad_bias, grad_hidden = grad.t() @ functional.gelu(x), grad.sum(0), grad @ weight
        torch.ops.aten.gelu_backward.grad_input(grad_hidden, x, grad_input=grad_hidden)
        return grad_hidden, grad_weight, grad_bias

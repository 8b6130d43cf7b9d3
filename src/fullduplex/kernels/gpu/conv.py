"""The causal depthwise convolution on a GPU, in Triton: one program for a block of steps and a block of channels.

The way back is the same kernel: the gradient of the stream is the gradient of the sums, convolved with the taps in the other
order. The sums in front of the SiLU are computed again rather than kept. Importing this module needs Triton; the arguments are
those of `fullduplex.kernels.conv.causal_conv`, already checked.
"""

from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullduplex.kernels.gpu.launch import launch, plain

__all__ = ["conv_gpu"]

_STEPS, _CHANNELS = 32, 32


@triton.jit
def _conv_kernel(  # noqa: PLR0913
    x, weight, bias, past, out, num_steps, width, num_taps, silu: tl.constexpr, steps: tl.constexpr, lanes: tl.constexpr
):
    t = tl.program_id(0) * steps + tl.arange(0, steps)[:, None]
    row = tl.program_id(1).to(tl.int64)
    d = tl.program_id(2) * lanes + tl.arange(0, lanes)[None, :]
    inside = (t < num_steps) & (d < width)
    total = tl.load(bias + d, mask=d < width, other=0.0) + tl.zeros((steps, lanes), bias.dtype.element_ty)
    for k in range(num_taps):
        at = t - (num_taps - 1) + k
        now = tl.load(x + (row * num_steps + at) * width + d, mask=inside & (at >= 0), other=0.0)
        before = tl.load(
            past + (row * (num_taps - 1) + at + num_taps - 1) * width + d, mask=inside & (at < 0), other=0.0
        )
        total += (now + before) * tl.load(weight + d * num_taps + k, mask=d < width, other=0.0)
    if silu:
        total = total / (1.0 + tl.exp(-total))
    tl.store(out + (row * num_steps + t) * width + d, total, mask=inside)


def _run(x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, *, silu: bool) -> Tensor:
    given = [plain(each) for each in (x_BTD, weight_DK, bias_D, past_BSD)]
    batch, num_steps, width = x_BTD.shape
    out_BTD = torch.empty_like(given[0])
    grid = (triton.cdiv(num_steps, _STEPS), batch, triton.cdiv(width, _CHANNELS))
    launch(_conv_kernel, grid, *given, out_BTD, num_steps, width, weight_DK.shape[1], silu, _STEPS, _CHANNELS)
    return out_BTD


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, silu: bool) -> Tensor:
        ctx.save_for_backward(x_BTD, weight_DK, bias_D, past_BSD)
        ctx.silu = silu
        return _run(x_BTD, weight_DK, bias_D, past_BSD, silu=silu)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        (dz_BTD,) = grad_outputs
        x_BTD, weight_DK, bias_D, past_BSD = ctx.saved_tensors
        num_steps, num_taps = x_BTD.shape[1], weight_DK.shape[1]
        if ctx.silu:
            z_BTD = _run(x_BTD, weight_DK, bias_D, past_BSD, silu=False)
            share_BTD = torch.sigmoid(z_BTD)
            dz_BTD = dz_BTD * share_BTD * (1 + z_BTD * (1 - share_BTD))
        longer_BTD = torch.cat([dz_BTD, torch.zeros_like(past_BSD)], dim=1)
        nothing_D, before_BSD = torch.zeros_like(bias_D), torch.zeros_like(past_BSD)
        dstream_BTD = _run(longer_BTD, weight_DK.flip(1), nothing_D, before_BSD, silu=False)
        stream_BTD = torch.cat([past_BSD, x_BTD], dim=1)
        taps = [(dz_BTD * stream_BTD[:, k : k + num_steps]).sum((0, 1)) for k in range(num_taps)]
        past = num_taps - 1
        return dstream_BTD[:, past:], torch.stack(taps, dim=1), dz_BTD.sum((0, 1)), dstream_BTD[:, :past], None


def conv_gpu(x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, *, silu: bool) -> Tensor:
    """The outputs of one piece of a stream, T >= 1. Differentiable once."""
    return cast("Tensor", _Conv.apply(x_BTD, weight_DK, bias_D, past_BSD, silu))

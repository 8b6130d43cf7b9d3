"""Causal depthwise convolution that carries its past: y_t = f(bias + sum_k weight_k * x_{t-K+1+k}), f SiLU or nothing.

Axes: B batch, T time, D channels, K taps, S = K - 1 remembered inputs. Tap K - 1 meets the present input, as in
`torch.nn.functional.conv1d`.

The torch path adds K shifted copies of the input, so every output is the same sum in the same order however the
stream is cut, and no layout is changed. It is meant for short kernels (K <= 16). The compiled path (native/conv.h, K <= 16)
is the same sum in one pass over memory, with the SiLU in it; it can be differentiated once.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import Native, native_for, triton_for, unit_rows

__all__ = ["causal_conv", "causal_conv_ref"]

_MOST_TAPS_COMPILED = 16


def causal_conv(
    x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, *, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """Convolve a piece of a stream.

    Args:
        x_BTD: the inputs of this piece; T may be 0.
        weight_DK: one kernel a channel, K >= 1.
        bias_D: added to every output.
        past_BSD: the S = K - 1 inputs before this piece, oldest first; zeros at the start of a stream.
        silu: put x / (1 + e^-x) behind it.

    Returns:
        y_BTD and the past for the next piece, a fresh tensor that keeps nothing else alive.

    Raises:
        InputError: the shapes do not fit, or the four are not of one dtype on one device.
    """
    _check(x_BTD, weight_DK, bias_D, past_BSD)
    num_steps, num_taps = x_BTD.shape[1], weight_DK.shape[1]
    if x_BTD.is_floating_point() and triton_for(x_BTD):
        from fullduplex.kernels.gpu.conv import conv_gpu

        stream_BTD = torch.cat([past_BSD, x_BTD[:, max(0, num_steps - num_taps + 1) :]], dim=1)
        left_BSD = stream_BTD[:, stream_BTD.shape[1] - num_taps + 1 :].clone()
        return conv_gpu(x_BTD, weight_DK, bias_D, past_BSD, silu=silu), left_BSD
    compiled = native_for(x_BTD, weight_DK, bias_D, past_BSD)
    if compiled is not None and x_BTD.is_floating_point() and num_steps and num_taps <= _MOST_TAPS_COMPILED:
        inputs = (x_BTD, weight_DK, bias_D, past_BSD)
        past_BSD = torch.cat([past_BSD, x_BTD[:, max(0, num_steps - num_taps + 1) :]], dim=1)
        past_BSD = past_BSD[:, past_BSD.shape[1] - num_taps + 1 :].clone()
        if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
            return cast("Tensor", _Conv.apply(*inputs, silu)), past_BSD
        return _forward(compiled, inputs, silu), past_BSD
    stream_BTD = torch.cat([past_BSD, x_BTD], dim=1)
    y_BTD = bias_D.expand(x_BTD.shape)
    for tap in range(num_taps):
        y_BTD = torch.addcmul(y_BTD, stream_BTD[:, tap : tap + num_steps], weight_DK[:, tap])
    return (functional.silu(y_BTD) if silu else y_BTD), stream_BTD[:, num_steps:].clone()


def causal_conv_ref(
    x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, *, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """`causal_conv`, written to be read: one window, one dot product, one step at a time."""
    num_taps = weight_DK.shape[1]
    window_BKD, outputs = past_BSD, []
    for t in range(x_BTD.shape[1]):
        window_BKD = torch.cat([window_BKD, x_BTD[:, t : t + 1]], dim=1)
        sum_BD = torch.einsum("bkd,dk->bd", window_BKD, weight_DK) + bias_D
        outputs.append(sum_BD * torch.sigmoid(sum_BD) if silu else sum_BD)
        window_BKD = window_BKD[:, window_BKD.shape[1] - num_taps + 1 :]
    return (torch.stack(outputs, dim=1) if outputs else x_BTD.clone()), window_BKD.clone()


def _sizes(x_BTD: Tensor, num_taps: int, silu: bool) -> tuple[int, ...]:
    return (*x_BTD.shape, num_taps, *x_BTD.stride()[:2], int(silu), torch.get_num_threads())


def _forward(compiled: Native, inputs: tuple[Tensor, ...], silu: bool) -> Tensor:
    x_BTD, weight_DK, bias_D, past_BSD = unit_rows(inputs[0]), *(each.contiguous() for each in inputs[1:])
    y_BTD = x_BTD.new_empty(x_BTD.shape)
    compiled.run(
        "conv", x_BTD.dtype, x_BTD, weight_DK, bias_D, past_BSD, y_BTD, _sizes(x_BTD, weight_DK.shape[1], silu)
    )
    return y_BTD


class _Conv(torch.autograd.Function):
    """Both directions in C; the sums in front of the SiLU are computed again rather than kept."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor, silu: bool) -> Tensor:
        compiled = native_for(x_BTD)
        assert compiled is not None
        ctx.save_for_backward(x_BTD, weight_DK, bias_D, past_BSD)
        ctx.silu = silu
        return _forward(compiled, (x_BTD, weight_DK, bias_D, past_BSD), silu)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        dy_BTD = grad_outputs[0].contiguous()
        x_BTD, *others = ctx.saved_tensors
        x_BTD, (weight_DK, bias_D, past_BSD) = unit_rows(x_BTD), (each.contiguous() for each in others)
        compiled = native_for(x_BTD)
        assert compiled is not None
        batch = x_BTD.shape[0]
        dx_BTD, dpast_BSD = x_BTD.new_empty(x_BTD.shape), torch.empty_like(past_BSD)
        dweight_BDK, dbias_BD = x_BTD.new_empty(batch, *weight_DK.shape), x_BTD.new_empty(batch, *bias_D.shape)
        compiled.run(
            "conv_backward", x_BTD.dtype, x_BTD, weight_DK, bias_D, past_BSD, dy_BTD, dx_BTD, dweight_BDK, dbias_BD,
            dpast_BSD, _sizes(x_BTD, weight_DK.shape[1], ctx.silu),
        )  # fmt: skip
        return dx_BTD, dweight_BDK.sum(0), dbias_BD.sum(0), dpast_BSD, None


def _check(x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor) -> None:
    shapes = [tuple(tensor.shape) for tensor in (x_BTD, weight_DK, bias_D, past_BSD)]
    fits = x_BTD.ndim == 3 and weight_DK.ndim == 2 and weight_DK.shape[1] >= 1
    if fits:
        (batch, _, width), num_taps = x_BTD.shape, weight_DK.shape[1]
        fits = shapes[1:] == [(width, num_taps), (width,), (batch, num_taps - 1, width)]
    if not fits:
        raise InputError(
            f"causal_conv got x, weight, bias, past of shapes {shapes}; "
            "expected (B, T, D), (D, K) with K >= 1, (D,), (B, K - 1, D)"
        )
    kinds = [(tensor.dtype, str(tensor.device)) for tensor in (x_BTD, weight_DK, bias_D, past_BSD)]
    if len(set(kinds)) > 1:
        raise InputError(f"causal_conv got x, weight, bias, past of kinds {kinds}; expected one dtype on one device")

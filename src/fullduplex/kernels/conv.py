"""Causal depthwise convolution that carries its past: y_t = bias + sum_k weight_k * x_{t-K+1+k}.

Axes: B batch, T time, D channels, K taps, S = K - 1 remembered inputs. Tap K - 1 meets the present input, as in
`torch.nn.functional.conv1d`.

The fast path adds K shifted copies of the input, so every output is the same sum in the same order however the
stream is cut, and no layout is changed. It is meant for short kernels (K <= 16).
"""

import torch
from torch import Tensor

from fullduplex.base.errors import InputError

__all__ = ["causal_conv", "causal_conv_ref"]


def causal_conv(x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve a piece of a stream.

    Args:
        x_BTD: the inputs of this piece; T may be 0.
        weight_DK: one kernel a channel, K >= 1.
        bias_D: added to every output.
        past_BSD: the S = K - 1 inputs before this piece, oldest first; zeros at the start of a stream.

    Returns:
        y_BTD and the past for the next piece, a fresh tensor that keeps nothing else alive.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(x_BTD, weight_DK, bias_D, past_BSD)
    num_steps, num_taps = x_BTD.shape[1], weight_DK.shape[1]
    stream_BTD = torch.cat([past_BSD, x_BTD], dim=1)
    y_BTD = bias_D.expand(x_BTD.shape)
    for tap in range(num_taps):
        y_BTD = torch.addcmul(y_BTD, stream_BTD[:, tap : tap + num_steps], weight_DK[:, tap])
    return y_BTD, stream_BTD[:, num_steps:].clone()


def causal_conv_ref(x_BTD: Tensor, weight_DK: Tensor, bias_D: Tensor, past_BSD: Tensor) -> tuple[Tensor, Tensor]:
    """`causal_conv`, written to be read: one window, one dot product, one step at a time."""
    num_taps = weight_DK.shape[1]
    window_BKD, outputs = past_BSD, []
    for t in range(x_BTD.shape[1]):
        window_BKD = torch.cat([window_BKD, x_BTD[:, t : t + 1]], dim=1)
        outputs.append(torch.einsum("bkd,dk->bd", window_BKD, weight_DK) + bias_D)
        window_BKD = window_BKD[:, window_BKD.shape[1] - num_taps + 1 :]
    return (torch.stack(outputs, dim=1) if outputs else x_BTD.clone()), window_BKD.clone()


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

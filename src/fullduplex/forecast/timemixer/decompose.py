"""Season and trend of a window.

Axes: T steps in time; any axes before it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fullduplex.base.errors import InputError

__all__ = ["moving_average", "moving_average_matrix", "split_by_dft"]


def moving_average(x_T: Tensor, kernel: int) -> Tensor:
    """Centred mean over `kernel` steps, the first and last step repeated beyond the ends; shape (..., T).

    It looks (kernel - 1) / 2 steps ahead, so it belongs to a window that is already there, never to a stream.
    """
    half = (kernel - 1) // 2
    rows = x_T.reshape(-1, 1, x_T.shape[-1])
    padded = torch.cat([rows[..., :1].expand(-1, -1, half), rows, rows[..., -1:].expand(-1, -1, half)], dim=-1)
    return F.avg_pool1d(padded, kernel, 1).reshape(x_T.shape)


def moving_average_matrix(num_steps: int, kernel: int) -> Tensor:
    """The same mean as a matrix A of shape (T, T): trend = x @ A. One product is faster than a pass of pooling."""
    return moving_average(torch.eye(num_steps), kernel)


def split_by_dft(x_T: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Season, the `top_k` strongest frequencies of each series, and trend, the rest with the mean; shapes (..., T).

    Every series is split for itself, along time. The mean is never season.

    Raises:
        InputError: there are fewer frequencies than `top_k`.
    """
    spectrum = torch.fft.rfft(x_T, dim=-1)
    strength = spectrum.abs()
    strength[..., 0] = -1.0
    if top_k > strength.shape[-1] - 1:
        raise InputError(
            f"top_k is {top_k}, a window of {x_T.shape[-1]} steps has {strength.shape[-1] - 1} frequencies"
        )
    kept = torch.zeros_like(strength, dtype=torch.bool).scatter_(-1, strength.topk(top_k, dim=-1).indices, True)
    season_T = torch.fft.irfft(spectrum * kept, n=x_T.shape[-1], dim=-1)
    return season_T, x_T - season_T

"""Root-mean-square normalisation of the last axis (Zhang and Sennrich, arXiv 1910.07467, equation 4).

y = gain x / sqrt(mean(x^2) + epsilon). The compiled path (native/step.h) reads and writes each row once; it is taken where
no gradient is wanted. The torch path makes three passes and is differentiated by autograd.
"""

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.kernels.native.library import native_for

__all__ = ["rms_norm", "rms_norm_ref"]


def rms_norm(x: Tensor, gain_D: Tensor, epsilon: float) -> Tensor:
    """Normalise rows.

    Args:
        x: (..., D), of the precision of the gain.
        gain_D: multiplies the result.
        epsilon: keeps silence finite.

    Returns:
        A fresh tensor of the shape of `x`.

    Raises:
        InputError: the last axis is not as long as the gain, or the precisions differ.
    """
    if x.ndim == 0 or x.shape[-1:] != gain_D.shape or x.dtype != gain_D.dtype:
        raise InputError(
            f"rms_norm got x {x.dtype} {tuple(x.shape)}, gain {gain_D.dtype} {tuple(gain_D.shape)}; "
            "expected (..., D) and (D,) of one precision"
        )
    wanted = torch.is_grad_enabled() and (x.requires_grad or gain_D.requires_grad)
    compiled = None if wanted or not x.numel() else native_for(x, gain_D)
    if compiled is None:
        return gain_D * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    x, width = x.contiguous(), gain_D.shape[0]
    out = torch.empty_like(x)
    sizes = (x.numel() // width, width, torch.get_num_threads())
    compiled.run("norm", x.dtype, x, gain_D.contiguous(), out, epsilon, sizes)
    return out


def rms_norm_ref(x: Tensor, gain_D: Tensor, epsilon: float) -> Tensor:
    """`rms_norm`, one row after the other."""
    rows = [gain_D * row / (row @ row / row.shape[0] + epsilon).sqrt() for row in x.reshape(-1, x.shape[-1])]
    return torch.stack(rows).reshape(x.shape) if rows else x.clone()

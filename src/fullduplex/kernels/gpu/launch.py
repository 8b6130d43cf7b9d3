"""How a Triton kernel meets its tensors: plain memory, and the device they lie on. Importing this module needs no Triton."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["launch", "plain"]


def plain(tensor: Tensor) -> Tensor:
    """The numbers as they lie in memory, dense; a complex number as two neighbours, real and imaginary part."""
    dense = tensor.resolve_conj().resolve_neg().contiguous()
    return torch.view_as_real(dense) if dense.is_complex() else dense


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Tensor | int) -> None:
    """Run the programs of `grid` on the device of the first argument, which need not be the current one."""
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments)

"""Root-mean-square normalisation over features (Zhang and Sennrich, arXiv 1910.07467, equation 4)."""

import torch
from torch import Tensor, nn

from fullduplex.kernels.norm import rms_norm
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["RMSNorm"]


class RMSNorm(nn.Module):
    """y = gain * x / sqrt(mean(x^2) + epsilon): each step by itself, so it streams as it is.

    Args:
        width: features.
        epsilon: keeps silence finite.
    """

    growth: Growth = "constant"

    def __init__(self, width: int, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def init(self, batch: int) -> Stateless:
        """Nothing to remember."""
        return Stateless()

    def step(self, x_BD: Tensor, state: Stateless) -> tuple[Tensor, Stateless]:
        """One step."""
        check_piece("RMSNorm", x_BD, 2, self.gain.shape[0])
        return self._normalise(x_BD), state

    def scan(self, x_BTD: Tensor, state: Stateless) -> tuple[Tensor, Stateless]:
        """T steps at once."""
        check_piece("RMSNorm", x_BTD, 3, self.gain.shape[0])
        return self._normalise(x_BTD), state

    def _normalise(self, x: Tensor) -> Tensor:
        # In the precision of the gain: the mean of many squares is where half precision loses most.
        return rms_norm(x.to(self.gain.dtype), self.gain, self.epsilon)

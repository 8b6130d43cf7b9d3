"""A diagonal state space in discrete time, as functions of its numbers.

Axes: B batch, T time, D channels, M modes of each channel, one of each conjugate pair.

    h_t = a h_{t-1} + b x_t,   y_t = 2 Re(sum over modes of c h_t) + d x_t

A piece of T steps is a convolution with K_l = 2 Re sum c b a^l by FFT, plus what the state before it still says; the
state after it is the same sum turned around (`fullduplex.kernels.vandermonde`). Modes are complex128: a rounded mode is
as wrong as its exponent is large. Signals keep their own precision.

A NaN in a piece reaches all outputs of that row and channel, earlier ones in the same piece too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fullduplex.kernels.vandermonde import gather_powers, unroll_powers
from fullduplex.nn.stream import Growth, check_piece

__all__ = ["DiagonalModes", "DiagonalModesState", "FrozenDiagonal", "response", "scan", "step"]


@dataclass(frozen=True, slots=True)
class DiagonalModes:
    """The numbers of the recurrence: three complex, and the skip connection, real."""

    a_DM: Tensor
    b_DM: Tensor
    c_DM: Tensor
    skip_D: Tensor


@dataclass(frozen=True, slots=True)
class DiagonalModesState:
    """The modes of every channel, real and imaginary parts last."""

    h_BDM2: Tensor


def step(modes: DiagonalModes, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
    """One step."""
    kind = x_BD.dtype.to_complex()
    a_DM, b_DM, c_DM = modes.a_DM.to(kind), modes.b_DM.to(kind), modes.c_DM.to(kind)
    h_BDM = a_DM * torch.view_as_complex(state.h_BDM2) + b_DM * x_BD.unsqueeze(-1)
    y_BD = 2 * (c_DM * h_BDM).sum(-1).real + modes.skip_D * x_BD
    return y_BD, DiagonalModesState(torch.view_as_real(h_BDM))


def scan(modes: DiagonalModes, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
    """T steps at once, T >= 0."""
    num_steps, kind = x_BTD.shape[1], x_BTD.dtype.to_complex()
    if num_steps == 0:
        return x_BTD.clone(), state
    with torch.autocast(x_BTD.device.type, enabled=False):
        x_BDT, h_BDM = x_BTD.transpose(1, 2), torch.view_as_complex(state.h_BDM2)
        # What is left of the past: the first step of this piece already turns it once.
        past_BDT = unroll_powers((modes.c_DM * modes.a_DM).to(kind) * h_BDM, modes.a_DM, num_steps)
        y_BDT = _convolve(x_BDT, response(modes, num_steps)) + past_BDT + modes.skip_D.unsqueeze(-1) * x_BDT
        left_DM = (modes.a_DM**num_steps).to(kind)
        end_BDM = left_DM * h_BDM + modes.b_DM.to(kind) * gather_powers(x_BDT, modes.a_DM)
    return y_BDT.transpose(1, 2), DiagonalModesState(torch.view_as_real(end_BDM))


def response(modes: DiagonalModes, num_steps: int) -> Tensor:
    """K_DT, what one unit of input leads to, without the skip connection."""
    kind = modes.skip_D.dtype.to_complex()
    return unroll_powers((modes.c_DM * modes.b_DM).to(kind), modes.a_DM, num_steps)


class FrozenDiagonal:
    """A stream of fixed numbers: nothing learns, so nothing is discretised again at every step.

    Args:
        modes: the numbers; gradients end here.
    """

    growth: Growth = "constant"

    def __init__(self, modes: DiagonalModes) -> None:
        # Copies: a view of a parameter would go on learning.
        numbers = (each.detach().clone() for each in (modes.a_DM, modes.b_DM, modes.c_DM, modes.skip_D))
        a_DM, b_DM, c_DM, skip_D = numbers
        kind = skip_D.dtype.to_complex()
        self._wide = DiagonalModes(a_DM, b_DM, c_DM, skip_D)
        self._narrow = DiagonalModes(a_DM.to(kind), b_DM.to(kind), c_DM.to(kind), skip_D)

    def init(self, batch: int) -> DiagonalModesState:
        """Nothing heard yet."""
        return DiagonalModesState(self._wide.skip_D.new_zeros(batch, *self._wide.a_DM.shape, 2))

    def step(self, x_BD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """One step."""
        skip_D = self._wide.skip_D
        check_piece("FrozenDiagonal", x_BD, 2, skip_D.shape[0], state.h_BDM2)
        return step(self._narrow, x_BD.to(skip_D.dtype), state)

    def scan(self, x_BTD: Tensor, state: DiagonalModesState) -> tuple[Tensor, DiagonalModesState]:
        """T steps at once."""
        skip_D = self._wide.skip_D
        check_piece("FrozenDiagonal", x_BTD, 3, skip_D.shape[0], state.h_BDM2)
        return scan(self._wide, x_BTD.to(skip_D.dtype), state)


def _convolve(x_BDT: Tensor, kernel_DT: Tensor) -> Tensor:
    """Causal convolution of each channel with its kernel, both T long."""
    num_steps = x_BDT.shape[-1]
    length = 1 << (2 * num_steps - 1).bit_length()
    spectrum_BDF = torch.fft.rfft(x_BDT, n=length) * torch.fft.rfft(kernel_DT, n=length)
    return torch.fft.irfft(spectrum_BDF, n=length)[..., :num_steps]

"""What a layer does, in four curves: kernels, spectrum, gain, memory.

Axes: D channels, T ages in samples, M modes, F angles in radians a sample.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.s4 import S4
from fullduplex.ssm.s4d import S4D
from fullduplex.ssm.s5 import S5
from fullduplex.ssm.view.canvas import figure_and_axes, save

__all__ = ["LayerView", "draw_layer", "look_at"]

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerView:
    """What there is to see.

    Args:
        kernel_DT: what one unit of input leads to; of S5, in its own channel.
        turn_M: how one sample turns and shrinks each mode of all channels; without the low-rank part of S4.
        gain_DF, angles_F: gain of a tone, and its angle.
        reach_D: samples in which nine tenths of a kernel's energy lie.
    """

    kernel_DT: F64
    turn_M: C128
    gain_DF: F64
    angles_F: F64
    reach_D: F64

    @property
    def slowest(self) -> float:
        """Largest size of a mode's turn: below 1, or the layer never forgets."""
        return float(np.abs(self.turn_M).max())


def look_at(layer: object, num_steps: int) -> LayerView:
    """Unroll a layer.

    Args:
        layer: S4, S4D or S5.
        num_steps: how far back to look, T >= 2.

    Raises:
        InputError: another kind of layer, whose kernel depends on its input, or a length below 2.
    """
    if not isinstance(layer, S4 | S4D | S5):
        raise InputError(f"{type(layer).__name__} has no fixed kernel to look at; expected S4, S4D or S5")
    if num_steps < 2:
        raise InputError(f"got a length of {num_steps}; expected 2 or more")
    with torch.no_grad():
        if isinstance(layer, S5):
            kernel_DT = layer.kernel(num_steps).diagonal(dim1=1, dim2=2).T
            turn = layer.discrete().a_M
        elif isinstance(layer, S4):
            kernel_DT, system = layer.kernel(num_steps), layer.system()
            half = system.lambda_DM * system.step_D.unsqueeze(-1) / 2
            turn = (1 + half) / (1 - half)
        else:
            kernel_DT, turn = layer.kernel(num_steps), layer.discrete().a_DM
    kernel = kernel_DT.double().numpy()
    energy_DT = np.cumsum(np.square(kernel), axis=1)
    enough_DT = energy_DT >= 0.9 * energy_DT[:, -1:]
    length = 1 << max(10, (2 * num_steps - 1).bit_length())
    gain_DF = np.abs(np.fft.rfft(kernel, n=length))
    return LayerView(
        kernel_DT=kernel,
        turn_M=turn.to(torch.complex128).flatten().numpy(),
        gain_DF=gain_DF,
        angles_F=np.linspace(0, math.pi, gain_DF.shape[1]),
        reach_D=(np.argmax(enough_DT, axis=1) + 1).astype(np.float64),
    )


def draw_layer(file: Path, view: LayerView, *, title: str = "") -> None:
    """Write a PNG of the four curves.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, (kernels, spectrum, gain, reach) = figure_and_axes(12, 8, 2, 2)
    shown = view.kernel_DT[:_SHOWN]
    for row in shown:
        kernels.plot(row / max(float(np.abs(row).max()), 1e-30), lw=0.8)
    kernels.set(title=f"kernels of {len(shown)} channels, each to its peak", xlabel="samples ago")
    _draw_turns(spectrum, view)
    for row in view.gain_DF[:_SHOWN]:
        gain.plot(view.angles_F, 20 * np.log10(np.maximum(row, 1e-6 * row.max() + 1e-30)), lw=0.8)
    gain.set(title="gain of a tone, dB", xlabel="radians a sample")
    reach.hist(np.log10(view.reach_D), bins=20, color="0.5")
    reach.set(title="how far back: nine tenths of a kernel's energy", xlabel="log10 of samples", ylabel="channels")
    if title:
        figure.suptitle(title)
    save(figure, file)


def _draw_turns(axes: Any, view: LayerView) -> None:
    around = np.linspace(0, 2 * math.pi, 400)
    axes.plot(np.cos(around), np.sin(around), color="0.7", lw=0.8)
    axes.plot(view.turn_M.real, view.turn_M.imag, ".", ms=3, color="tab:blue")
    axes.set(title="turn of each mode in one sample", aspect="equal")

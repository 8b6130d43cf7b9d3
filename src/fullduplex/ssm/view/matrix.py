"""What PTD did to a matrix: eigenvalues before and after, and how far the transfer function moved."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullduplex.ssm.ptd.perturb import Ptd
from fullduplex.ssm.ptd.transfer import states, tones_between
from fullduplex.ssm.view.canvas import figure_and_axes, save

__all__ = ["draw_ptd"]


def draw_ptd(file: Path, a_NN: NDArray[Any], found: Ptd, *, title: str = "") -> None:
    """Write a PNG. The input vector is flat, of length 1; the output vector is the worst of length 1.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, (plane, axis) = figure_and_axes(11, 4.5, 1, 2)
    before = np.linalg.eigvals(a_NN)
    plane.plot(before.real, before.imag, "x", color="0.6", ms=5, label="A, as computed")
    plane.plot(found.values_N.real, found.values_N.imag, ".", color="tab:blue", ms=5, label="A + E")
    plane.axvline(0, color="0.8", lw=0.8)
    plane.set(title="eigenvalues", xlabel="real", ylabel="imaginary")
    plane.legend(frameon=False)
    order = a_NN.shape[0]
    b_N = np.ones(order) / np.sqrt(order)
    grid = tones_between(a_NN, found.values_N)
    one_FN, other_FN = states(a_NN, b_N, grid), states(a_NN + found.e_NN, b_N, grid)
    axis.loglog(grid, np.linalg.norm(one_FN, axis=1), color="0.6", label="|state| of A")
    axis.loglog(grid, np.linalg.norm(one_FN - other_FN, axis=1) + 1e-300, color="tab:red", label="moved by E")
    axis.set(title="a tone into every number of the state", xlabel="frequency, radians per unit of time")
    axis.legend(frameon=False)
    if title:
        figure.suptitle(title)
    save(figure, file)

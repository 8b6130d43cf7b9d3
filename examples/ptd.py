"""Diagonalise a matrix that cannot be diagonalised, and see what that does to a tone.

python examples/ptd.py
"""

import numpy as np

from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.ptd.perturb import PtdConfig, UnstableError, ptd
from fullduplex.ssm.ptd.spikes import discrete_modes, gain_of_modes, spike_of_legs

ORDER, STEP = 16, 5e-3

block = -np.eye(4) + np.diag(np.ones(3), 1)  # a Jordan block: one eigenvector for four eigenvalues
report = ptd(block).report
print(f"Jordan block: condition {report.condition_before:.1e} -> {report.condition:.1f}, "
      f"at a perturbation of {100 * report.relative:.1f} %")  # fmt: skip

legs = transition("legs", ORDER)
found = ptd(legs.a_NN, PtdConfig(abscissa=-0.5))
report = found.report
print(f"HiPPO-LegS, N = {ORDER}: condition {report.condition_before:.1e} -> {report.condition:.1f}, perturbed by "
      f"{100 * report.relative:.1f} %, slowest mode {report.abscissa:.2f}, was {report.abscissa_before:.2f}")  # fmt: skip

try:
    ptd(np.array([[0.1, 5.0], [0.0, -1.0]]))
except UnstableError as error:
    print(f"refused: an eigenvalue at {error.abscissa:.2f}, to the right of where it may be")

# A tone at the spike of S4D-LegS: loud there, nothing to HiPPO itself, and little after perturbing instead of dropping.
spike = spike_of_legs(ORDER, STEP, "zoh")
values_M, b_M, c_M = found.modes(legs.b_N, np.eye(ORDER)[0])
gain = gain_of_modes(*discrete_modes(values_M, b_M, STEP, "zoh"), c_M, [spike.angle])[0]
print(f"a tone at {spike.angle:.3f} radians a sample comes out of the first number of the state at "
      f"{spike.gain_diagonal:.3f} (S4D), {gain:.4f} (perturbed), {spike.gain_legs:.4f} (HiPPO)")  # fmt: skip

"""A window that remembers 100 samples and nothing older: S4 with HiPPO-LegT, run whole, in pieces and step by step.

python examples/s4.py
"""

import torch

from fullduplex.nn.state import fork, state_size_bytes
from fullduplex.ssm.s4 import S4, S4Config
from fullduplex.ssm.s5 import S5, S5Config

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
layer = S4(S4Config(width=8, order=64, kinds=("legt",), steps=(0.01, 0.01)), generator=generator)
x_BTD = torch.randn(1, 400, 8, generator=generator)

with torch.no_grad():
    energy_T = layer.kernel(400).square().sum(0)
    print(f"energy of the kernels older than the window of 100 samples: {energy_T[110:].sum() / energy_T.sum():.1%}")

    whole, end = layer.scan(x_BTD, layer.init(1))
    state, pieces = layer.init(1), []
    for piece in x_BTD.split([1, 150, 0, 249], dim=1):
        y, state = layer.scan(piece, state)
        pieces.append(y)
    print(f"in four pieces: off by {(torch.cat(pieces, 1) - whole).abs().max():.0e}")

    live, state = layer.frozen(), layer.init(1)
    for t in range(400):
        y, state = live.step(x_BTD[:, t], state)
    print(f"step by step: off by {(y - whole[:, -1]).abs().max():.0e}; a state of {state_size_bytes(state)} bytes")

    guess = fork(state)  # two futures from one past: nothing was copied, nothing will be overwritten
    loud, _ = live.step(torch.ones(1, 8), guess)
    quiet, _ = live.step(torch.zeros(1, 8), state)
    print(f"a fork differs by {(loud - quiet).abs().max():.2f}, and the parent is as it was")

    shared = S5(S5Config(width=8, order=64, blocks=4, start="ptd"), generator=generator)
    print(f"S5-PTD shares one state of {state_size_bytes(shared.init(1))} bytes among all 8 channels")

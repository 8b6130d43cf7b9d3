"""Train an S4D layer to say what it heard eight steps ago, then let it listen live, step by step.

python examples/s4d.py
"""

import torch

from fullduplex.nn.state import state_size_bytes
from fullduplex.ssm.s4d import S4D, S4DConfig

torch.set_num_threads(1)
LAG = 8
generator = torch.Generator().manual_seed(0)
layer = S4D(S4DConfig(width=1, order=32, start="lin", steps=(0.1, 0.1)), generator=generator)
slow = list(layer.slow_parameters())
others = [parameter for parameter in layer.parameters() if all(parameter is not each for each in slow)]
optimizer = torch.optim.AdamW([{"params": others, "lr": 0.02}, {"params": slow, "lr": 1e-3, "weight_decay": 0.0}])

for turn in range(151):
    x_BTD = torch.randn(16, 128, 1, generator=generator).cumsum(1) / 8
    y_BTD, _ = layer.scan(x_BTD, layer.init(16))  # in training: a convolution
    loss = (y_BTD[:, LAG:] - x_BTD[:, :-LAG]).square().mean() / x_BTD.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if turn % 50 == 0:
        print(f"after {turn:3d} updates the layer misses {100 * loss.item():.2f} % of the signal's power")

with torch.no_grad():
    live = layer.frozen()
    state = live.init(1)
    heard = torch.randn(1, 60, 1, generator=generator).cumsum(1) / 8
    whole, _ = live.scan(heard, state)
    for t in range(60):  # in a conversation: a recurrence
        said, state = live.step(heard[:, t], state)
    print(f"a state of {state_size_bytes(state)} bytes; the last step differs from the convolution by "
          f"{(said - whole[:, -1]).abs().max().item():.1e}")  # fmt: skip
    half = layer.at_rate(2)
    every_other, _ = half.scan(heard[:, ::2], half.init(1))
    print(f"at half the sample rate, without training, {LAG // 2} steps back: {every_other[0, -1, 0]:+.2f}, "
          f"was {heard[0, 58 - LAG, 0]:+.2f}")  # fmt: skip

"""Train a small state-space classifier to evaluate nested lists of digits, then read one token by token.

python examples/ssm_train.py
"""

import torch

from fullduplex.ssm.layers import LayerConfig
from fullduplex.ssm.tasks.fit import FitConfig, fit
from fullduplex.ssm.tasks.listops import TOKENS, listops

torch.set_num_threads(1)
task = listops(0, (2_000, 100, 200), lengths=(4, 12), max_depth=2, max_arguments=4)
layer = LayerConfig(name="s4d-lin", width=32, order=8, steps=(0.01, 0.5))
fitted = fit(task, FitConfig(layer=layer, depth=2, num_steps=150, batch_size=32, peak_lr=1e-2))
print(f"{fitted.num_parameters} parameters; loss {fitted.curve[0].loss:.2f} -> {fitted.curve[-1].loss:.2f}; "
      f"{fitted.test:.0%} of unseen lists right, {task.chance:.0%} by guessing")  # fmt: skip

row, value = torch.from_numpy(task.test.x[0, : task.test.lengths_N[0]]), int(task.test.y[0])
state = fitted.model.init(1)
with torch.no_grad():
    for token in row:
        answer, state = fitted.model.step(token[None], state)  # a stream: an answer after every token
print(f"{' '.join(TOKENS[token] for token in row)} is {value}; read as {int(answer.argmax())}")

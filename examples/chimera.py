"""Three series, one of which follows another two steps later: a 2-D model learns it, streams, and forecasts.

python examples/chimera.py
"""

import torch

from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.coupled import FLOOR, CoupledVar, Fit, draw_coupled, fit_next_column, next_column_error
from fullduplex.forecast.chimera.model import ForecasterConfig, NextColumn, roll_out
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.state import state_size_bytes

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
quick = HeadConfig(time=StepStart(shortest=0.1, longest=2.0))
layer = ChimeraConfig(width=8, order=4, num_taps=1, heads=(quick,))
model = NextColumn(ForecasterConfig(num_variates=3, layer=layer), generator=generator)
process = CoupledVar(lag=2)


def say(number: int, loss: float) -> None:
    """A line now and then."""
    if number % 40 == 0:
        print(f"update {number:3d}: mean squared error {loss:.3f}")


fit_next_column(
    model,
    lambda batch, steps: draw_coupled(process, batch, steps, generator),
    Fit(num_updates=201, batch=8, num_steps=32, rate=2e-2),
    say,
)

unseen = draw_coupled(process, 64, 128, generator)
errors = next_column_error(model, unseen)
print(f"one step ahead, unseen series: {errors[0]:.2f}, {errors[1]:.2f}, {errors[2]:.2f}; "
      f"nothing can be below 1.00, 1.00, {FLOOR:.2f}")  # fmt: skip

with torch.no_grad():
    whole, _ = model.scan(unseen, model.init(64))
    state = model.init(64)
    for column in unseen.unbind(1):  # live: one column in, the next one's prediction out
        said, state = model.step(column, state)
    print(f"column by column differs from the whole by {(said - whole[:, -1]).abs().max().item():.0e}; "
          f"a state is {state_size_bytes(state) // 64} bytes, whatever was seen")  # fmt: skip
    ahead = roll_out(model, unseen, 2)  # fed its own predictions
    print("two steps ahead, series 3 of row 0:", [round(x, 2) for x in ahead[0, :, 2].tolist()],
          "should be near 0.9 of series 1:", [round(0.9 * x, 2) for x in unseen[0, -2:, 0].tolist()])  # fmt: skip

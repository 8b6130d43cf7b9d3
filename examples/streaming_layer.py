"""A layer of your own that keeps the streaming contract, cut, forked and saved.

python examples/streaming_layer.py
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fullduplex.nn.compose import Chain, Residual
from fullduplex.nn.diagonal import DiagonalRecurrence
from fullduplex.nn.snapshot import load_state, save_state
from fullduplex.nn.state import fork, state_size_bytes
from fullduplex.nn.stream import Growth, scan_by_steps


@dataclass(frozen=True)
class DelayState:
    last_BD: Tensor


class Delay(nn.Module):
    """y_t = x_{t-1}: one step late."""

    growth: Growth = "constant"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def init(self, batch: int) -> DelayState:
        return DelayState(torch.zeros(batch, self.width))

    def step(self, x_BD: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        return state.last_BD, DelayState(x_BD.clone())

    def scan(self, x_BTD: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        stream_BTD = torch.cat([state.last_BD.unsqueeze(1), x_BTD], dim=1)
        return stream_BTD[:, :-1], DelayState(stream_BTD[:, -1].clone())


with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
    model = Chain([Delay(4), Residual(DiagonalRecurrence(4))])
    past_BTD, next_BTD = torch.randn(1, 100, 4), torch.randn(1, 20, 4)
    _, heard = model.scan(past_BTD, model.init(1))
    print(f"after 100 steps the state holds {state_size_bytes(heard)} bytes")
    guess_BTD, _ = model.scan(-next_BTD, fork(heard))  # speculate, then drop it
    save_state(heard, Path(folder) / "call")
    whole_BTD, _ = model.scan(next_BTD, heard)
    steps_BTD, _ = scan_by_steps(model, next_BTD, load_state(model, Path(folder) / "call"))
    print(f"steps and scan differ by at most {(whole_BTD - steps_BTD).abs().max().item():.1e}")

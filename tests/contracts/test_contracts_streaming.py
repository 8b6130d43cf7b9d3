"""The streaming contract, held against every class that claims it; and proof that the suite can fail."""

import importlib
import pkgutil
from dataclasses import dataclass

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

import fullduplex.nn
from contracts.streaming import CHECKS, NUM_ROWS, NUM_STEPS
from contracts.streams import STREAMS
from fullduplex.nn.state import Stateless


def noise(width, dtype):
    return torch.randn(NUM_ROWS, NUM_STEPS, width, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_contract(case, check, dtype, tmp_path):
    stream = case.make(torch.Generator().manual_seed(0)).to(dtype)
    CHECKS[check](stream, noise(case.width, dtype), tmp_path)


def test_every_stream_of_nn_is_listed():
    claimed = set()
    for module in pkgutil.iter_modules(fullduplex.nn.__path__):
        found = vars(importlib.import_module(f"fullduplex.nn.{module.name}")).values()
        claimed |= {cls for cls in found if isinstance(cls, type) and issubclass(cls, nn.Module)}
    streams = {cls for cls in claimed if all(hasattr(cls, name) for name in ("init", "step", "scan"))}
    listed = {type(part) for case in STREAMS for part in case.make(torch.Generator()).modules()}
    assert streams - listed == set()
    assert len(streams) >= 7


@dataclass(frozen=True)
class Memory:
    h_BD: torch.Tensor


class Honest(nn.Module):
    """A running sum: the healthy twin of the broken streams below."""

    growth = "constant"

    def init(self, batch):
        return Memory(torch.zeros(batch, 6, dtype=torch.float64))

    def step(self, x_BD, state):
        y_BTD, state = self.scan(x_BD[:, None], state)
        return y_BTD[:, 0], state

    def scan(self, x_BTD, state):
        h_BTD = state.h_BD[:, None] + x_BTD.cumsum(1)
        return h_BTD, Memory(h_BTD[:, -1].clone()) if x_BTD.shape[1] else state


class LooksAhead(Honest):
    def scan(self, x_BTD, state):
        peek_BTD = torch.cat([x_BTD[:, 1:], x_BTD[:, -1:]], dim=1)
        return super().scan(x_BTD + 1e-3 * peek_BTD, state)


class MixesRows(Honest):
    def scan(self, x_BTD, state):
        return super().scan(x_BTD - 1e-3 * x_BTD.mean(0, keepdim=True), state)


class WritesInPlace(Honest):
    def scan(self, x_BTD, state):
        y_BTD, new = super().scan(x_BTD, state)
        state.h_BD.copy_(new.h_BD)
        return y_BTD, state


class WritesPastTheCounter(Honest):
    def scan(self, x_BTD, state):
        y_BTD, new = super().scan(x_BTD, state)
        state.h_BD.data.numpy()[:] += 1
        return y_BTD, new


class KeepsThePiece(Honest):
    def scan(self, x_BTD, state):
        y_BTD, _ = super().scan(x_BTD, state)
        return y_BTD, Memory(y_BTD[:, -1]) if x_BTD.shape[1] else state


class StartsAfresh(Honest):
    def scan(self, x_BTD, state):
        return super().scan(x_BTD, self.init(x_BTD.shape[0]))


class HidesItsState(Honest):
    def init(self, batch):
        self.hidden = torch.zeros(batch, 6, dtype=torch.float64)
        return Stateless()

    def scan(self, x_BTD, state):
        y_BTD = self.hidden[: x_BTD.shape[0], None] + x_BTD.cumsum(1)
        self.hidden = y_BTD[:, -1].clone() if x_BTD.shape[1] else self.hidden
        return y_BTD, state


class GrowsInSecret(Honest):
    def init(self, batch):
        return Memory(torch.zeros(batch, 0, 6, dtype=torch.float64))

    def scan(self, x_BTD, state):
        past = torch.cat([state.h_BD, x_BTD], dim=1)
        return past.cumsum(1)[:, state.h_BD.shape[1] :], Memory(past)


class HalfGradient(Honest):
    def step(self, x_BD, state):
        return super().step(0.5 * x_BD + 0.5 * x_BD.detach(), state)


BROKEN = [
    (LooksAhead, "causal"),
    (LooksAhead, "steps_equal_scan"),
    (LooksAhead, "any_chunking"),
    (MixesRows, "rows_independent"),
    (WritesInPlace, "writes_nowhere"),
    (WritesInPlace, "fork_leaves_parent"),
    (WritesPastTheCounter, "writes_nowhere"),
    (KeepsThePiece, "keeps_nothing_else_alive"),
    (StartsAfresh, "any_chunking"),
    (StartsAfresh, "empty_piece"),
    (HidesItsState, "fork_leaves_parent"),
    (HidesItsState, "save_load_continue"),
    (GrowsInSecret, "growth"),
    (HalfGradient, "gradients_equal"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[f"{cls.__name__}-{name}" for cls, name in BROKEN])
def test_the_suite_catches(broken, check, tmp_path):
    with pytest.raises(AssertionError):
        CHECKS[check](broken(), noise(6, torch.float64), tmp_path)


@pytest.mark.parametrize("check", CHECKS)
def test_the_suite_passes_the_healthy_twin(check, tmp_path):
    CHECKS[check](Honest(), noise(6, torch.float64), tmp_path)

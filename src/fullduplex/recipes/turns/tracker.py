"""A turn-taking state tracker: the Chimera layer with two variates, the caller's channel and the machine's.

Axes: B conversations, T frames, 2 channels (caller, machine), D features.

    energies of both channels in dB -> embed (and name the channel) -> Stack over (time, channel) -> will this channel be
    speaking `ahead_frames` later?

h1 is what a channel knows of its own past; h2 carries it to the other channel (cross-talk). A stream in time, so it can run
beside a live call: O(1) memory, a frame in, two probabilities out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.forecast.chimera.config import ChimeraConfig, HeadConfig
from fullduplex.forecast.chimera.layer import Stack, StackState, check_columns
from fullduplex.nn.linear import Linear
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.stream import Growth

__all__ = ["FRAME_S", "Conversation", "TrackerConfig", "TurnTracker", "fit_tracker", "frame_energies"]

FRAME_S = 0.08
_QUIET_DB, _SPAN_DB = -60.0, 20.0  # an energy of -60 dB is 0 inside the model, one of -40 dB is 1


def _layer() -> ChimeraConfig:
    heads = (
        HeadConfig(time=StepStart(shortest=0.02, longest=0.5)),
        HeadConfig(time=StepStart(shortest=0.3, longest=2.0)),
    )
    return ChimeraConfig(width=8, expand=2, order=4, num_taps=4, heads=heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerConfig:
    """Settings.

    Args:
        layer: of the one layer; its `coupling` says whether the channels hear each other.
        ahead_frames: how far ahead it looks, in frames of 80 ms.

    Raises:
        ConfigError: not a frame ahead.
    """

    layer: ChimeraConfig = field(default_factory=_layer)
    ahead_frames: int = 6

    def __post_init__(self) -> None:
        if self.ahead_frames < 1:
            raise ConfigError(f"ahead_frames is {self.ahead_frames}; expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversation:
    """Energies in dB and who is speaking, both of shape (T, 2)."""

    energies_T2: NDArray[np.float32]
    active_T2: NDArray[np.bool_]


def frame_energies(pcm_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Energy of every whole frame of 80 ms in dB below full scale, not under -90, shape (T,)."""
    size = samples_from_s(FRAME_S, EAR_RATE_HZ)
    frames_TX = pcm_N[: len(pcm_N) // size * size].reshape(-1, size).astype(np.float64)
    return (10 * np.log10((frames_TX**2).mean(axis=1) + 1e-9)).astype(np.float32)


class TurnTracker(nn.Module):
    """The tracker of this file, a stream.

    Args:
        config: settings.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: TrackerConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width = config.layer.width
        self.enter = nn.Parameter(torch.randn(width, generator=generator) / 2)
        self.names_2D = nn.Parameter(torch.randn(2, width, generator=generator) / 2)
        self.stack = Stack(config.layer, 2, 1, generator=generator)
        self.read = Linear(width, 1, generator=generator)

    def init(self, batch: int) -> StackState:
        """Nothing heard yet."""
        return self.stack.init(batch)

    def step(self, energies_B2: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """One frame of both channels in dB; logits that each will be speaking `ahead_frames` later."""
        y_BT2, state = self.scan(energies_B2.unsqueeze(1), state)
        return y_BT2[:, 0], state

    def scan(self, energies_BT2: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        """T frames at once.

        Raises:
            InputError: not two channels, or the batch does not fit.
        """
        check_columns("TurnTracker", energies_BT2, (2,), state.layers[0].past_BVSE.shape[0])
        x_BT2 = (energies_BT2 - _QUIET_DB) / _SPAN_DB
        y_BT2D, state = self.stack.scan(x_BT2.unsqueeze(-1) * self.enter + self.names_2D, state)
        return functional.linear(y_BT2D, self.read.weight, self.read.bias).squeeze(-1), state


def fit_tracker(
    tracker: TurnTracker,
    conversations: Sequence[Conversation],
    *,
    num_updates: int = 200,
    seed: int = 0,
    report: Callable[[int, float], object] | None = None,
) -> None:
    """Train in place on windows of conversations.

    Args:
        tracker: changed in place.
        conversations: each longer than 160 frames.
        num_updates: of AdamW, 8 windows of 160 frames each.
        seed: which windows.
        report: called after every update with its number and loss.

    Raises:
        InputError: no conversation, or one that is too short.
    """
    length = 160
    if not conversations or min(len(each.energies_T2) for each in conversations) < length:
        raise InputError(f"{len(conversations)} conversations; expected 1 or more, each of {length} frames or more")
    draw = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(tracker.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_updates)
    ahead = tracker.config.ahead_frames
    for number in range(num_updates):
        energies, active = [], []
        for index in draw.integers(len(conversations), size=8):
            chosen = conversations[index]
            start = int(draw.integers(len(chosen.energies_T2) - length + 1))
            energies.append(chosen.energies_T2[start : start + length])
            active.append(chosen.active_T2[start : start + length])
        x_BT2, y_BT2 = torch.from_numpy(np.stack(energies)), torch.from_numpy(np.stack(active)).float()
        logits_BT2, _ = tracker.scan(x_BT2[:, :-ahead], tracker.init(len(x_BT2)))
        loss = functional.binary_cross_entropy_with_logits(logits_BT2, y_BT2[:, ahead:])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tracker.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None:
            report(number, float(loss.detach()))

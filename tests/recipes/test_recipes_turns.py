"""The turn-taking tracker: a stream over two channels, and that hearing the other channel helps."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from contracts.streaming import CHECKS
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.recipes.turns.judge import judge_tracker, simulate_conversations
from fullduplex.recipes.turns.tracker import (
    Conversation,
    TrackerConfig,
    TurnTracker,
    fit_tracker,
    frame_energies,
)


def make(coupling="grid", seed=0):
    config = TrackerConfig()
    config = replace(config, layer=replace(config.layer, coupling=coupling))
    return TurnTracker(config, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("check", CHECKS)
def test_streaming_contract(check, tmp_path):
    energies = torch.randn(3, 37, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 20 - 40
    CHECKS[check](make().double(), energies, tmp_path)


def test_energies_are_decibels_of_full_scale():
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    energies = frame_energies(np.concatenate([tone, np.zeros(16000, np.float32)]))
    assert energies.shape == (25,)
    assert abs(energies[3] + 23.01) < 0.1 and energies[20] == pytest.approx(-90, abs=0.01)


def test_the_other_channel_is_heard_only_where_coupling_is():
    energies = torch.full((1, 20, 2), -60.0, dtype=torch.float64)
    poked = energies.clone()
    poked[:, 5, 1] = 0
    moved = {}
    for coupling in ("grid", "none"):
        tracker = make(coupling).double()
        with torch.no_grad():
            first, second = (tracker.scan(x, tracker.init(1))[0] for x in (energies, poked))
        moved[coupling] = (first - second).abs()[0, :, 0]
    assert moved["grid"][6:].max() > 1e-9 and moved["grid"][:5].max() == 0
    assert moved["none"].max() == 0


@pytest.mark.slow
def test_cross_talk_helps_to_know_who_speaks_next():
    pytest.importorskip("soundfile")
    training, unseen = simulate_conversations(range(20)), simulate_conversations(range(1000, 1012))
    found = {}
    for coupling in ("grid", "none"):
        tracker = make(coupling)
        fit_tracker(tracker, training, num_updates=120)
        found[coupling] = judge_tracker(tracker, unseen)
    assert found["grid"].loss_bits < 0.98 * found["none"].loss_bits
    assert found["grid"].silence_loss_bits < 0.93 * found["none"].silence_loss_bits


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match="ahead_frames is 0"):
        TrackerConfig(ahead_frames=0)
    with pytest.raises(InputError, match="TurnTracker got"):
        make().scan(torch.zeros(1, 4, 3), make().init(1))
    short = Conversation(energies_T2=np.zeros((50, 2), np.float32), active_T2=np.zeros((50, 2), bool))
    with pytest.raises(InputError, match="160 frames"):
        fit_tracker(make(), [short])
    with pytest.raises(InputError, match="nobody begins"):
        judge_tracker(make(), [short])
    with pytest.raises(InputError, match="no conversation"):
        judge_tracker(make(), [])

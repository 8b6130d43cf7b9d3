"""How well a tracker knows who speaks next, on simulated dialogues with exact truth.

Axes: T frames, 2 channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fullduplex.base.errors import InputError
from fullduplex.evaluate.generate.plan import Plan, plan_dialogue
from fullduplex.evaluate.generate.render import render, voice_of_clips
from fullduplex.recipes.turns.tracker import FRAME_S, Conversation, TurnTracker, frame_energies

__all__ = ["Foresight", "judge_tracker", "simulate_conversations"]

Pcm = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """`loss_bits`: cross-entropy of "speaking then?", a frame and channel, over all frames.

    `silence_loss_bits`: the same over frames in which nobody speaks; `next_right`: of those where exactly one of the two
    will be speaking then, the share in which the likelier one is right.
    """

    loss_bits: float
    silence_loss_bits: float
    next_right: float


def simulate_conversations(seeds: Sequence[int]) -> list[Conversation]:
    """Dialogues of two recorded voices with gaps, overlaps, pauses, back-channels and interruptions, as frames.

    Raises:
        MissingExtraError: soundfile is not installed.
    """
    voices = (voice_of_clips("bella"), voice_of_clips("george"))
    lines = ([sound.line for sound in voices[0]], [sound.line for sound in voices[1]])
    return [_framed(plan, render(plan, voices)) for plan in (plan_dialogue(lines, seed=seed) for seed in seeds)]


def _framed(plan: Plan, tracks: tuple[Pcm, Pcm]) -> Conversation:
    energies_T2 = np.stack([frame_energies(track) for track in tracks], axis=1)
    middles_T = (np.arange(len(energies_T2)) + 0.5) * FRAME_S
    active_T2 = np.zeros(energies_T2.shape, bool)
    for placed in plan.placed:
        active_T2[(middles_T >= placed.start_s) & (middles_T < placed.end_s), placed.side] = True
    return Conversation(energies_T2=energies_T2, active_T2=active_T2)


def judge_tracker(tracker: TurnTracker, conversations: Sequence[Conversation]) -> Foresight:
    """Measure on conversations it was not trained on; the first two seconds of each do not count.

    Raises:
        InputError: no conversation, or no frame that says anything about who is next.
    """
    if not conversations:
        raise InputError("there is no conversation to judge by")
    ahead, first = tracker.config.ahead_frames, round(2 / FRAME_S)
    losses, silent_losses, right = [], [], []
    for each in conversations:
        with torch.no_grad():
            logits_T2 = tracker.scan(torch.from_numpy(each.energies_T2)[None], tracker.init(1))[0][0]
        now_T2, logits_T2 = each.active_T2[first:-ahead], logits_T2[first:-ahead]
        then_T2 = torch.from_numpy(each.active_T2[first + ahead :]).float()
        loss_T2 = functional.binary_cross_entropy_with_logits(logits_T2, then_T2, reduction="none").numpy() / np.log(2)
        silent_T = ~now_T2.any(axis=1)
        one_T = silent_T & (then_T2.sum(dim=1) == 1).numpy()
        losses.append(loss_T2.ravel())
        silent_losses.append(loss_T2[silent_T].ravel())
        right.append((logits_T2.argmax(dim=1) == then_T2.argmax(dim=1)).numpy()[one_T])
    if not np.concatenate(right).size:
        raise InputError("nobody begins to speak after a silence in these conversations; give longer ones")
    return Foresight(
        loss_bits=float(np.concatenate(losses).mean()),
        silence_loss_bits=float(np.concatenate(silent_losses).mean()),
        next_right=float(np.concatenate(right).mean()),
    )

"""What is minimised, and what is looked at meanwhile: next-token loss on the assistant's side, and the idle decision.

Axes: B rows, T tokens, M counted targets, V vocabulary.
"""

from collections.abc import Iterable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.lm.tune.examples import Batch

__all__ = ["LanguageModel", "decisions", "slice_figures", "slice_loss"]


class LanguageModel(Protocol):
    """Tokens to hidden states, hidden states to scores: `lm.tune.llama.Llama` and what can stand in for it."""

    def __call__(self, token_BT: Tensor, segment_BT: Tensor | None = None) -> Tensor:
        """(B, T, D)."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V)."""
        ...


def _scores(model: LanguageModel, hidden_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (M, V), targets (M,) and weights (M,) of the tokens that count; the head sees only those."""
    same_BT = batch.segment_BT[:, 1:] == batch.segment_BT[:, :-1]  # the first token of a conversation has no past
    weight_BT = batch.weight_BT[:, 1:] * same_BT
    counts_BT = weight_BT > 0
    logits_MV = model.logits(hidden_BTD[:, :-1][counts_BT])
    return logits_MV.float(), batch.token_BT[:, 1:][counts_BT], weight_BT[counts_BT]


def slice_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Weighted mean negative log likelihood, in nats a token."""
    logits_MV, target_M, weight_M = _scores(
        cast("LanguageModel", model), model(batch.token_BT, batch.segment_BT), batch
    )
    losses_M = functional.cross_entropy(logits_MV, target_M, reduction="none")
    return (losses_M * weight_M).sum() / weight_M.sum().clamp_min(1e-9)


def decisions(model: LanguageModel, hidden_BTD: Tensor, batch: Batch, idle_token: int) -> tuple[Tensor, Tensor]:
    """For every assistant slice: is idle right, and is it what the model would choose? Two bool tensors.

    A slice begins where a counted token follows one that does not count; idle is known by its first token.
    """
    begins_BT = (batch.weight_BT[:, 1:] > 0) & (batch.weight_BT[:, :-1] == 0)
    chosen = model.logits(hidden_BTD[:, :-1][begins_BT]).argmax(-1)
    return batch.token_BT[:, 1:][begins_BT] == idle_token, chosen == idle_token


def slice_figures(model: LanguageModel, batches: Iterable[Batch], idle_token: int) -> dict[str, float]:
    """Held-out figures: loss, how often idle is kept where it is due, how often speech begins where it is due."""
    total = weight = 0.0
    kept = due_idle = spoken = due_speech = 0
    with torch.no_grad():
        for batch in batches:
            hidden_BTD = model(batch.token_BT, batch.segment_BT)
            logits_MV, target_M, weight_M = _scores(model, hidden_BTD, batch)
            losses_M = functional.cross_entropy(logits_MV, target_M, reduction="none")
            total += float((losses_M * weight_M).sum())
            weight += float(weight_M.sum())
            right, chosen = decisions(model, hidden_BTD, batch, idle_token)
            kept += int((right & chosen).sum())
            due_idle += int(right.sum())
            spoken += int((~right & ~chosen).sum())
            due_speech += int((~right).sum())
    return {
        "loss": total / max(weight, 1e-9),
        "idle_kept": kept / due_idle if due_idle else float("nan"),
        "speech_begun": spoken / due_speech if due_speech else float("nan"),
        "idle_slices": float(due_idle),
        "speech_slices": float(due_speech),
    }

"""What the student learns: first each layer alone, then the whole (Bick et al., arXiv 2408.10189, stages 2 and 3).

`layer_loss`: every Mamba-2 layer is shown what its attention layer sees in the teacher and must answer as that did; the
layers learn side by side. `answer_loss`: the student's next-token distribution must be the teacher's (Hinton et al.,
arXiv 1503.02531, temperature 1) wherever the assistant speaks or is idle.

Axes: B rows, T tokens, D width, M tokens that count, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.arrays import Int64Array
from fullduplex.base.errors import InputError
from fullduplex.lm.student.model import Student, blocks_of
from fullduplex.lm.tune.examples import Batch, Example
from fullduplex.lm.tune.llama import Llama, layout_of
from fullduplex.nn.mamba.mamba2 import Mamba2

__all__ = ["Shelves", "answer_loss", "calibrate", "layer_loss"]


@dataclass(frozen=True, slots=True)
class Shelves:
    """Conversations of like length side by side, a row each: a recurrence would carry one into the next.

    `items`: one batch each, of about `batch_tokens` tokens, padding included.
    """

    items: tuple[tuple[Example, ...], ...]

    @classmethod
    def of(cls, examples: Sequence[Example], batch_tokens: int) -> "Shelves":
        """Raises: InputError when there are no examples."""
        if not examples:
            raise InputError(
                "there are no examples to learn from; is every conversation without an assistant's message?"
            )
        ordered = sorted(examples, key=lambda example: len(example.tokens))
        edges, width = [0], 0
        for at, example in enumerate(ordered):
            width = len(example.tokens)
            if at > edges[-1] and (at - edges[-1] + 1) * width > batch_tokens:
                edges.append(at)
        return cls(tuple(tuple(ordered[low:high]) for low, high in pairwise([*edges, len(ordered)])))

    def batch(self, index_B: Int64Array) -> Batch:
        """The batch of one index."""
        return _padded(self.items[int(index_B[0])])

    def all(self) -> list[Batch]:
        """Every batch, shortest conversations first."""
        return [_padded(item) for item in self.items]


def _padded(examples: Sequence[Example]) -> Batch:
    shape = len(examples), max(len(example.tokens) for example in examples)
    token_BT, weight_BT, segment_BT = (
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.full(shape, -1, np.int64),
    )
    for row, example in enumerate(examples):
        size = len(example.tokens)
        token_BT[row, :size], weight_BT[row, :size], segment_BT[row, :size] = example.tokens, example.weights, 0
    return Batch(torch.from_numpy(token_BT), torch.from_numpy(weight_BT), torch.from_numpy(segment_BT))


def calibrate(student: Student, teacher: Llama, batch: Batch) -> None:
    """Give every Mamba-2 layer the gain with which its output is nearest to its attention layer's, in place.

    Attention is a mean of values, the recurrence a normalised sum: without this the first layers drown all others. The gain is
    <y, a> / <y, y>, and at least a tenth of the ratio of their lengths.
    """
    with torch.no_grad():
        for mixer, seen_BTD, said_BTD in _attended(teacher, student, batch):
            y_BTD, _ = mixer.scan(seen_BTD, mixer.init(seen_BTD.shape[0]))
            square = y_BTD.square().sum().clamp_min(1e-9)
            least = 0.1 * (said_BTD.square().sum() / square).sqrt()
            mixer.norm_gain_E.mul_(torch.maximum((y_BTD * said_BTD).sum() / square, least))


def layer_loss(teacher: Llama) -> Callable[[nn.Module, Batch], Tensor]:
    """Mean over layers of the squared distance between Mamba-2's and attention's output, over the latter's square."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Student)
        real_BT1 = (batch.segment_BT >= 0).unsqueeze(-1)
        terms: list[Tensor] = []
        for mixer, seen_BTD, said_BTD in _attended(teacher, model, batch):
            y_BTD, _ = mixer.scan(seen_BTD, mixer.init(seen_BTD.shape[0]))
            wrong = ((y_BTD - said_BTD).square() * real_BT1).sum()
            terms.append(wrong / (said_BTD.square() * real_BT1).sum().clamp_min(1e-9))
        return torch.stack(terms).mean()

    return loss


def _attended(teacher: Llama, student: Student, batch: Batch) -> Iterator[tuple[Mamba2, Tensor, Tensor]]:
    """For every layer: the student's mixer, what the teacher's attention saw, and what it said."""
    position_BT, visible = layout_of(batch.segment_BT)
    x_BTD = teacher.embedding(batch.token_BT)
    for block, mixer in zip(blocks_of(teacher), student.mixers(), strict=True):
        with torch.no_grad():
            seen_BTD = block.attention_norm(x_BTD)
            said_BTD = block.attention(seen_BTD, position_BT, visible)
            x_BTD = x_BTD + said_BTD
            x_BTD = x_BTD + block.feed(block.feed_norm(x_BTD))
        yield mixer, seen_BTD, said_BTD


def answer_loss(teacher: Llama) -> Callable[[nn.Module, Batch], Tensor]:
    """Weighted mean of KL(teacher || student) in nats a token, over the tokens that count."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Student)
        weight_BT = batch.weight_BT[:, 1:]
        counts_BT = weight_BT > 0
        with torch.no_grad():
            due_MD = teacher(batch.token_BT, batch.segment_BT)[:, :-1][counts_BT]
            due_MV = functional.log_softmax(teacher.logits(due_MD).float(), dim=-1)
        hidden_MD = model(batch.token_BT)[:, :-1][counts_BT]
        said_MV = functional.log_softmax(model.logits(hidden_MD).float(), dim=-1)
        apart_M = (due_MV.exp() * (due_MV - said_MV)).sum(dim=-1)
        weight_M = weight_BT[counts_BT]
        return (apart_M * weight_M).sum() / weight_M.sum().clamp_min(1e-9)

    return loss

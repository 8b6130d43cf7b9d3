"""A model that reads a sequence and says what it was: encoder, blocks of one named layer, pool, head.

Axes: B batch, T time, F features of an input, D channels, C outputs.

The outputs are logits of classes, or numbers to regress. With `pool="mean"` an answer looks at the mean of all steps so
far, with `"last"` at the newest one, with `"none"` there is an answer of its own for every step. All three are streams:
an answer is there after every step, and the state has a constant size.

Sources: the models of arXiv 2206.11893, 2310.01698 and 2208.04933 (encoder, six blocks, mean, linear head).
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

import torch
from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.nn.compose import Chain, ChainState
from fullduplex.nn.linear import Linear
from fullduplex.nn.state import Stateless
from fullduplex.nn.stream import Growth, check_piece
from fullduplex.ssm.block import GatedBlock
from fullduplex.ssm.layers import LayerConfig, make_block

__all__ = ["Classifier", "ClassifierConfig", "ClassifierState", "Pool"]

Pool = Literal["mean", "last", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """What the model is made of.

    Args:
        layer: the blocks.
        depth: how many of them.
        inputs: features F of a step; 0 when the inputs are tokens.
        vocabulary: number of tokens; 0 when the inputs are features.
        outputs: classes or regressed numbers C.
        pool: see the top of this file.
    """

    layer: LayerConfig
    depth: int = 4
    inputs: int = 0
    vocabulary: int = 0
    outputs: int = 2
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        if (self.inputs > 0) == (self.vocabulary > 0) or min(self.inputs, self.vocabulary, self.depth - 1) < 0:
            raise InputError(
                f"Classifier got {self.inputs} features, {self.vocabulary} tokens and {self.depth} blocks; "
                "expected either features or tokens, and at least one block"
            )
        if self.outputs < 1 or self.pool not in get_args(Pool):
            raise InputError(
                f"Classifier got {self.outputs} outputs and the pool {self.pool!r}; "
                f"expected 1 or more, and one of {', '.join(get_args(Pool))}"
            )


@dataclass(frozen=True, slots=True)
class ClassifierState:
    """The blocks' states, and the mean so far as a sum and a count."""

    blocks: ChainState
    sum_BD: Tensor
    count_B: Tensor


class Classifier(nn.Module):
    """The model of this file.

    Args:
        config: what it is made of.
        generator: source of the initial weights.
    """

    growth: Growth = "constant"

    def __init__(self, config: ClassifierConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = config.layer.width
        self.config = config
        if config.vocabulary:
            self.encoder: nn.Module = nn.Embedding(config.vocabulary, width)
            with torch.no_grad():
                cast("nn.Embedding", self.encoder).weight.normal_(generator=generator)
        else:
            self.encoder = Linear(config.inputs, width, generator=generator)
        self.blocks = Chain([make_block(config.layer, generator=generator) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(width)
        self.head = Linear(width, config.outputs, generator=generator)

    def forward(self, x: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Answers to whole sequences.

        Args:
            x: tokens (B, T), int64; or features (B, T, F).
            lengths_B: steps that count in each row, 1 to T; None for all. What comes after is padding.

        Returns:
            (B, C), or (B, T, C) with `pool="none"`.

        Raises:
            InputError: inputs of another kind or shape, no steps, or lengths that do not fit.
        """
        encoded_BTD = self._encode(x)
        batch, num_steps, _ = encoded_BTD.shape
        if num_steps == 0:
            raise InputError("Classifier got a sequence of no steps; expected at least one")
        h_BTD = self._mix(encoded_BTD, self.blocks.init(batch))[0]
        if self.config.pool == "none":
            return self._answer(h_BTD)
        if lengths_B is None:
            return self._answer(h_BTD.mean(1) if self.config.pool == "mean" else h_BTD[:, -1])
        if lengths_B.shape != (batch,) or bool(((lengths_B < 1) | (lengths_B > num_steps)).any()):
            raise InputError(f"lengths {lengths_B.tolist()} do not fit {batch} rows of {num_steps} steps")
        if self.config.pool == "last":
            return self._answer(h_BTD[torch.arange(batch, device=x.device), lengths_B - 1])
        counts_BT = torch.arange(num_steps, device=x.device) < lengths_B.unsqueeze(1)
        return self._answer((h_BTD * counts_BT.unsqueeze(-1)).sum(1) / lengths_B.unsqueeze(1))

    def init(self, batch: int) -> ClassifierState:
        """Nothing read yet."""
        weight = self.norm.weight
        return ClassifierState(
            self.blocks.init(batch), weight.new_zeros(batch, weight.shape[0]), weight.new_zeros(batch)
        )

    def step(self, x: Tensor, state: ClassifierState) -> tuple[Tensor, ClassifierState]:
        """One step, features (B, F) or tokens (B,): the answer so far."""
        h_BD, blocks = self.blocks.step(self._encode(x.unsqueeze(1)).squeeze(1), state.blocks)
        h_BD = self.norm(h_BD)
        total_BD, count_B = state.sum_BD + h_BD, state.count_B + 1
        pooled_BD = total_BD / count_B.unsqueeze(-1) if self.config.pool == "mean" else h_BD
        return self._answer(pooled_BD), ClassifierState(blocks, total_BD, count_B)

    def scan(self, x: Tensor, state: ClassifierState) -> tuple[Tensor, ClassifierState]:
        """T steps at once: the answer after each of them, (B, T, C)."""
        h_BTD, blocks = self._mix(self._encode(x), state.blocks)
        num_steps = h_BTD.shape[1]
        totals_BTD = state.sum_BD.unsqueeze(1) + h_BTD.cumsum(1)
        counts_BT = state.count_B.unsqueeze(1) + torch.arange(1, num_steps + 1, device=h_BTD.device)
        pooled_BTD = totals_BTD / counts_BT.unsqueeze(-1) if self.config.pool == "mean" else h_BTD
        end_BD = state.sum_BD + h_BTD.sum(1) if num_steps else state.sum_BD
        count_B = state.count_B + num_steps if num_steps else state.count_B
        return self._answer(pooled_BTD), ClassifierState(blocks, end_BD, count_B)

    def at_rate(self, rate: float) -> Self:
        """This model for input sampled at another rate, with the same parameters; see `S4D.at_rate`.

        Raises:
            InputError: a block has no step to stretch, as the Mamba layers.
        """
        blocks: list[nn.Module] = []
        for block in self.blocks.layers:
            if not isinstance(block, GatedBlock):
                raise InputError(f"{self.config.layer.name} learns its steps from the input; it has no rate to change")
            blocks.append(block.at_rate(rate))
        other = copy.copy(self)
        other._modules = {**self._modules, "blocks": Chain(blocks)}
        return other

    def _encode(self, x: Tensor) -> Tensor:
        if self.config.vocabulary:
            if x.ndim != 2 or x.dtype != torch.int64:
                raise InputError(f"Classifier got {x.dtype} {tuple(x.shape)}; expected tokens: int64 (B, T)")
            if x.numel() and not 0 <= int(x.min()) <= int(x.max()) < self.config.vocabulary:
                raise InputError(
                    f"Classifier got tokens {int(x.min())} to {int(x.max())}; it knows 0 to {self.config.vocabulary - 1}"
                )
            return self.encoder(x)
        check_piece("Classifier", x, 3, self.config.inputs)
        return cast("Linear", self.encoder).scan(x.to(self.norm.weight.dtype), Stateless())[0]

    def _mix(self, encoded_BTD: Tensor, state: ChainState) -> tuple[Tensor, Any]:
        h_BTD, state = self.blocks.scan(encoded_BTD, state)
        return self.norm(h_BTD), state

    def _answer(self, pooled: Tensor) -> Tensor:
        return nn.functional.linear(pooled, self.head.weight, self.head.bias)

"""A Llama without attention: every attention layer becomes a Mamba-2 layer, the rest stays.

Attention without its softmax is a recurrence, out_t = q_t sum_s k_s v_s (Katharopoulos et al., arXiv 2006.16236), and
Mamba-2 is that recurrence with a decay (Dao and Gu, arXiv 2405.21060, section 7): value is x, key is b, query is c. So
the layer begins with the attention's own matrices (Wang et al., arXiv 2408.15237, do so for Mamba): a gate that is open, a
convolution that passes its last input, decays from a few to thousands of tokens. Learnt on top of that: low-rank changes of
the two large projections and of the feed-forward layers, and all small parameters.

Axes: B batch, T tokens, D width, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from fullduplex.base.errors import ConfigError, InputError
from fullduplex.lm.tune.llama import Block, FeedForward, Llama
from fullduplex.lm.tune.lora import LoraConfig, adapt, merge
from fullduplex.nn.mamba.mamba2 import Mamba2, Mamba2Config, Mamba2State

__all__ = ["Student", "StudentConfig", "StudentState", "fold", "mixer_names"]

StudentState = tuple[Mamba2State, ...]
_OPEN_GATE = 2.0
_STEP_BIAS = 0.5413  # softplus of it is 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    """`rank`, `alpha`: of the low-rank changes. `memory`: tokens after which the shortest and the longest head have forgotten
    to 1/e, before anything is learnt. `num_taps`: of the convolution. `seed`: of the factors.

    Raises:
        ConfigError: a number is out of range.
    """

    rank: int = 24
    alpha: float = 48.0
    memory: tuple[float, float] = (4.0, 1000.0)
    num_taps: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ConfigError(f"rank is {self.rank} and alpha {self.alpha}; expected 1 or more, and more than 0")
        if not 0 < self.memory[0] <= self.memory[1]:
            raise ConfigError(f"memory is {self.memory}; expected 0 < shortest <= longest")


class _LowRank(nn.Module):
    """W + (alpha / r) up down, as a parametrisation of a weight (arXiv 2106.09685, equation 3)."""

    def __init__(self, weight: Tensor, config: StudentConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = config.alpha / config.rank
        rows, columns = weight.shape
        bound = columns**-0.5
        self.down = nn.Parameter((2 * torch.rand(config.rank, columns, generator=generator) - 1) * bound)
        self.up = nn.Parameter(torch.zeros(rows, config.rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down)


class _StudentBlock(nn.Module):
    def __init__(self, block: Block, mixer: Mamba2) -> None:
        super().__init__()
        self.attention_norm, self.mixer, self.feed_norm = block.attention_norm, mixer, block.feed_norm
        self.feed = FeedForward.sharing(block.feed)

    def scan(self, x_BTD: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        y_BTD, state = self.mixer.scan(self.attention_norm(x_BTD), state)
        x_BTD = x_BTD + y_BTD
        return x_BTD + self.feed(self.feed_norm(x_BTD)), state

    def step(self, x_BD: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        y_BD, state = self.mixer.step(self.attention_norm(x_BD), state)
        x_BD = x_BD + y_BD
        return x_BD + self.feed(self.feed_norm(x_BD)), state


class Student(nn.Module):
    """The student of `teacher`, whose frozen weights it shares. Only what is learnt requires a gradient."""

    def __init__(self, teacher: Llama, config: StudentConfig = StudentConfig()) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(config.seed)
        self.config = teacher.config
        self.embedding, self.norm, self.output = teacher.embedding, teacher.norm, teacher.output
        self.blocks = nn.ModuleList(
            _StudentBlock(block, _mixer(block, teacher, config, generator)) for block in blocks_of(teacher)
        )
        adapt(self, LoraConfig(rank=config.rank, alpha=config.alpha, targets=("gate", "up", "down"), seed=config.seed))
        for mixer in self.mixers():
            mixer.requires_grad_(True)
            for layer in (mixer.in_proj, mixer.out_proj):
                layer.weight.requires_grad_(False)
                change = _LowRank(layer.weight, config, generator)
                parametrize.register_parametrization(layer, "weight", change)

    def mixers(self) -> Iterator[Mamba2]:
        """The Mamba-2 layers, first to last."""
        return (cast("_StudentBlock", block).mixer for block in self.blocks)

    def init(self, batch: int) -> StudentState:
        """Nothing read yet."""
        return tuple(mixer.init(batch) for mixer in self.mixers())

    def scan(self, token_BT: Tensor, state: StudentState) -> tuple[Tensor, StudentState]:
        """T tokens: normalised hidden states (B, T, D) and the state behind the last. Raises: InputError."""
        x_BTD = self._embedded(token_BT, 2)
        after: list[Mamba2State] = []
        for block, before in zip(self.blocks, state, strict=True):
            x_BTD, left = cast("_StudentBlock", block).scan(x_BTD, before)
            after.append(left)
        return self.norm(x_BTD), tuple(after)

    def step(self, token_B: Tensor, state: StudentState) -> tuple[Tensor, StudentState]:
        """One token: (B, D)."""
        x_BD = self._embedded(token_B, 1)
        after: list[Mamba2State] = []
        for block, before in zip(self.blocks, state, strict=True):
            x_BD, left = cast("_StudentBlock", block).step(x_BD, before)
            after.append(left)
        return self.norm(x_BD), tuple(after)

    def forward(self, token_BT: Tensor, segment_BT: Tensor | None = None) -> Tensor:
        """Whole rows of one conversation each, as `Llama` reads them; padding behind the end does no harm.

        Raises:
            InputError: a row holds several conversations: the state of one would leak into the next.
        """
        if segment_BT is not None and bool((segment_BT > 0).any()):
            raise InputError("a row holds several conversations; a recurrence reads one a row (`learn.Shelves`)")
        return self.scan(token_BT, self.init(token_BT.shape[0]))[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., V) of hidden states (..., D)."""
        return functional.linear(hidden, self.embedding.weight) if self.output is None else self.output(hidden)

    def _embedded(self, token: Tensor, axes: int) -> Tensor:
        if token.ndim != axes:
            raise InputError(f"tokens have {token.ndim} axes; expected {axes}")
        if token.numel() and not 0 <= int(token.min()) <= int(token.max()) < self.config.vocabulary:
            raise InputError(f"tokens must be 0 to {self.config.vocabulary - 1}")
        return self.embedding(token)


def blocks_of(teacher: Llama) -> Iterator[Block]:
    """The layers of a Llama, with their type."""
    return (cast("Block", block) for block in teacher.blocks)


def mixer_names(student: Student) -> set[str]:
    """Names of the learnt parameters that are not part of a feed-forward layer."""
    return {name for name, value in student.named_parameters() if value.requires_grad and ".mixer." in name}


def fold(student: Student) -> Student:
    """Fold every low-rank change into its weight, in place: what remains is fast and cannot be trained on.

    The feed-forward weights are the teacher's own tensors: do not use the teacher afterwards.
    """
    for mixer in student.mixers():
        for layer in (mixer.in_proj, mixer.out_proj):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    merge(student)
    return student.requires_grad_(False).eval()


def _mixer(block: Block, teacher: Llama, config: StudentConfig, generator: torch.Generator) -> Mamba2:
    sizes = teacher.config
    heads, width, repeat = sizes.heads, sizes.head_width, sizes.heads // sizes.key_heads
    mixer = Mamba2(
        Mamba2Config(
            width=sizes.width,
            expand=1,
            order=width,
            head_width=width,
            num_groups=heads,
            num_taps=config.num_taps,
            bias=True,
        ),
        generator=generator,
    )

    def spread(weight: Tensor) -> Tensor:
        """Rows of the shared key-value heads, once for every query head."""
        return weight.unflatten(0, (sizes.key_heads, width)).repeat_interleave(repeat, dim=0).flatten(0, 1)

    attention = block.attention
    with torch.no_grad():
        gate, x, b, c, step = mixer.in_proj.weight.split([sizes.width] * 4 + [heads])
        gate.zero_()
        step.zero_()
        x.copy_(spread(attention.value.weight))
        b.copy_(spread(attention.key.weight))
        c.copy_(attention.query.weight)
        assert mixer.in_proj.bias is not None
        mixer.in_proj.bias[: sizes.width] = _OPEN_GATE
        mixer.conv_weight_CK.zero_()
        mixer.conv_weight_CK[:, -1] = 1.0
        mixer.out_proj.weight.copy_(attention.out.weight)
        mixer.exact.bias.fill_(_STEP_BIAS)
        mixer.exact.skip.zero_()
        shortest, longest = config.memory
        tokens_H = torch.logspace(0, 1, heads, base=longest / shortest) * shortest
        mixer.exact.log_rate.copy_(-tokens_H.log())
    return mixer

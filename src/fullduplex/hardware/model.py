"""Models as their shapes: parameters, bytes of weights, bytes a session keeps.

Every layer is a mixer (attention or a state space) followed by a feed-forward part (dense, or experts every so many
layers). Activations take two bytes, as in the Duplex paper; weights `weight_bits`.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import positive, whole

__all__ = ["Attention", "FeedForward", "Model", "StateSpace"]

Tokens = TypeVar("Tokens", float, NDArray[np.float64])

_BYTES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Attention with `num_heads` query heads; `group` of them share one key-value head (the paper's deg_grp)."""

    num_heads: int
    group: int = 1

    def __post_init__(self) -> None:
        whole(self.num_heads, 1, "attention.num_heads")
        whole(self.group, 1, "attention.group")
        if self.num_heads % self.group:
            raise ConfigError(f"attention.group is {self.group}; expected a divisor of num_heads {self.num_heads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """`num_matrices` matrices hidden x width (3 if gated); with `num_experts` above 1, `top_k` of them a token."""

    width: int
    num_matrices: int = 3
    num_experts: int = 1
    top_k: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        for field in ("width", "num_matrices", "num_experts", "top_k", "every"):
            whole(getattr(self, field), 1, f"feed_forward.{field}")
        if self.top_k > self.num_experts:
            raise ConfigError(f"feed_forward.top_k is {self.top_k}; there are {self.num_experts} experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """A Mamba-2 mixer (arXiv:2405.21060): inner width expand x hidden, a state of `order` for each channel."""

    expand: int = 2
    order: int = 128
    head_width: int = 64
    num_taps: int = 4
    state_bytes: float = 4.0
    chunk: int = 256

    def __post_init__(self) -> None:
        for field in ("expand", "order", "head_width", "num_taps", "chunk"):
            whole(getattr(self, field), 1, f"state_space.{field}")
        positive(self.state_bytes, "state_space.state_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A decoder of equal layers; exactly one of `attention` and `state_space` mixes, `feed_forward` may be missing.

    `weight_bits` are those of a stored weight with its share of scales: 16, or fewer where it is quantised.
    """

    num_layers: int
    hidden: int
    vocabulary: int
    tied: bool = False
    attention: Attention | None = None
    feed_forward: FeedForward | None = None
    state_space: StateSpace | None = None
    weight_bits: float = 16.0
    source: str

    def __post_init__(self) -> None:
        for field in ("num_layers", "hidden", "vocabulary"):
            whole(getattr(self, field), 1, field)
        positive(self.weight_bits, "weight_bits")
        if (self.attention is None) == (self.state_space is None):
            raise ConfigError("a model has attention or state_space; give exactly one of the two")
        if self.attention is not None and self.hidden % self.attention.num_heads:
            raise ConfigError(f"hidden is {self.hidden}; expected a multiple of num_heads {self.attention.num_heads}")
        if self.state_space is not None and self.inner % self.state_space.head_width:
            raise ConfigError(f"expand x hidden is {self.inner}; expected a multiple of head_width")
        if self.feed_forward is not None and self.num_layers % self.feed_forward.every:
            raise ConfigError(
                f"feed_forward.every is {self.feed_forward.every}; expected a divisor of num_layers {self.num_layers}"
            )

    @property
    def inner(self) -> int:
        """Channels of the state space; 0 without one."""
        return 0 if self.state_space is None else self.state_space.expand * self.hidden

    @property
    def mixer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of the mixer's linear layers."""
        if self.attention is not None:
            return ((self.hidden, self.hidden + 2 * self.hidden // self.attention.group), (self.hidden, self.hidden))
        space = self.state_space
        assert space is not None
        return (
            (self.hidden, 2 * self.inner + 2 * space.order + self.inner // space.head_width),
            (self.inner, self.hidden),
        )

    @property
    def num_expert_layers(self) -> int:
        feed = self.feed_forward
        return 0 if feed is None or feed.num_experts == 1 else self.num_layers // feed.every

    @property
    def num_dense_layers(self) -> int:
        """Layers with one feed-forward part for all tokens."""
        return 0 if self.feed_forward is None else self.num_layers - self.num_expert_layers

    @property
    def expert_parameters(self) -> int:
        """Of all experts of all layers."""
        feed = self.feed_forward
        if feed is None:
            return 0
        return self.num_expert_layers * feed.num_experts * feed.num_matrices * self.hidden * feed.width

    @property
    def block_parameters(self) -> int:
        """Everything but embeddings."""
        mixers = self.num_layers * sum(rows * columns for rows, columns in self.mixer_shapes)
        feed = self.feed_forward
        if feed is None:
            return mixers
        routers = self.num_expert_layers * feed.num_experts * self.hidden
        dense = self.num_dense_layers * feed.num_matrices * self.hidden * feed.width
        return mixers + routers + dense + self.expert_parameters

    @property
    def num_parameters(self) -> int:
        return self.block_parameters + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes a session keeps for each token it has seen; 0 for a state space."""
        if self.attention is None:
            return 0.0
        return self.num_layers * 2 * _BYTES * self.hidden / self.attention.group

    @property
    def state_bytes(self) -> float:
        """Bytes a session keeps whatever it has seen; 0 for attention."""
        space = self.state_space
        if space is None:
            return 0.0
        taps = (self.inner + 2 * space.order) * (space.num_taps - 1) * _BYTES
        return self.num_layers * (self.inner * space.order * space.state_bytes + taps)

    def session_bytes(self, context_tokens: Tokens) -> Tokens:
        """Bytes of one session after `context_tokens`; of many after as many numbers, an array."""
        return self.state_bytes + context_tokens * self.kv_bytes_per_token

    def weight_bytes(self, num_nodes: int = 1) -> float:
        """Bytes of weights in all devices: experts once, everything else once a node (data parallel)."""
        dense = num_nodes * (self.num_parameters - self.expert_parameters)
        return self.weight_bits / 8 * (self.expert_parameters + dense)

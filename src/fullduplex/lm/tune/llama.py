"""The Llama architecture in torch, for training (Touvron et al., arXiv 2302.13971; grouped queries: arXiv 2305.13245).

Inference runs on llama.cpp (`fullduplex.lm.llama`); this twin exists to be differentiated. Several conversations may be
packed into one row: `segment_BT` keeps them from seeing one another, and each counts its positions from zero.

Axes: B batch, T tokens, D width, H heads, G key-value heads, K features of a head, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fullduplex.base.errors import ConfigError, InputError

__all__ = ["Block", "FeedForward", "Llama", "LlamaConfig", "layout_of", "rotate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaConfig:
    """Sizes of a model. `tied`: the output matrix is the embedding. Raises `ConfigError` for sizes that do not fit."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    hidden: int
    norm_epsilon: float = 1e-5
    rope_base: float = 10_000.0
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers", "heads", "key_heads", "hidden", "norm_epsilon", "rope_base"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than 0")
        if self.width % self.heads or self.heads % self.key_heads or (self.width // self.heads) % 2:
            raise ConfigError(
                f"width {self.width}, heads {self.heads}, key_heads {self.key_heads}: expected width / heads even and "
                "heads a multiple of key_heads"
            )

    @property
    def head_width(self) -> int:
        """Features K of a head."""
        return self.width // self.heads


def rotate(x_BTHK: Tensor, position_BT: Tensor, base: float) -> Tensor:
    """Rotary positions (arXiv 2104.09864, equation 34) over neighbouring pairs of features, as GGUF files store them."""
    half = x_BTHK.shape[-1] // 2
    rate_K = base ** (-torch.arange(half, dtype=torch.float32, device=x_BTHK.device) / half)
    angle_BTK = position_BT.to(torch.float32)[..., None] * rate_K
    cos, sin = angle_BTK.cos()[:, :, None], angle_BTK.sin()[:, :, None]
    even, odd = x_BTHK.float().unflatten(-1, (half, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x_BTHK.dtype)


class _Norm(nn.Module):
    """Root-mean-square normalisation with a gain, computed in float32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x_BTD: Tensor) -> Tensor:
        wide = x_BTD.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * scale * self.weight.float()).to(x_BTD.dtype)


class _Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        shared = config.key_heads * config.head_width
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, shared, bias=False)
        self.value = nn.Linear(config.width, shared, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_BTD: Tensor, position_BT: Tensor, visible_B1TT: Tensor) -> Tensor:
        config = self.config
        query_BTHK = self.query(x_BTD).unflatten(-1, (config.heads, -1))
        key_BTGK = self.key(x_BTD).unflatten(-1, (config.key_heads, -1))
        value_BTGK = self.value(x_BTD).unflatten(-1, (config.key_heads, -1))
        mixed_BHTK = functional.scaled_dot_product_attention(
            rotate(query_BTHK, position_BT, config.rope_base).transpose(1, 2),
            rotate(key_BTGK, position_BT, config.rope_base).transpose(1, 2),
            value_BTGK.transpose(1, 2),
            attn_mask=visible_B1TT,
            enable_gqa=config.heads != config.key_heads,
        )
        return self.out(mixed_BHTK.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, arXiv 2002.05202)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    @classmethod
    def sharing(cls, other: "FeedForward") -> "FeedForward":
        """A layer of its own on the same matrices: what is put around one of them here does not change `other`."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.gate, made.up, made.down = other.gate, other.up, other.down
        return made

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """Attention and feed-forward, each behind a normalisation and beside a direct path."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = _Norm(config.width, config.norm_epsilon)
        self.attention = _Attention(config)
        self.feed_norm = _Norm(config.width, config.norm_epsilon)
        self.feed = FeedForward(config)

    def forward(self, x_BTD: Tensor, position_BT: Tensor, visible_B1TT: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), position_BT, visible_B1TT)
        return x_BTD + self.feed(self.feed_norm(x_BTD))


class Llama(nn.Module):
    """Tokens to hidden states; `logits` turns those that matter into scores."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _Norm(config.width, config.norm_epsilon)
        self.output = None if config.tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, token_BT: Tensor, segment_BT: Tensor | None = None) -> Tensor:
        """Normalised hidden states (B, T, D).

        Args:
            token_BT: int64 token ids.
            segment_BT: int64, equal for tokens of one conversation, which must lie together; None: one a row.

        Raises:
            InputError: shapes differ, a token is outside the vocabulary.
        """
        if token_BT.ndim != 2 or (segment_BT is not None and segment_BT.shape != token_BT.shape):
            raise InputError("expected token_BT of two axes and segment_BT of the same shape")
        if token_BT.numel() and not 0 <= int(token_BT.min()) <= int(token_BT.max()) < self.config.vocabulary:
            raise InputError(f"tokens must be 0 to {self.config.vocabulary - 1}")
        if segment_BT is None:
            segment_BT = torch.zeros_like(token_BT)
        position_BT, visible_B1TT = layout_of(segment_BT)
        x_BTD = self.embedding(token_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, position_BT, visible_B1TT)
        return self.norm(x_BTD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., V) of hidden states (..., D)."""
        return functional.linear(hidden, self.embedding.weight) if self.output is None else self.output(hidden)


def layout_of(segment_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Positions within each segment, and who sees whom: the past of one's own segment."""
    num_tokens = segment_BT.shape[1]
    index_T = torch.arange(num_tokens, device=segment_BT.device)
    first_BT = torch.ones_like(segment_BT, dtype=torch.bool)
    first_BT[:, 1:] = segment_BT[:, 1:] != segment_BT[:, :-1]
    start_BT = torch.where(first_BT, index_T, 0).cummax(dim=1).values
    same_BTT = segment_BT[:, :, None] == segment_BT[:, None, :]
    visible_B1TT = (same_BTT & (index_T[:, None] >= index_T[None, :])).unsqueeze(1)
    return index_T - start_BT, visible_B1TT

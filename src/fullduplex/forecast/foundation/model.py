"""The patch Transformer: RMS norm before every layer, normalised queries and keys, rotary positions, gated feed-forward.

Axes: B windows, P patches, W steps of a patch, D features, H heads, K features of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullduplex.base.errors import InputError
from fullduplex.forecast.foundation.config import PatchConfig
from fullduplex.forecast.foundation.mixture import StudentMixture, mixture_of
from fullduplex.kernels.norm import rms_norm
from fullduplex.nn.norm import RMSNorm

__all__ = ["PatchTransformer"]

_EPSILON = 1e-5
_ROTARY_BASE = 10_000.0


class PatchTransformer(nn.Module):
    """From patches to a mixture for every step of a patch.

    An encoder says, where a patch is masked, what it may hold, from all the others. A decoder says at every patch what
    the *next* one may hold, from that one and those before.

    Args:
        config: its size and kind.
    """

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.config = config
        self.read = nn.Linear(config.patch, config.width)
        # Of the size of an embedding: from zero, a masked patch would ask all others alike and learn from them slowly.
        self.masked = nn.Parameter(torch.randn(config.width)) if config.kind == "encoder" else None
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.width, epsilon=_EPSILON)
        self.head = nn.Linear(config.width, config.num_outputs)

    def forward(self, x_BPW: Tensor, hidden_BP: Tensor | None = None) -> StudentMixture:
        """Mixtures of shape (B, P, W, components).

        Args:
            x_BPW: patches in units of the context; missing values as 0.
            hidden_BP: bool, the patches an encoder must not see; a decoder takes none.

        Raises:
            InputError: the shapes or the mask are not those of the configuration.
        """
        config = self.config
        if x_BPW.ndim != 3 or x_BPW.shape[-1] != config.patch:
            raise InputError(
                f"patches of shape {tuple(x_BPW.shape)}; expected (batch, patches, {config.patch}): steps last"
            )
        if (hidden_BP is None) == (config.kind == "encoder"):
            raise InputError("an encoder needs a mask of the patches it must not see, a decoder takes none")
        y_BPD = self.read(x_BPW)
        if hidden_BP is not None and self.masked is not None:
            y_BPD = torch.where(hidden_BP.unsqueeze(-1), self.masked, y_BPD)
        turn_PK = _rotation(x_BPW.shape[1], config.head_width // 2, y_BPD)
        for block in self.blocks:
            y_BPD = block(y_BPD, turn_PK)
        raw = self.head(rms_norm(y_BPD, self.norm.gain, _EPSILON))
        return mixture_of(raw.unflatten(-1, (config.patch, -1)), config.num_components)


class _Block(nn.Module):
    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        d = config.width
        self.causal, self.head_width = config.kind == "decoder", config.head_width
        self.norm_attention, self.norm_feed = RMSNorm(d, epsilon=_EPSILON), RMSNorm(d, epsilon=_EPSILON)
        self.norm_query, self.norm_key = (RMSNorm(config.head_width, epsilon=_EPSILON) for _ in range(2))
        self.project_in = nn.Linear(d, 3 * d, bias=False)
        self.project_out = nn.Linear(d, d, bias=False)
        self.widen = nn.Linear(d, 2 * config.hidden, bias=False)
        self.narrow = nn.Linear(config.hidden, d, bias=False)

    def forward(self, x_BPD: Tensor, turn_PK: Tensor) -> Tensor:
        x_BPD = x_BPD + self._attend(rms_norm(x_BPD, self.norm_attention.gain, _EPSILON), turn_PK)
        gate, value = self.widen(rms_norm(x_BPD, self.norm_feed.gain, _EPSILON)).chunk(2, dim=-1)
        return x_BPD + self.narrow(F.silu(gate) * value)

    def _attend(self, x_BPD: Tensor, turn_PK: Tensor) -> Tensor:
        heads = self.project_in(x_BPD).unflatten(-1, (3, -1, self.head_width)).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in heads)  # (B, H, P, K)
        query = _rotated(rms_norm(query, self.norm_query.gain, _EPSILON), turn_PK)
        key = _rotated(rms_norm(key, self.norm_key.gain, _EPSILON), turn_PK)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.project_out(mixed.transpose(1, 2).flatten(2))


def _rotation(num_patches: int, width: int, like: Tensor) -> Tensor:
    """Turns as complex numbers would have them: cosine and sine of every patch and pair, shape (2, P, width / 2)."""
    rate = _ROTARY_BASE ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angle = torch.outer(torch.arange(num_patches, device=like.device, dtype=torch.float32), rate)
    return torch.stack([angle.cos(), angle.sin()]).to(like.dtype)


def _rotated(x_BHPK: Tensor, turn_PK: Tensor) -> Tensor:
    """Rotary positions (Su et al., arXiv 2104.09864, equation 34) on the first half of a head's features."""
    half = x_BHPK.shape[-1] // 2
    a, b = x_BHPK[..., :half].unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn_PK
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    return torch.cat([turned, x_BHPK[..., half:]], dim=-1)

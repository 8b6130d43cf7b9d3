"""Operations and bytes of each kind of layer, and how tokens spread over experts.

Each layer is a `Work`: operations and bytes for one device. Its time on a processor is max(operations / F, bytes / B).
Sources: arXiv:2409.01141, sections II and III; the state space after arXiv:2405.21060.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import ConfigError
from fullduplex.hardware.checks import at_least, whole
from fullduplex.hardware.device import Processor
from fullduplex.hardware.model import FeedForward, Model, StateSpace

__all__ = [
    "EVEN",
    "Routing",
    "Work",
    "active_experts",
    "decode_attention",
    "expert_seconds",
    "expert_work",
    "gemm",
    "prefill_attention",
    "route_tokens",
    "state_space_scan",
    "state_space_step",
]

_BYTES = 2.0
_MOST_SUBSETS = 5000


@dataclass(frozen=True, slots=True)
class Work:
    """Operations and bytes moved, of one device."""

    flops: float
    bytes: float

    @property
    def ops_per_byte(self) -> float:
        """Op/B, the number that decides where a layer belongs; 0 for no work."""
        return self.flops / self.bytes if self.bytes else 0.0

    def seconds(self, processor: Processor) -> float:
        """Roofline time."""
        return max(self.flops / processor.flops_per_s, self.bytes / processor.bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How tokens choose experts.

    Args:
        zipf: exponent of Zipf's law over the experts; 0 for even.
        correlation: chance that two tokens of a stage choose alike because the stage has a topic, [0, 1). Preferences
            are drawn anew for each stage (Dirichlet), and the variance of an expert's n tokens grows by 1 + (n - 1) c.
    """

    zipf: float = 0.0
    correlation: float = 0.0

    def __post_init__(self) -> None:
        at_least(self.zipf, 0, "zipf")
        at_least(self.correlation, 0, "correlation")
        if self.correlation >= 1:
            raise ConfigError(f"correlation is {self.correlation:g}; expected a chance below 1")


EVEN = Routing()


def gemm(rows: float, inner: float, columns: float, weight_bits: float = 16.0) -> Work:
    """rows x inner times inner x columns, everything read or written once, two bytes an element but for weights."""
    if not rows:
        return Work(0.0, 0.0)
    moved = _BYTES * (rows * inner + rows * columns) + weight_bits / 8 * inner * columns
    return Work(2 * rows * inner * columns, moved)


def decode_attention(model: Model, context_tokens: float, devices: int = 1) -> Work:
    """One layer, one new token for each request; `context_tokens` is the sum over requests. Op/B is the group size."""
    assert model.attention is not None
    width = model.hidden / devices
    return Work(4 * context_tokens * width, 4 * context_tokens * width / model.attention.group)


def prefill_attention(model: Model, pairs: float, tokens: float, devices: int = 1) -> Work:
    """One layer, whole prompts: `pairs` (query, key) pairs; scores stay on chip, Q, K, V and the result move once."""
    assert model.attention is not None
    width = model.hidden / devices
    return Work(4 * pairs * width, _BYTES * tokens * width * (2 + 2 / model.attention.group))


def state_space_step(model: Model, num_sessions: float, devices: int = 1) -> Work:
    """One layer, one token for each session: five operations an element of the state, read and written once."""
    space = _space(model)
    elements = num_sessions * model.inner * space.order / devices
    return Work(5 * elements, 2 * space.state_bytes * elements)


def state_space_scan(model: Model, tokens: float, devices: int = 1) -> Work:
    """One layer, prompts in chunks (the dual form of Mamba-2): half a chunk of pairs inside, the state between."""
    space = _space(model)
    inside = space.chunk * (space.order + model.inner)
    between = 4 * model.inner * space.order
    state = 2 * space.state_bytes * model.inner * space.order / space.chunk
    return Work(tokens * (inside + between) / devices, tokens * (state + _BYTES * 3 * model.inner) / devices)


def active_experts(num_experts: int, top_k: int, num_tokens: float) -> float:
    """Expected experts that at least one of `num_tokens` tokens visits, each taking `top_k` different ones evenly.

    E (1 - (1 - k / E)^B). A count of k, which some calculators use for every batch, is right for one token only.
    """
    whole(num_experts, 1, "num_experts")
    whole(top_k, 1, "top_k")
    at_least(num_tokens, 0, "num_tokens")
    if top_k > num_experts:
        raise ConfigError(f"top_k is {top_k}; there are {num_experts} experts")
    return num_experts * (1 - (1 - top_k / num_experts) ** num_tokens)


def route_tokens(
    feed: FeedForward, num_tokens: int, draws: int, rng: np.random.Generator, routing: Routing = EVEN
) -> NDArray[np.int64]:
    """Tokens of each expert, `top_k` different experts for every token: shape (draws, experts).

    A subset of experts is drawn with a probability in proportion to the product of its members' weights.
    """
    whole(num_tokens, 0, "num_tokens")
    count, top_k = feed.num_experts, feed.top_k
    if top_k == count:
        return np.full((draws, count), num_tokens, dtype=np.int64)
    if math.comb(count, top_k) <= _MOST_SUBSETS:
        chances, subsets, member = _subsets(count, top_k, routing.zipf)
        if num_tokens < len(subsets) and not routing.correlation:
            # Fewer tokens than subsets: to choose for each token is cheaper than to count each subset.
            size, even = (draws, num_tokens), not routing.zipf
            chosen = rng.integers(len(subsets), size=size) if even else rng.choice(len(subsets), size, p=chances)
            places = subsets[chosen] + count * np.arange(draws)[:, None, None]
            return np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count)
        if routing.correlation:
            chances = _topics(chances, routing.correlation, draws, rng)
        # Whole numbers far below 2^53, so the product in floating point is exact.
        return (rng.multinomial(num_tokens, chances, size=draws) @ member).astype(np.int64)
    weights = _weights(count, routing.zipf)
    topics = np.broadcast_to(weights / weights.sum(), (draws, count))
    if routing.correlation:
        topics = _topics(topics[0], routing.correlation, draws, rng)
    # Too many subsets to list: the top k of Gumbel-perturbed weights, one token after another without replacement.
    found = np.zeros((draws, count), dtype=np.int64)
    for draw in range(draws):
        keys = rng.gumbel(size=(num_tokens, count)) + np.log(np.maximum(topics[draw], 1e-300))
        chosen = np.argpartition(-keys, top_k, axis=1)[:, :top_k]
        found[draw] = np.bincount(chosen.ravel(), minlength=count)
    return found


def _topics(
    chances: NDArray[np.float64], correlation: float, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Preferences of each draw around `chances`: Dirichlet with the concentration whose pair correlation is asked."""
    found = rng.dirichlet(chances * (1 - correlation) / correlation, size=draws)
    return found / found.sum(axis=-1, keepdims=True)


def _weights(count: int, skew: float) -> NDArray[np.float64]:
    return np.arange(1, count + 1, dtype=float) ** -skew


@lru_cache(maxsize=8)
def _subsets(count: int, top_k: int, skew: float) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Chance of each subset of `top_k` experts, its members, and the same as rows of zeros and ones."""
    subsets = np.array(list(itertools.combinations(range(count), top_k)))
    chances = _weights(count, skew)[subsets].prod(axis=1)
    chances /= chances.sum()
    member = np.zeros((len(subsets), count))
    np.put_along_axis(member, subsets, 1.0, axis=1)
    chances.flags.writeable = subsets.flags.writeable = member.flags.writeable = False
    return chances, subsets, member


def expert_seconds(model: Model, counts: NDArray[np.int64], slices: float, processor: Processor) -> NDArray[np.float64]:
    """Roofline time of each expert with `counts` tokens, cut into `slices` over devices; 0 without tokens."""
    feed = model.feed_forward
    assert feed is not None
    flops, moved = expert_work(model, counts, slices)
    return np.maximum(flops / processor.flops_per_s, moved / processor.bytes_per_s)


def expert_work(
    model: Model, counts: NDArray[np.int64], slices: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Operations and bytes of each expert, a device."""
    feed = model.feed_forward
    assert feed is not None
    width = feed.width / slices
    rows = counts.astype(np.float64)
    flops = feed.num_matrices * 2.0 * model.hidden * width * rows
    weights = model.weight_bits / 8 * model.hidden * width
    moved = feed.num_matrices * (_BYTES * rows * (model.hidden + width) + weights)
    return flops, moved * (rows > 0)


def _space(model: Model) -> StateSpace:
    assert model.state_space is not None
    return model.state_space

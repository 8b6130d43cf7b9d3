"""Which token comes next: the likeliest, or a draw from the likeliest few."""

import math

import numpy as np

from fullduplex.base.arrays import Float32Array
from fullduplex.base.chat import Sampling
from fullduplex.base.errors import InputError, PortError

__all__ = ["TOP_K", "Sampler", "check_sampling", "peak_of"]

TOP_K = 100  # candidates kept before top-p: sorting a vocabulary of 150,000 for each token costs more than it changes


def check_sampling(sampling: Sampling) -> None:
    """Raises `InputError` for a temperature below 0 or a top_p outside (0, 1]."""
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0 and 0 < sampling.top_p <= 1):
        raise InputError(
            f"temperature must be 0 or more and top_p in (0, 1], not {sampling.temperature} and {sampling.top_p}"
        )


def peak_of(logits: np.ndarray) -> float:
    """The largest. Raises `PortError` when it is no number, as of a damaged model."""
    peak = float(logits.max())
    if not math.isfinite(peak):
        raise PortError("the language model gave no usable logits; the model file may be damaged")
    return peak


class Sampler:
    """Draws for one reply: the `TOP_K` likeliest, of these the fewest that together have `top_p`, at `temperature`."""

    def __init__(self, sampling: Sampling) -> None:
        """Raises `InputError` as `check_sampling`."""
        check_sampling(sampling)
        self._sampling = sampling
        self._draws = np.random.default_rng(sampling.seed & 0xFFFFFFFF)

    def draw(self, logits: Float32Array) -> int:
        """A token, given logits (vocabulary,). Raises `PortError` as `peak_of`."""
        peak_of(logits)
        temperature = self._sampling.temperature
        if temperature == 0:
            return int(logits.argmax())
        count = min(TOP_K, logits.size)
        few = np.argpartition(logits, -count)[-count:]
        few = few[np.lexsort((few, -logits[few]))]  # likeliest first, equals by number
        kept = logits[few].astype(np.float64)
        share = np.exp(kept - kept[0])
        before = np.cumsum(share) - share
        kept = kept[before < self._sampling.top_p * share.sum()]
        weight = np.exp((kept - kept[0]) / temperature)
        return int(few[np.searchsorted(np.cumsum(weight), self._draws.random() * weight.sum(), side="right")])

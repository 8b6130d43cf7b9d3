"""Which expert runs where: the ascending prefix rule, the four memory spaces, and brute force to check both.

Experts that few tokens visit do little for every byte and belong to the units in memory (arXiv:2409.01141, section V).
Times come as arrays whose last axis is the experts of one device; leading axes are independent cases.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_SPACES", "best_split_seconds", "deal_spaces", "prefix_split", "split_seconds"]

NUM_SPACES = 4

Times = NDArray[np.float64]


def prefix_split(counts: NDArray[np.int64], xpu_s: Times, pim_s: Times) -> tuple[NDArray[np.bool_], Times]:
    """Move experts to memory in ascending order of tokens; keep the prefix with the shortest max(xPU, memory).

    Returns:
        Which experts run in memory (the shape of `counts`), and the time of the longer side.
    """
    order = np.argsort(counts, axis=-1, kind="stable")
    xpu_sorted = np.take_along_axis(xpu_s, order, axis=-1)
    pim_sorted = np.take_along_axis(pim_s, order, axis=-1)
    zero = np.zeros((*counts.shape[:-1], 1))
    in_memory = np.concatenate([zero, np.cumsum(pim_sorted, axis=-1)], axis=-1)
    left = np.concatenate([zero, np.cumsum(xpu_sorted[..., ::-1], axis=-1)], axis=-1)[..., ::-1]
    longer = np.maximum(in_memory, left)
    best = np.argmin(longer, axis=-1)[..., None]
    sorted_side = np.arange(counts.shape[-1]) < best
    side = np.zeros(counts.shape, dtype=np.bool_)
    np.put_along_axis(side, order, sorted_side, axis=-1)
    return side, np.take_along_axis(longer, best, axis=-1)[..., 0]


def deal_spaces(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums over the four memory spaces, to which experts are dealt one by one; (..., experts) -> (..., 4)."""
    missing = -values.shape[-1] % NUM_SPACES
    padding = [(0, 0)] * (values.ndim - 1) + [(0, missing)]
    padded = np.pad(values.astype(float), padding)
    return padded.reshape(*values.shape[:-1], -1, NUM_SPACES).sum(axis=-2)


def split_seconds(counts: NDArray[np.int64], xpu_s: Times, pim_s: Times, *, spaces: bool) -> tuple[Times, Times]:
    """Time of the experts of a device on both sides, and the share of its experts' bytes-time run in memory.

    With `spaces`, all experts of one of the four memory spaces run on the same side.
    Returns: seconds, and a mask (like `counts`) as 0 or 1 of the experts in memory.
    """
    if not spaces:
        side, seconds = prefix_split(counts, xpu_s, pim_s)
        return seconds, side.astype(float)
    totals = deal_spaces(counts).astype(np.int64)
    side, seconds = prefix_split(totals, deal_spaces(xpu_s), deal_spaces(pim_s))
    repeats = -(-counts.shape[-1] // NUM_SPACES)
    mask = np.tile(side, repeats)[..., : counts.shape[-1]]
    return seconds, mask.astype(float)


def best_split_seconds(xpu_s: Times, pim_s: Times) -> float:
    """Every way to deal the experts of one device (1-D arrays, at most about 16); the slow twin of `prefix_split`."""
    options = itertools.product((False, True), repeat=len(xpu_s))
    return min(
        max(sum(t for t, side in zip(pim_s, sides, strict=True) if side),
            sum(t for t, side in zip(xpu_s, sides, strict=True) if not side))
        for sides in options
    )  # fmt: skip

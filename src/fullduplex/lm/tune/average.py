"""One adapter from several that began as the same one: the mean of their factors.

Weights trained from one start lie in one basin, and their mean is often better than each of them and less a matter of a
seed (model soups, Wortsman et al., arXiv 2203.05482). The mean of the changes would have the sum of the ranks; the product
of the mean factors keeps the rank, and is nearly the same while the factors are near each other: how nearly is measured.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fullduplex.base.errors import ConfigError, FormatError
from fullduplex.lm.tune.run import read_adapter, write_adapter

__all__ = ["average_adapters"]

_MOST_APART = 0.25


def average_adapters(paths: Sequence[Path], out: Path) -> float:
    """Write the mean of the adapters in `paths` to `out`.

    Returns:
        The size of the difference between the change that `out` makes and the mean of the changes, as a share of the
        latter (Frobenius norms, all layers together).

    Raises:
        ConfigError: fewer than two, or trained with other settings, or that share is over a quarter: they did not begin
        as the same adapter (`tune run --start`). FormatError: one is damaged or of another model. AssetError: one is
        missing.
    """
    if len(paths) < 2:
        raise ConfigError(f"an average needs two adapters or more, not {len(paths)}")
    states, loras = zip(*map(read_adapter, paths), strict=True)
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    for path, lora, shape in zip(paths, loras, shapes, strict=True):
        if replace(lora, seed=loras[0].seed) != loras[0]:
            raise ConfigError(f"{path} was made with {lora}; {paths[0]} with {loras[0]}")
        if shape != shapes[0]:
            raise FormatError(f"{path} changes other layers than {paths[0]}")
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    apart = _apart(states, mean)
    if not apart <= _MOST_APART:
        raise ConfigError(
            f"the product of the mean factors is {apart:.0%} away from the mean change: these adapters did not begin as the "
            "same one; train each with --start and the same file"
        )
    write_adapter(out, mean, loras[0])
    return apart


def _apart(states: Sequence[dict[str, torch.Tensor]], mean: dict[str, torch.Tensor]) -> float:
    off = size = 0.0
    for layer in sorted({name.rpartition(".")[0] for name in mean}):
        up, down = f"{layer}.up", f"{layer}.down"
        change = torch.stack([state[up] @ state[down] for state in states]).mean(0)
        off += float(torch.linalg.vector_norm(change - mean[up] @ mean[down])) ** 2
        size += float(torch.linalg.vector_norm(change)) ** 2
    return (off / size) ** 0.5 if size else 0.0

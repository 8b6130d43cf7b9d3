"""Streams made of streams: their states nest, and nothing else changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from fullduplex.base.errors import InputError
from fullduplex.nn.stream import Growth, Stream

__all__ = ["Chain", "ChainState", "Residual"]


@dataclass(frozen=True, slots=True)
class ChainState:
    """One state for each layer, in order."""

    layers: tuple[Any, ...]


class Chain(nn.Module):
    """Layers one after the other; an empty chain is the identity.

    Args:
        layers: streams that are modules, first to last.

    Raises:
        InputError: one of them does not have `init`, `step` and `scan`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        for layer in layers:
            if not all(hasattr(layer, name) for name in ("growth", "init", "step", "scan")):
                raise InputError(f"Chain got a {type(layer).__name__}; expected streams: growth, init, step, scan")
        self.layers = nn.ModuleList(layers)
        self.growth: Growth = "linear" if any(s.growth == "linear" for s in self._streams()) else "constant"

    def init(self, batch: int) -> ChainState:
        """Every layer at its start."""
        return ChainState(tuple(stream.init(batch) for stream in self._streams()))

    def step(self, x_BD: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """One step through every layer."""
        after: list[Any] = []
        for stream, before in zip(self._streams(), state.layers, strict=True):
            x_BD, now = stream.step(x_BD, before)
            after.append(now)
        return x_BD, ChainState(tuple(after))

    def scan(self, x_BTD: Tensor, state: ChainState) -> tuple[Tensor, ChainState]:
        """T steps through every layer, layer by layer."""
        after: list[Any] = []
        for stream, before in zip(self._streams(), state.layers, strict=True):
            x_BTD, now = stream.scan(x_BTD, before)
            after.append(now)
        return x_BTD, ChainState(tuple(after))

    def _streams(self) -> tuple[Stream[Any], ...]:
        return tuple(cast("Stream[Any]", layer) for layer in self.layers)


class Residual(nn.Module):
    """y = x + f(x); the state is that of f.

    Args:
        inner: a stream whose output is as wide as its input.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.growth: Growth = self._stream().growth

    def init(self, batch: int) -> Any:
        """The start of the inner stream."""
        return self._stream().init(batch)

    def step(self, x_BD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step."""
        y_BD, state = self._stream().step(x_BD, state)
        return x_BD + y_BD, state

    def scan(self, x_BTD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """T steps at once."""
        y_BTD, state = self._stream().scan(x_BTD, state)
        return x_BTD + y_BTD, state

    def _stream(self) -> Stream[Any]:
        return cast("Stream[Any]", self.inner)

"""What computes behind an engine: tokens in, logits out, with a cache of several sequences."""

from collections.abc import Callable, Collection
from typing import Any, Protocol

from fullduplex.base.arrays import Float32Array
from fullduplex.base.chat import Sampling

__all__ = ["Runner"]


class Runner(Protocol):
    """See `fullduplex.lm.engine.engine.Engine` for what the methods promise."""

    def use_threads(self, count: int) -> None:
        """Threads of the decodes to come."""
        ...

    def decode(
        self, sequence: int, start: int, tokens: list[int], logits: Collection[int], cancelled: Callable[[], bool]
    ) -> bool:
        """Decode tokens at positions from `start`; False when the cache has no room.

        Raises `PortError` or `InterruptedError`: then half of them may be in, and the caller removes them.
        """
        ...

    def logits(self, index: int) -> Float32Array:
        """Behind a token of the last batch, -1 the last of those asked for. Raises `PortError`."""
        ...

    def sampler(self, sampling: Sampling) -> Any:
        """What `sample` draws with, for one reply. Raises `InputError`."""
        ...

    def sample(self, sampler: Any) -> int:
        """The token behind the last of those asked for. Raises `PortError`."""
        ...

    def remove(self, sequence: int, start: int) -> bool:
        """Drop what a sequence holds from position `start`; False when it cannot be done by part."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target`, which is empty, begin with the first `length` positions of `source`."""
        ...

    def close(self) -> None:
        """Free everything, once."""
        ...

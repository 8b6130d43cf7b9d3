"""A conversation on disk: save a state, load it into the layer it came from, go on bit-equal."""

from pathlib import Path
from typing import TypeVar

from torch import Tensor

from fullduplex.base.errors import FormatError
from fullduplex.nn.archive import read_archive, write_archive
from fullduplex.nn.state import leaves, map_leaves
from fullduplex.nn.stream import Stream

__all__ = ["load_state", "save_state"]

StateT = TypeVar("StateT")


def save_state(state: object, path: Path) -> None:
    """Write `state` to `path`, atomically."""
    write_archive(path, {"state": {name: leaf.detach().cpu() for name, leaf in leaves(state)}})


def load_state(stream: Stream[StateT], path: Path) -> StateT:
    """Read a state of `stream`, onto the device of its parameters.

    Raises:
        FormatError: the file is damaged, or its leaves are not those of `stream`: other names, types or shapes.
    """
    saved = read_archive(path).get("state")
    if not isinstance(saved, dict):
        raise FormatError(f"{path.name} holds no state; expected a file written by save_state")
    batch = next((leaf.shape[0] for leaf in saved.values()), 1)
    empty = stream.init(batch)
    names = [name for name, _ in leaves(empty)]
    if names != list(saved):
        raise FormatError(f"{path.name} holds state leaves {list(saved)}; this stream has {names}")

    def load(name: str, like: Tensor) -> Tensor:
        leaf = saved[name]
        # An axis that grows with time is empty at `init`, so any length fits it.
        grows = [stream.growth == "linear" and size == 0 for size in like.shape]
        fits = leaf.dtype == like.dtype and leaf.ndim == like.ndim
        if not fits or any(
            have != want and not free for have, want, free in zip(leaf.shape, like.shape, grows, strict=True)
        ):
            raise FormatError(
                f"{path.name}: state leaf {name!r} is {leaf.dtype} {tuple(leaf.shape)}; "
                f"this stream starts with {like.dtype} {tuple(like.shape)}"
            )
        return leaf.to(like.device)

    return map_leaves(load, empty)

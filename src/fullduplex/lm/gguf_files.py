"""Llama GGUF files: opened, and what their tensors are called in `fullduplex.lm.tune.llama.Llama`. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.errors import AssetError, FormatError, MissingExtraError

__all__ = ["BLOCK", "ENDS", "gguf_names", "layer_names", "open_gguf"]

ENDS = {"token_embd": "embedding", "output_norm": "norm", "output": "output"}
BLOCK = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.out",
    "ffn_norm": "feed_norm",
    "ffn_gate": "feed.gate",
    "ffn_up": "feed.up",
    "ffn_down": "feed.down",
}


def gguf_names(layers: int) -> dict[str, str]:
    """Name in a GGUF file -> name in `Llama`, both without `.weight`."""
    return layer_names(layers, ENDS, BLOCK, "blk")


def layer_names(layers: int, ends: Mapping[str, str], block: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The same for any file: `ends` outside the blocks, `block` inside them, numbered behind `prefix`."""
    names = dict(ends)
    for layer in range(layers):
        names |= {f"{prefix}.{layer}.{theirs}": f"blocks.{layer}.{ours}" for theirs, ours in block.items()}
    return names


def open_gguf(path: Path) -> Any:
    """A `gguf.GGUFReader` of the file.

    The library slices a memory map a few hundred thousand times; of a plain array that takes a quarter of the time.

    Raises:
        AssetError: there is no such file. FormatError: it is no whole GGUF file. MissingExtraError: gguf is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise MissingExtraError("gguf", "talk") from None
    if not path.is_file():
        raise AssetError(f"there is no model file {path}; see: fullduplex assets list")

    class Reader(gguf.GGUFReader):
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = np.asarray(mapped)

    try:
        return Reader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise FormatError(f"{path} is no whole GGUF file: {error}; verify it") from None

"""What the tensors of a Llama GGUF file are called in `fullduplex.lm.tune.llama.Llama`: one table, no torch."""

from collections.abc import Mapping

__all__ = ["gguf_names", "layer_names"]

_ENDS = {"token_embd": "embedding", "output_norm": "norm", "output": "output"}
_BLOCK = {
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
    return layer_names(layers, _ENDS, _BLOCK, "blk")


def layer_names(layers: int, ends: Mapping[str, str], block: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The same for any file: `ends` outside the blocks, `block` inside them, numbered behind `prefix`."""
    names = dict(ends)
    for layer in range(layers):
        names |= {f"{prefix}.{layer}.{theirs}": f"blocks.{layer}.{ours}" for theirs, ours in block.items()}
    return names

"""A model's words and sums: our own compiled decoder, llama.cpp where it cannot run."""

from fullduplex.lm.engine.engine import LAYOUT_KEY, Engine

__all__ = ["LAYOUT_KEY", "Engine"]

"""llama.cpp: the engine, and the two libraries that carry it."""

from fullduplex.lm.engine.llama_cpp import LAYOUT_KEY, Engine

__all__ = ["LAYOUT_KEY", "Engine"]

"""State-space models: memories with a closed form, and layers made of them. The layers load when they are asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullduplex.ssm.classifier import Classifier, ClassifierConfig
    from fullduplex.ssm.s4 import S4, S4Config
    from fullduplex.ssm.s4d import S4D, S4DConfig
    from fullduplex.ssm.s5 import S5, S5Config

__all__ = ["S4", "S4D", "S5", "Classifier", "ClassifierConfig", "S4Config", "S4DConfig", "S5Config"]


def __getattr__(name: str) -> Any:
    """A layer or its settings, from the module of its own."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.removesuffix('Config').lower()}"), name)

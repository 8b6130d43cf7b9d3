"""Numbers of a configuration that cannot be used are refused by the name of their field."""

import math

from fullduplex.base.errors import ConfigError

__all__ = ["at_least", "positive", "whole"]


def positive(value: float, field: str) -> float:
    """`value`, finite and above zero.

    Raises: ConfigError naming `field`.
    """
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{field} is {value!r}; expected a finite number above 0")
    return value


def at_least(value: float, floor: float, field: str) -> float:
    """`value`, finite and not below `floor`.

    Raises: ConfigError naming `field`.
    """
    if not (math.isfinite(value) and value >= floor):
        raise ConfigError(f"{field} is {value!r}; expected a finite number of at least {floor:g}")
    return value


def whole(value: int, floor: int, field: str) -> int:
    """`value`, a whole number not below `floor`.

    Raises: ConfigError naming `field`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < floor:
        raise ConfigError(f"{field} is {value!r}; expected a whole number of at least {floor}")
    return value

"""What a user types: lengths of time, lists, and counts named by their option."""

import argparse
import re
from collections.abc import Callable

__all__ = ["counted", "numbers", "seconds"]

_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """80ms, 0.5s, 5min, 1h; without a unit, seconds.

    Raises: ArgumentTypeError for anything else.
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(ms|s|min|h)?", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time; expected such as 80ms, 0.5s, 5min")
    return float(found[1]) * _UNITS[found[2] or "s"]


def numbers(text: str) -> tuple[float, ...]:
    """Numbers of at least 0 with commas between.

    Raises: ArgumentTypeError for anything else.
    """
    try:
        found = tuple(float(item) for item in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= value < float("inf") for value in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers of at least 0; expected such as 1,10,60")
    return found


def counted(least: int) -> Callable[[str], int]:
    """A whole number not below `least`, for `argparse`."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least {least}")
        return value

    return whole

"""What a user types: lengths of time, lists, counts named by their option, and places to write to."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from fullduplex.base.errors import InputError

__all__ = ["counted", "numbers", "seconds", "writable"]

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


def writable(path: Path) -> Path:
    """`path`, whose folder exists now, found out before anything long is computed.

    Raises: InputError when nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another place") from error
    return path

"""Options that say how a file of series is read."""

import argparse
from typing import Literal

from fullduplex.forecast.series import ReadConfig

__all__ = ["add_reading", "read_config"]


def add_reading(parser: argparse.ArgumentParser, *, gaps: Literal["refuse", "nan", "linear"]) -> None:
    """The group `reading`; `gaps` is what is done with missing values unless told otherwise."""
    reading = parser.add_argument_group("reading")
    reading.add_argument("--time", metavar="COLUMN", help="column of times (default: the first that reads as times)")
    reading.add_argument("--values", default="", metavar="C,C,…", help="columns to read (default: all numbers)")
    reading.add_argument("--zone", metavar="ZONE", help="zone of times that say none, such as Europe/Berlin")
    reading.add_argument("--gaps", choices=("refuse", "nan", "linear"), default=gaps, help=f"default: {gaps}")
    reading.add_argument("--duplicates", choices=("refuse", "last", "mean"), default="refuse", help="default: refuse")


def read_config(arguments: argparse.Namespace) -> ReadConfig:
    """What those options say."""
    return ReadConfig(
        time=arguments.time,
        values=tuple(name for name in arguments.values.split(",") if name),
        zone=arguments.zone,
        gaps=arguments.gaps,
        duplicates=arguments.duplicates,
    )

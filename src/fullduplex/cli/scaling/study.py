"""`fullduplex scaling study`: train many small patch Transformers and write the table of their errors."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import InputError
from fullduplex.forecast.series import ReadConfig, read_ragged_rows, read_series

__all__ = ["add_study", "study"]

_Jobs = Any  # argparse does not name the type of what add_subparsers returns
_MADE_UP_TESTS, _GIVEN_TESTS = 192, 64  # windows of "id": made up as the training series are, and ends of given ones
_MOST_TESTS = 256  # windows of a file, evenly spread over it
_OTHER_SEED = 1  # of made-up series that are only tested on


def add_study(jobs: _Jobs) -> None:
    """The options."""
    parser = jobs.add_parser(
        "study",
        help="train a ladder of small models, resumable, and write runs.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train encoder-only and decoder-only patch Transformers of rising size on made-up series (and on yours),\n"
        "then one size on rising amounts of data. Stopped with Ctrl-C, the same command goes on where it was.\n\n"
        "  fullduplex scaling study --out study\n"
        "  fullduplex scaling study --out study --data Weekly-train.csv --test ett=ETTh1.csv --test m4h=Hourly-train.csv\n"
        "  fullduplex scaling fit study/runs.csv --x n --loss id_crps --where kind=encoder --last\n\n"
        "A file is a table as for `fullduplex forecast`, or one series a row as in the M4 competition.\n"
        "With the defaults it takes half an hour on one core.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of this study alone")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="FILE", help="series to train on too")
    parser.add_argument("--test", action="append", default=[], metavar="NAME=FILE", help="series to test on only")
    parser.add_argument("--steps", type=int, default=1_200, metavar="N", help="of each run (default: 1200)")
    parser.add_argument("--sizes", metavar="WxL,…", help="widths and layers (default: 8x1,…,128x4, 7 sizes)")
    parser.add_argument("--points", metavar="D,D,…", help="steps of data (default: 1e4 to 3e6, 5 amounts)")
    parser.add_argument("--fixed", default="64x2", metavar="WxL", help="the size trained on less data (default: 64x2)")
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="runs of each (default: 2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=study)


def study(arguments: argparse.Namespace) -> int:
    """Train what is not there yet."""
    from tqdm import tqdm

    from fullduplex.forecast.foundation.corpus import last_windows, make_series
    from fullduplex.forecast.foundation.study import Run, StudyConfig, planned_runs, run_study

    chosen: dict[str, Any] = {"num_steps": arguments.steps, "seeds": tuple(range(arguments.seeds))}
    if arguments.sizes:
        chosen["sizes"] = tuple(_size(text) for text in arguments.sizes.split(","))
    if arguments.points:
        chosen["points"] = tuple(_whole(text, "--points") for text in arguments.points.split(","))
    config = StudyConfig(fixed_size=_size(arguments.fixed), **chosen)
    length = config.patch * config.num_patches
    given = [values_T for path in arguments.data for values_T in _series_of(path)]
    own = [make_series(index, length + 1, _OTHER_SEED) for index in range(_MADE_UP_TESTS)]
    own_NL = last_windows(own, length, config.patch)
    held = [_spread(last_windows(given, length, config.patch), _GIVEN_TESTS)] if given else []
    tests = {"id": np.concatenate([own_NL, *held])}
    for text in arguments.test:
        name, _, path = text.partition("=")
        if not path or not name.isidentifier() or name in tests:
            raise InputError(f"--test is {text!r}; expected NAME=FILE, a new name of letters, such as ett=ETTh1.csv")
        tests[name] = _windows_of(_series_of(Path(path)), length, config.patch)
    total = len(planned_runs(config)) * config.num_steps
    with tqdm(total=total, unit=" steps", file=sys.stderr, disable=None) as bar:

        def report(run: Run, _step: object) -> None:
            bar.set_description(run.name, refresh=False)
            bar.update()

        table = run_study(config, given, tests, arguments.out, report=report)
    found = {"table": str(table), "runs": len(planned_runs(config)), "tests": {k: len(v) for k, v in tests.items()}}
    print(
        json.dumps(found)
        if arguments.json
        else f"{found['runs']} runs in {table}\nnext: fullduplex scaling fit {table}"
    )
    return 0


def _series_of(path: Path) -> list[Float64Array]:
    """All series of a file, missing values at the ends left out."""
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    with path.open("rb") as file:
        head = file.read(4)
    if head.lstrip(b'"').startswith(b"V1"):
        return list(read_ragged_rows(path).values())
    values_TC = read_series(path, ReadConfig(gaps="linear")).values_TC
    return [np.ascontiguousarray(channel) for channel in values_TC.T]


def _windows_of(series: list[Float64Array], length: int, target: int) -> Float64Array:
    """Windows side by side, from the end of each series backwards."""
    from fullduplex.forecast.foundation.corpus import last_windows

    pieces = [
        values_T[: values_T.size - skipped]
        for values_T in series
        for skipped in range(0, values_T.size - length, length)
    ]
    return _spread(last_windows(pieces, length, target), _MOST_TESTS)


def _spread(windows_NL: Float64Array, most: int) -> Float64Array:
    chosen = np.linspace(0, len(windows_NL) - 1, min(len(windows_NL), most))
    return windows_NL[np.unique(chosen.round().astype(int))]


def _size(text: str) -> tuple[int, int]:
    width, _, layers = text.strip().partition("x")
    return _whole(width, "a size"), _whole(layers, "a size")


def _whole(text: str, name: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = 0.5
    if value != int(value) or value < 1:
        raise InputError(f"{name} has {text!r}; expected whole numbers such as 64x2 or 1e5")
    return int(value)

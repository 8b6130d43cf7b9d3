"""Read labelled cases from disk: many short series, each with the class it belongs to. Beside `series`, for classification."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FormatError, InputError, MissingExtraError

__all__ = ["Cases", "read_cases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Cases of shape (T, V) each, T may differ; names; the class of each, or None where the file has none."""

    values: Sequence[Float64Array]
    names: tuple[str, ...]
    labels: tuple[str, ...] | None


def read_cases(path: Path, case: str = "case", label: str = "label") -> Cases:
    """Read the cases in `path`.

    Args:
        path: `.ts`, the format of the UEA and UCR archives; or `.csv`, one row a step, with a column that names the
            case, one that names its class (it may be absent) and one column of numbers for each channel.
        case, label: names of those two columns.

    Raises:
        InputError: there is no such file or column.
        FormatError: the file cannot be read, or its cases do not fit together.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a .ts or .csv file of cases")
    found = _archive(path) if path.suffix == ".ts" else _table(path, case, label)
    if not found.values:
        raise FormatError(f"{path.name} holds no case")
    widths = sorted({values.shape[1] for values in found.values})
    if len(widths) > 1:
        raise FormatError(f"{path.name} holds cases of {widths} channels; expected one number of channels")
    return found


def _archive(path: Path) -> Cases:
    """`x,x,…:x,x,…:label`, one case a line, one field a channel; header lines begin with @."""
    labelled, values, labels = False, [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("@"):
            key, *rest = text.split()
            if key.lower() == "@timestamps" and rest and rest[0].lower() == "true":
                raise FormatError(f"{path.name}: values with time stamps are not read; write plain values")
            labelled = labelled or (key.lower() == "@classlabel" and bool(rest) and rest[0].lower() == "true")
            continue
        *fields, last = text.split(":")
        channels = fields if labelled else [*fields, last]
        try:
            rows = [
                np.array([float(cell) if cell != "?" else np.nan for cell in field.split(",")]) for field in channels
            ]
            values.append(np.stack(rows, axis=1))
        except ValueError as error:
            raise FormatError(
                f"{path.name} line {number}: {error}; expected channels of one length, numbers between commas"
            ) from error
        if labelled:
            labels.append(last.strip())
    names = tuple(str(index) for index in range(len(values)))
    return Cases(values=values, names=names, labels=tuple(labels) if labelled else None)


def _table(path: Path, case: str, label: str) -> Cases:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "forecast") from error
    try:
        table = pandas.read_csv(path)
    except (ValueError, OSError, UnicodeDecodeError, EOFError) as error:
        raise FormatError(f"{path.name} cannot be read: {error}") from error
    if case not in table.columns:
        raise InputError(f"{path.name} has no column {case!r}; it has {', '.join(map(str, table.columns))}; see --case")
    channels = [name for name in table.select_dtypes("number").columns if name not in (case, label)]
    if not channels:
        raise FormatError(f"{path.name} has no column of numbers beside {case!r} and {label!r}")
    values, names, labels = [], [], []
    for name, rows in table.groupby(case, sort=False):
        values.append(rows[channels].to_numpy(np.float64))
        names.append(str(name))
        if label in table.columns:
            own = rows[label].astype(str).unique()
            if len(own) != 1:
                raise FormatError(f"{path.name}: case {name!r} has {len(own)} classes; expected one")
            labels.append(str(own[0]))
    return Cases(values=values, names=tuple(names), labels=tuple(labels) if label in table.columns else None)

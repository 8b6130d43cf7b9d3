"""A table of anybody's runs, and what of it a law is fitted to.

Axes: N rows.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import FormatError, InputError

__all__ = ["ComputeError", "RunTable", "envelope", "read_runs", "refuse_wrong_compute"]

_MOST_APART = 20.0  # a factor between 6 N tokens and the compute of the table


class ComputeError(InputError):
    """The compute of a table is not what its parameters and tokens cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """Rows as text, by column."""

    name: str
    rows: tuple[Mapping[str, str], ...]

    def numbers(self, column: str) -> Float64Array:
        """A column as numbers, shape (N,).

        Raises:
            InputError: there is no such column.
            FormatError: a cell is not a number.
        """
        self._known(column)
        found: list[float] = []
        for number, row in enumerate(self.rows, start=1):
            try:
                found.append(float(row[column]))
            except (TypeError, ValueError) as error:
                raise FormatError(
                    f"{self.name}: row {number} of those kept has {row[column]!r} in {column}; expected a number"
                ) from error
        return np.array(found)

    def has(self, *columns: str) -> bool:
        """Whether all of these columns are there."""
        return bool(self.rows) and all(column in self.rows[0] for column in columns)

    def where(self, conditions: Sequence[str]) -> "RunTable":
        """The rows that meet every `column=value`; numbers compare as numbers.

        Raises:
            InputError: a condition is not of that form, or no row meets them.
        """
        rows = self.rows
        for condition in conditions:
            column, sign, value = condition.partition("=")
            if not sign:
                raise InputError(f"the condition is {condition!r}; expected column=value")
            self._known(column)
            rows = tuple(row for row in rows if _same(row[column], value))
        if not rows:
            raise InputError(f"{self.name} has no row with {' and '.join(conditions)}")
        return RunTable(name=self.name, rows=rows)

    def last_steps(self, run: str, step: str) -> "RunTable":
        """Of every run its row of the largest step: what was reached, not the best of many looks at a test."""
        steps = self.numbers(step)
        self._known(run)
        kept: dict[str, tuple[float, Mapping[str, str]]] = {}
        for row, at in zip(self.rows, steps, strict=True):
            if row[run] not in kept or at > kept[row[run]][0]:
                kept[row[run]] = (float(at), row)
        return RunTable(name=self.name, rows=tuple(row for _, row in kept.values()))

    def _known(self, column: str) -> None:
        if not self.has(column):
            raise InputError(f"{self.name} has no column {column!r}; it has {', '.join(self.rows[0]) or 'none'}")


def read_runs(path: Path, columns: Mapping[str, str] | None = None) -> RunTable:
    """Read a CSV of runs.

    Args:
        path: the file; its first line names the columns.
        columns: our name of a column to the file's, such as `{"n": "params"}`.

    Raises:
        InputError: it is no file, or lacks a column that `columns` names.
        FormatError: it is no table: no row, or rows of another length.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a CSV of runs")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name} cannot be read: {error}") from error
    if not rows:
        raise FormatError(f"{path.name} has no row; expected a line of column names and a line a run")
    if any(None in row or None in row.values() for row in rows):
        raise FormatError(f"{path.name}: rows have different numbers of cells")
    for ours, theirs in (columns or {}).items():
        if theirs not in rows[0]:
            raise InputError(f"{path.name} has no column {theirs!r}; it has {', '.join(rows[0])}")
        for row in rows:
            row[ours] = row[theirs]
    return RunTable(name=path.name, rows=tuple(rows))


def envelope(
    compute_N: Float64Array, loss_N: Float64Array, bins_per_decade: int = 10
) -> tuple[Float64Array, Float64Array]:
    """The lower envelope of losses over compute: the best of each bin of log10 C, where it is better than all cheaper.

    The second condition is ours: the published fit keeps the best of every bin.

    Raises:
        InputError: compute is not positive.
    """
    if not (np.isfinite(compute_N).all() and (compute_N > 0).all()):
        raise InputError("compute is missing, infinite or not above 0")
    bins_N = np.round(np.log10(compute_N) * bins_per_decade).astype(int)
    kept: list[int] = []
    best = np.inf
    for number in np.unique(bins_N):
        inside = np.flatnonzero(bins_N == number)
        index = int(inside[np.argmin(loss_N[inside])])
        if loss_N[index] < best:
            best = loss_N[index]
            kept.append(index)
    return compute_N[kept], loss_N[kept]


def refuse_wrong_compute(compute_N: Float64Array, parameters_N: Float64Array, tokens_N: Float64Array) -> None:
    """Compare the compute of a table with 6 N tokens.

    Raises:
        ComputeError: they are more than a factor of 20 apart, as when the number of an evaluation was taken for a step.
    """
    factor = float(np.median(compute_N / (6 * parameters_N * tokens_N)))
    if not 1 / _MOST_APART <= factor <= _MOST_APART:
        way, size = ("below", 1 / factor) if factor < 1 else ("above", factor)
        raise ComputeError(
            f"the compute of the table is {size:,.0f} times {way} 6 N tokens; was the number of an evaluation taken for a "
            "step, or another unit? correct the column, or leave it out and fit over 6 N tokens"
        )


def _same(cell: str, value: str) -> bool:
    try:
        return float(cell) == float(value)
    except ValueError:
        return cell == value

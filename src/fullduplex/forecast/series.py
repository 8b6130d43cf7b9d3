"""Read series from disk: the only file of this room that does.

CSV or Parquet; wide (one column a series) or long (one row an observation). Times become one even grid in UTC. What
cannot be put on a grid without guessing is refused, with the option that says what is meant.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import ConfigError, FormatError, InputError, MissingExtraError

__all__ = ["ReadConfig", "Series", "read_ragged_rows", "read_series", "season_of"]

# pandas is optional and its own types say little about an index of times.
Frame: TypeAlias = Any
Column: TypeAlias = Any
Times: TypeAlias = Any

_CALENDAR = ("YS-{}", "YE-{}", "QS-{}", "QE-{}", "MS", "ME")  # steps that are no fixed number of seconds
_SEASONS_S = {60: 1440, 300: 288, 600: 144, 900: 96, 1800: 48, 3600: 24, 86400: 7}
_SEASONS_CALENDAR = {"MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 1, "YE": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig:
    """What the columns mean, and what to do with times that are not an even grid.

    Args:
        time: column of times; None takes the first column that reads as times, or numbers the rows where there is none.
        series: column of series names: the file is long. None: the file is wide.
        values: columns to read; empty takes every column of numbers.
        zone: zone of times that say none, such as `"Europe/Berlin"`; None takes them as they are, without clock changes.
        gaps: `"refuse"` them, keep them as missing (`"nan"`), or fill along a straight line (`"linear"`).
        duplicates: `"refuse"` them, or keep the `"last"` or the `"mean"` of a time.

    Raises:
        ConfigError: a choice is unknown.
    """

    time: str | None = None
    series: str | None = None
    values: tuple[str, ...] = ()
    zone: str | None = None
    gaps: Literal["refuse", "nan", "linear"] = "refuse"
    duplicates: Literal["refuse", "last", "mean"] = "refuse"

    def __post_init__(self) -> None:
        if self.gaps not in ("refuse", "nan", "linear") or self.duplicates not in ("refuse", "last", "mean"):
            raise ConfigError(
                f"gaps {self.gaps!r}, duplicates {self.duplicates!r}; expected refuse, nan or linear; refuse, last or mean"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Series on one even grid.

    Args:
        values_TC: shape (T, C), missing values NaN.
        names: of the C channels.
        times: T times, UTC, `datetime64[ns]`; None where the file has none.
        frequency: step of the grid: seconds such as `"3600s"`, a calendar step such as `"MS"`, or `"row"`.
        zone: zone the times are shown in; None: as they were written.
    """

    values_TC: Float64Array
    names: tuple[str, ...]
    times: np.ndarray | None
    frequency: str
    zone: str | None = None

    def future_times(self, horizon: int) -> list[str]:
        """The next `horizon` times as text, in the zone of the series; row numbers where there are no times."""
        if self.times is None:
            return [str(len(self.values_TC) + step) for step in range(horizon)]
        pandas = _pandas()
        start = pandas.Timestamp(self.times[-1])
        ahead = pandas.date_range(start, periods=horizon + 1, freq=self.frequency)[1:]
        if self.zone is not None:
            ahead = ahead.tz_localize("UTC").tz_convert(self.zone)
        return [stamp.isoformat(sep=" ") for stamp in ahead]


def read_series(path: Path, config: ReadConfig | None = None) -> Series:
    """Read the series in `path`.

    Args:
        path: `.csv` (also compressed) or `.parquet`.
        config: what the columns mean.

    Raises:
        FormatError: the file cannot be read, has no row, or has no column of numbers.
        InputError: times are unsorted, repeated, uneven or missing in a way that `config` does not settle.
        MissingExtraError: pandas is not installed.
    """
    config = config or ReadConfig()
    table = _table(path)
    time = config.time if config.time is not None else _time_column(table, config)
    if time is not None and time not in table.columns:
        raise InputError(f"{path.name} has no column {time!r}; it has {', '.join(map(str, table.columns))}")
    if time is None:
        if config.series is not None:
            raise InputError(f"{path.name}: a long file needs a column of times; name it with --time")
        return _gapless(_numbers(table, path, config), None, "row", config)
    times = _times(table[time], table.get(config.series), path, config)
    table = table.drop(columns=[time]).set_axis(times, axis=0)
    wide = _widened(table, path, config) if config.series is not None else _numbers(table, path, config)
    wide = _without_duplicates(wide, path, config)
    if not wide.index.is_monotonic_increasing:
        raise InputError(f"{path.name}: times are not in order; sort the file by {time!r}")
    frequency = _frequency(wide.index, path)
    grid = _pandas().date_range(wide.index[0], wide.index[-1], freq=frequency)
    return _gapless(wide.reindex(grid), grid.to_numpy(), frequency, config)


def read_ragged_rows(path: Path) -> dict[str, Float64Array]:
    """One series a row, of any length: a name, then its values (the files of the M4 competition); by name.

    Raises:
        FormatError: a value is not a number, or a name comes twice.
    """
    found: dict[str, Float64Array] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[1:], start=2):
        name, *cells = (cell.strip().strip('"') for cell in line.split(","))
        if name in found:
            raise FormatError(f"{path.name} line {number}: series {name!r} comes twice")
        try:
            found[name] = np.array([float(cell) for cell in cells if cell], np.float64)
        except ValueError as error:
            raise FormatError(f"{path.name} line {number}: {error}; expected a name, then numbers") from error
    return found


def season_of(frequency: str) -> int:
    """Steps of the usual season of a grid: a day of minutes or hours, a week of days, a year of months; else 1."""
    calendar = frequency.split("-")[0]
    if calendar in _SEASONS_CALENDAR:
        return _SEASONS_CALENDAR[calendar]
    return _SEASONS_S.get(int(frequency[:-1]), 1) if frequency.endswith("s") and frequency[:-1].isdigit() else 1


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "forecast") from error
    return pandas


def _table(path: Path) -> Frame:
    pandas = _pandas()
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a CSV or Parquet file")
    try:
        table = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    except (ValueError, OSError, UnicodeDecodeError, EOFError) as error:
        raise FormatError(f"{path.name} cannot be read: {error}") from error
    if not len(table):
        raise FormatError(f"{path.name} has no row")
    return table


def _time_column(table: Frame, config: ReadConfig) -> str | None:
    pandas = _pandas()
    for name in table.columns:
        column = table[name]
        if name == config.series or pandas.api.types.is_numeric_dtype(column):
            continue
        if pandas.api.types.is_datetime64_any_dtype(column):
            return name
        if not pandas.to_datetime(column.head(20), errors="coerce", utc=True, format="mixed").isna().any():
            return name
    return None


def _times(column: Column, owner: Column | None, path: Path, config: ReadConfig) -> Times:
    """Times in UTC without a zone; the zone of wall-clock times is the caller's to say."""
    pandas = _pandas()
    if pandas.api.types.is_numeric_dtype(column):
        raise InputError(
            f"{path.name}: times in {column.name!r} are numbers; write them as dates, such as 2026-01-31 12:00"
        )
    try:
        aware = pandas.to_datetime(column, utc=True, format="mixed")
        if aware.isna().any():
            raise InputError(f"{path.name}: row {int(aware.isna().to_numpy().argmax()) + 1} has no time")
        if _says_zone(column):
            return pandas.DatetimeIndex(aware).tz_localize(None)
        plain = pandas.DatetimeIndex(aware).tz_localize(None)
        if config.zone is None:
            return plain
        repeated = (
            plain.duplicated() if owner is None else pandas.DataFrame({"t": plain, "o": owner}).duplicated().to_numpy()
        )
        return _in_zone(plain, np.asarray(repeated), config.zone, path)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path.name}: times cannot be read: {type(error).__name__}: {error}") from error


def _in_zone(plain: Times, repeated: NDArray[np.bool_], zone: str, path: Path) -> Times:
    """Wall-clock times of a zone in UTC. Of an hour that comes twice, the first row is the one before the change."""
    exists = plain.tz_localize(zone, ambiguous=np.ones(len(plain), bool), nonexistent="NaT").notna()
    if not exists.all():
        raise InputError(f"{path.name}: {plain[~exists][0]} is a time that {zone} does not have; is the zone right?")
    twice = plain.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").isna()
    if twice.any() and not (twice & repeated).any():
        raise InputError(
            f"{path.name}: {zone} has {plain[twice][0]} twice, the file once; write times with their offset"
        )
    return plain.tz_localize(zone, ambiguous=~repeated, nonexistent="raise").tz_convert("UTC").tz_localize(None)


def _says_zone(column: Column) -> bool:
    pandas = _pandas()
    if isinstance(column.dtype, pandas.DatetimeTZDtype):
        return True
    if pandas.api.types.is_datetime64_any_dtype(column):
        return False
    aware = column.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    if aware.any() and not aware.all():
        raise InputError(
            f"some times in {column.name!r} say their zone and some do not; write all of them the same way"
        )
    return bool(aware.all())


def _numbers(table: Frame, path: Path, config: ReadConfig) -> Frame:
    missing = [name for name in config.values if name not in table.columns]
    if missing:
        raise InputError(f"{path.name} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    chosen = table[list(config.values)] if config.values else table.select_dtypes("number")
    if not chosen.shape[1]:
        raise FormatError(f"{path.name} has no column of numbers")
    try:
        return chosen.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path.name}: {error}; expected numbers") from error


def _widened(table: Frame, path: Path, config: ReadConfig) -> Frame:
    if config.series not in table.columns:
        raise InputError(f"{path.name} has no column {config.series!r}; it has {', '.join(map(str, table.columns))}")
    values = _numbers(table.drop(columns=[config.series]), path, config)
    if values.shape[1] != 1:
        raise InputError(
            f"{path.name}: a long file has one column of values, not {values.shape[1]}; name it with --values"
        )
    long = values.iloc[:, 0].to_frame("value").assign(series=table[config.series].astype(str).to_numpy())
    long = long.rename_axis("time").reset_index()
    repeated = long.duplicated(["time", "series"])
    if repeated.any() and config.duplicates == "refuse":
        first = long[repeated].iloc[0]
        raise InputError(
            f"{path.name}: {int(repeated.sum())} repeated times, first {first['time']} of {first['series']}; "
            "choose with --duplicates last or mean"
        )
    how = "mean" if config.duplicates == "mean" else "last"
    return long.pivot_table(index="time", columns="series", values="value", aggfunc=how, dropna=False)


def _without_duplicates(wide: Frame, path: Path, config: ReadConfig) -> Frame:
    repeated = wide.index.duplicated()
    if not repeated.any():
        return wide
    if config.duplicates == "refuse":
        raise InputError(
            f"{path.name}: {int(repeated.sum())} repeated times, first {wide.index[repeated][0]}; if clocks went back "
            "there, say the zone with --zone; else choose with --duplicates last or mean"
        )
    groups = wide.groupby(level=0)
    return groups.mean() if config.duplicates == "mean" else groups.last()


def _frequency(index: Times, path: Path) -> str:
    """The step of the grid all times lie on."""
    pandas = _pandas()
    if len(index) < 3:
        raise InputError(f"{path.name} has {len(index)} times; a step can be told from 3 or more")
    steps_s = np.diff(index.to_numpy().astype("datetime64[ns]").astype(np.int64)) / 1e9
    values, counts = np.unique(steps_s, return_counts=True)
    common_s = float(values[counts.argmax()])
    # Calendar steps first: three months of 31 days in a row would pass for a step of 31 days.
    for step in _CALENDAR if common_s >= 27 * 86400 else ():
        named = step.format(index[0].strftime("%b").upper())
        if index.isin(pandas.date_range(index[0], index[-1], freq=named)).all():
            return named
    offsets = (index.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9 - index[0].timestamp()) / common_s
    if np.allclose(offsets, np.round(offsets), atol=1e-6) and common_s == round(common_s):
        return f"{round(common_s)}s"
    raise InputError(
        f"{path.name}: times are not on an even grid; the commonest step is {common_s:g} s, others {values[:4].tolist()}; "
        "resample the file first"
    )


def _gapless(wide: Frame, times: np.ndarray | None, frequency: str, config: ReadConfig) -> Series:
    values_TC = wide.to_numpy(np.float64, copy=True)
    if np.isinf(values_TC).any():
        raise InputError("the file holds an infinite value; leave the cell empty where a value is missing")
    count = int(np.isnan(values_TC).sum())
    if count and config.gaps == "refuse":
        rows = np.isnan(values_TC).any(axis=1)
        first = int(rows.argmax())
        at = f"row {first + 1}" if times is None else str(times[first])[:19]
        raise InputError(
            f"{count} values in {int(rows.sum())} rows are missing, first at {at}; choose with --gaps linear or nan"
            + ("" if config.zone or times is None else " (or --zone, if clocks changed there)")
        )
    empty = [str(name) for name, gone in zip(wide.columns, np.isnan(values_TC).all(axis=0), strict=True) if gone]
    if empty:
        raise InputError(f"no value at all in {', '.join(empty)}; leave the column out with --values")
    if count and config.gaps == "linear":
        steps = np.arange(len(values_TC))
        for channel in values_TC.T:
            present = ~np.isnan(channel)
            channel[:] = np.interp(steps, steps[present], channel[present])
    names = tuple(map(str, wide.columns))
    return Series(values_TC=values_TC, names=names, times=times, frequency=frequency, zone=config.zone)

"""Files become one even grid, or are refused with the option that would settle it."""

from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.forecast.series import ReadConfig, read_ragged_rows, read_series, season_of

pandas = pytest.importorskip("pandas")


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(times: list[str], head: str = "time,a") -> str:
    return "\n".join([head, *(f"{time},{index}" for index, time in enumerate(times))]) + "\n"


HOURS = [f"2026-01-01 {hour:02}:00" for hour in range(6)]


def test_wide_csv_and_parquet_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "when,a,b\n2026-01-01 00:00,1,2\n2026-01-01 01:00,3,4\n2026-01-01 02:00,5,6\n")
    series = read_series(path)
    assert series.values_TC.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert (series.names, series.frequency) == (("a", "b"), "3600s")
    pytest.importorskip("pyarrow")
    pandas.read_csv(path).to_parquet(tmp_path / "a.parquet")
    assert np.array_equal(read_series(tmp_path / "a.parquet").values_TC, series.values_TC)


def test_long_files_are_turned_wide(tmp_path: Path) -> None:
    text = "day,shop,sold\n" + "".join(f"2026-01-0{day},{shop},{day}{shop}\n" for shop in (1, 2) for day in (1, 2, 3))
    series = read_series(write(tmp_path, text), ReadConfig(time="day", series="shop"))
    assert series.names == ("1", "2")
    assert series.values_TC.tolist() == [[11, 12], [21, 22], [31, 32]]
    with pytest.raises(InputError, match="repeated"):
        read_series(write(tmp_path, text + "2026-01-01,1,7\n"), ReadConfig(time="day", series="shop"))


@pytest.mark.parametrize(
    ("step", "frequency", "season"),
    [
        ("15min", "900s", 96),
        ("h", "3600s", 24),
        ("D", "86400s", 7),
        ("MS", "MS", 12),
        ("ME", "ME", 12),
        ("QS", "QS-JAN", 4),
        ("YS", "YS-JAN", 1),
    ],
)
def test_the_step_is_found_and_goes_on(tmp_path: Path, step: str, frequency: str, season: int) -> None:
    times = pandas.date_range("2020-01-31" if step == "ME" else "2020-01-01", periods=41, freq=step)
    series = read_series(write(tmp_path, rows([str(time) for time in times[:40]])))
    assert series.frequency == frequency
    assert season_of(series.frequency) == season
    assert series.future_times(1) == [times[40].isoformat(sep=" ")]


def test_gaps_are_refused_kept_or_filled(tmp_path: Path) -> None:
    path = write(tmp_path, rows(HOURS).replace(f"{HOURS[2]},2\n", ""))
    with pytest.raises(InputError, match=r"1 values in 1 rows are missing, first at 2026-01-01T02:00.*--gaps"):
        read_series(path)
    assert np.isnan(read_series(path, ReadConfig(gaps="nan")).values_TC[2, 0])
    assert read_series(path, ReadConfig(gaps="linear")).values_TC[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_duplicates_are_refused_or_settled(tmp_path: Path) -> None:
    path = write(tmp_path, rows([*HOURS[:3], *HOURS[2:]]))
    with pytest.raises(InputError, match=r"1 repeated times.*--zone.*--duplicates"):
        read_series(path)
    assert read_series(path, ReadConfig(duplicates="last")).values_TC[2, 0] == 3
    assert read_series(path, ReadConfig(duplicates="mean")).values_TC[2, 0] == 2.5


def test_clock_changes_of_a_named_zone_are_no_gap_and_no_duplicate(tmp_path: Path) -> None:
    for start in ("2026-03-28 20:00", "2026-10-24 20:00"):
        wall = pandas.date_range(start, periods=12, freq="h", tz="Europe/Berlin").tz_localize(None)
        path = write(tmp_path, rows([str(time) for time in wall]))
        series = read_series(path, ReadConfig(zone="Europe/Berlin"))
        assert series.values_TC[:, 0].tolist() == list(range(12))
        with pytest.raises(InputError, match="zone"):
            read_series(path)
    assert series.future_times(1)[0].endswith("+01:00")


def test_a_time_that_the_zone_does_not_have_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, rows(["2026-03-29 01:30", "2026-03-29 02:30", "2026-03-29 03:30"]))
    with pytest.raises(InputError, match="Europe/Berlin does not have"):
        read_series(path, ReadConfig(zone="Europe/Berlin"))


def test_an_hour_that_comes_twice_in_the_zone_and_once_in_the_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, rows(["2026-10-25 01:00", "2026-10-25 02:00", "2026-10-25 03:00"]))
    with pytest.raises(InputError, match="twice, the file once"):
        read_series(path, ReadConfig(zone="Europe/Berlin"))


def test_times_that_say_their_zone_need_no_option(tmp_path: Path) -> None:
    times = ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]
    assert read_series(write(tmp_path, rows(times))).values_TC[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="some times"):
        read_series(write(tmp_path, rows([*times, "2026-10-25T04:00:00"])), ReadConfig(time="time"))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([HOURS[0], HOURS[2], HOURS[1], HOURS[3]], "not in order"),
        ([HOURS[0], HOURS[1], "2026-01-01 01:17", HOURS[2], HOURS[3]], "even grid"),
        ([HOURS[0]], "3 or more"),
    ],
)
def test_uneven_times_are_refused(tmp_path: Path, times: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_series(write(tmp_path, rows(times)))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FormatError, "cannot be read"),
        ("a,b\n", FormatError, "no row"),
        ("time\n2026-01-01\n2026-01-02\n2026-01-03\n", FormatError, "no column of numbers"),
        ("a\n1\ninf\n", InputError, "infinite"),
        ("a,b\n1,\n2,\n3,\n", InputError, "missing"),
    ],
)
def test_files_without_series_are_refused(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_series(write(tmp_path, text))


def test_a_corrupt_file_and_a_missing_one_are_typed_errors(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match="cannot be read"):
        read_series(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="not a file"):
        read_series(tmp_path / "b.csv")
    with pytest.raises(InputError, match="no column 'when'"):
        read_series(write(tmp_path, rows(HOURS)), ReadConfig(time="when"))
    with pytest.raises(InputError, match="no column z"):
        read_series(write(tmp_path, rows(HOURS)), ReadConfig(values=("z",)))
    with pytest.raises(ConfigError):
        ReadConfig(gaps="guess")  # type: ignore[arg-type]


def test_rows_without_times_are_numbered(tmp_path: Path) -> None:
    series = read_series(write(tmp_path, "a\n1\n2\n3\n"))
    assert (series.frequency, series.future_times(2)) == ("row", ["3", "4"])


def test_ragged_rows(tmp_path: Path) -> None:
    path = write(tmp_path, '"V1","V2","V3"\n"H1","1","2"\n"H2","3",""\n')
    assert {name: values.tolist() for name, values in read_ragged_rows(path).items()} == {"H1": [1, 2], "H2": [3]}
    with pytest.raises(FormatError, match="comes twice"):
        read_ragged_rows(write(tmp_path, "h\nH1,1\nH1,2\n"))
    with pytest.raises(FormatError, match="line 2"):
        read_ragged_rows(write(tmp_path, "h\nH1,x\n"))

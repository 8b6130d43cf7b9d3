"""`fullduplex forecast` on small files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fullduplex.cli.main import main

pandas = pytest.importorskip("pandas")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    time = np.arange(400)
    table = pandas.DataFrame({
        "when": pandas.date_range("2026-01-01", periods=400, freq="h"),
        "load": 10 + np.sin(2 * np.pi * time / 24),
        "heat": np.cos(2 * np.pi * time / 24) + 0.01 * np.random.default_rng(0).standard_normal(400),
    })  # fmt: skip
    table.to_csv(tmp_path / "load.csv", index=False)
    return tmp_path / "load.csv"


def test_a_forecast_with_csv_and_picture(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    command = ["forecast", str(file), "--horizon", "24", "--models", "linear", "--out", str(tmp_path / "out")]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frequency"], found["season"], found["times"][0]) == ("3600s", 24, "2026-01-17 16:00:00")
    expected = 10 + np.sin(2 * np.pi * np.arange(400, 424) / 24)
    assert np.allclose(np.array(found["forecast"])[:, 0], expected, atol=0.05)
    assert np.all(np.array(found["lower"]) <= np.array(found["upper"]))
    with (tmp_path / "out" / "forecast.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 48
    assert float(rows[0]["forecast"]) == pytest.approx(found["forecast"][0][0], abs=1e-5)
    assert (tmp_path / "out" / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_a_backtest_writes_no_forecast_and_says_so(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", str(file), "--horizon", "12", "--backtest", "--out", str(tmp_path / "out")]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_backtest_prints_a_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(file), "--horizon", "12", "--backtest", "--models", "linear"]) == 0
    out = capsys.readouterr().out
    assert "seasonal-naive" in out
    assert "linear" in out
    assert "forecast by" not in out


def test_baselines_are_in_every_table_and_classical_models_where_installed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("statsforecast")
    command = ["forecast", str(file), "--horizon", "6", "--backtest", "--season", "1", "--json"]
    assert main(command) == 0
    rows = {row["model"]: row["windows"] for row in json.loads(capsys.readouterr().out)["backtest"]}
    assert rows == {
        "seasonal-naive": 75, "linear": 75, "auto-ets": 20, "auto-theta": 20, "linear, those 20": 20
    }  # fmt: skip
    assert main([*command, "--models", "auto-theta"]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)["backtest"]][:2] == ["seasonal-naive", "linear"]


def test_missing_values_are_forecast_through(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pandas.read_csv(file)
    whole = table["load"].copy()
    table.loc[7::9, "load"] = np.nan
    table.loc[380:384, "heat"] = np.nan
    table.to_csv(file, index=False)
    command = ["forecast", str(file), "--horizon", "24", "--models", "linear", "--json"]
    assert main(command) == 2
    assert "--gaps" in capsys.readouterr().err
    assert main([*command, "--gaps", "nan"]) == 0
    made = np.array(json.loads(capsys.readouterr().out)["forecast"])[:, 0]
    assert np.allclose(made, whole.to_numpy()[16:40], atol=0.1)  # the wave of a day goes on


def test_trained_models_train_from_the_command(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    command = ["forecast", str(file), "--horizon", "6", "--models", "timemixer,chimera", "--epochs", "1", "--json"]
    assert main([*command, "--run", str(tmp_path / "run")]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in first["backtest"]] == ["seasonal-naive", "linear", "timemixer", "chimera"]
    assert [row["mse_scaled_std"] for row in first["backtest"]] == [None] * 4
    assert main([*command, "--run", str(tmp_path / "run")]) == 0  # goes on where it ended: nothing is left to do
    assert json.loads(capsys.readouterr().out) == first


def test_the_table_says_how_far_seeds_differ(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    command = ["forecast", str(file), "--horizon", "6", "--models", "timemixer", "--epochs", "1", "--backtest"]
    command += ["--run", str(tmp_path / "run")]
    rows = []
    for seeds in ("0", "3", "0,3"):
        assert main([*command, "--seeds", seeds, "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out)["backtest"][2])
    one, other, both = (row["mse_scaled"] for row in rows)
    assert one != other and both == pytest.approx((one + other) / 2, abs=2e-6)
    assert rows[2]["mse_scaled_std"] == pytest.approx(abs(one - other) / 2**0.5, abs=2e-6)
    assert [row["seeds"] for row in rows] == [1, 1, 2]
    assert main([*command, "--seeds", "0"]) == 0
    assert "one seed" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--horizon", "6", "--seeds", "1,x"], "expected numbers such as"),
        (["--horizon", "6", "--seeds", "1,1"], "comes twice"),
        (["--horizon", "0"], "--horizon is 0"),
        (["--horizon", "200"], "less than half"),
        (["--horizon", "6", "--models", "oracle"], "no model 'oracle'"),
        (["--horizon", "6", "--split", "2"], "two shares"),
        (["--horizon", "6", "--split", "0.9,0.9"], "at most 1"),
        (["--horizon", "6", "--season", "0"], "--season is 0"),
        (["--horizon", "6", "--split", "ett-hourly"], "the split 14400"),
        (["--horizon", "6", "--values", "cold"], "no column cold"),
        (["--horizon", "6", "--context", "0"], "--context is 0"),
        (["--horizon", "1000"], "less than half"),
    ],
)
def test_mistakes_are_named(file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(file), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n1\n", "--horizon 2 of 1 rows"),
        ("when,a\n2026-01-01 00:00,1\n", "3 or more"),
        ("when,a\n2026-01-01 00:00,1\n2026-01-01 02:00,2\n2026-01-01 01:00,3\n", "not in order"),
        ("when,a\n2026-01-01 00:00,1\n2026-01-01 01:00,2\n2026-01-01 01:00,3\n2026-01-01 02:00,3\n", "--duplicates"),
        ("a\n1\n\n\n", "--horizon 2 of 1 rows"),
        ("a\n1\ninf\n3\n4\n5\n6\n", "infinite"),
        ("\x00\x01\x02", "a.csv"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert main(["forecast", str(tmp_path / "a.csv"), "--horizon", "2"]) == 2
    assert message in capsys.readouterr().err


def test_a_file_too_short_to_know_its_errors_has_an_interval_without_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.csv").write_text("a\n" + "".join(f"{value}\n" for value in (1, 2, 4, 3, 5, 6, 8, 7, 9, 11)))
    command = ["forecast", str(tmp_path / "short.csv"), "--horizon", "2", "--models", "seasonal-naive", "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert np.isfinite(found["forecast"]).all()
    assert found["lower"] == [[None], [None]]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["forecast", "--help"])
    assert "fullduplex forecast load.csv --horizon 24" in capsys.readouterr().out

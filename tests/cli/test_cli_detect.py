"""`fullduplex detect` and `fullduplex classify` on small files and on a stream."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from fullduplex.cli.main import main

pytest.importorskip("torch")
pandas = pytest.importorskip("pandas")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    time = np.arange(400)
    load = np.sin(2 * np.pi * time / 24) + 0.03 * np.random.default_rng(0).standard_normal(400)
    load[300] += 3
    table = pandas.DataFrame({
        "when": pandas.date_range("2026-01-01", periods=400, freq="h"), "load": load, "odd": (time == 300).astype(int)
    })  # fmt: skip
    table.to_csv(tmp_path / "load.csv", index=False)
    return tmp_path / "load.csv"


def test_a_file_with_scores_picture_and_measures(file: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib")
    command = [
        "detect",
        str(file),
        "--label",
        "odd",
        "--train",
        "200",
        "--updates",
        "40",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--json", "--save", str(tmp_path / "it.ckpt")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["learnt"], found["series"]) == (400, 200, ["load"])
    assert max(found["events"], key=lambda event: event["score"])["time"] == "2026-01-13 12:00:00"
    assert found["measures"]["best F1, row by row"] == 1
    assert found["measures"]["point-adjusted F1 of random scores"] < 1
    with (tmp_path / "out" / "scores.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 200 and rows[100]["time"] == "2026-01-13 12:00:00" and rows[100]["anomaly"] == "1"
    assert (tmp_path / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")
    # Kept and used again: the same detector; it now scores every row.
    assert main(["detect", str(file), "--values", "load", "--model", str(tmp_path / "it.ckpt")]) == 0
    assert "2026-01-13 12:00:00" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_a_stream_one_line_in_one_score_out(as_json: bool, capsys, monkeypatch) -> None:
    values = np.sin(np.arange(120) / 3)
    values[100] += 4
    lines = [
        "x,y",
        *(f"{value:.5f},{-value:.5f}" for value in values),
        "",
        "0.1,",
    ]  # names, rows, a gap, a missing value
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    assert main(["detect", "--follow", "--train", "60", "--updates", "30", *(["--json"] if as_json else [])]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 121
    scores = [json.loads(line)["score"] for line in out] if as_json else [float(line) for line in out]
    assert all(score is None or np.isnan(score) for score in scores[:60])
    assert int(np.argmax(scores[60:])) + 60 in (100, 101)
    assert np.isfinite(scores[120])
    if as_json:
        assert json.loads(out[100])["anomaly"] and not json.loads(out[70])["anomaly"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2", "1,x"], "line 2"),
        (["1,2", "1,2,3"], "row 1 has 3 values, the rows before 2"),
        (["1"] * 30 + ["1,2"], "were channels changed"),
        (["1"] * 30 + ["inf"], "infinite"),
        ([","] * 30, "no value in the rows"),
    ],
)
def test_a_bad_line_is_named(lines: list[str], message: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["detect", "--follow", "--train", "30", "--updates", "1"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give a file, or --follow"),
        (["{file}", "--follow"], "not both"),
        (["nowhere.csv"], "nowhere.csv is not a file"),
        (["{file}", "--train", "10"], "expected 30 or more"),
        (["{file}", "--train", "400"], "rows left to score"),
        (["{file}", "--threshold", "-1"], "--threshold is -1"),
        (["{file}", "--label", "load"], "other values than 0 and 1"),
        (["{file}", "--label", "none"], "no column 'none'"),
        (["{file}", "--model", "{file}"], "not a fullduplex archive"),
        (["{file}", "--updates", "0"], "--updates is 0"),
        (["--follow", "--train", "3"], "30 or more"),
    ],
)
def test_mistakes_of_detect_are_named(file: Path, options: list[str], message: str, capsys) -> None:
    assert main(["detect", *(option.format(file=file) for option in options)]) == 2
    assert message in capsys.readouterr().err


def draw_cases(path: Path, count: int, seed: int) -> None:
    """Two channels; in one class the second follows the first, in the other it is noise."""
    generator, lines = np.random.default_rng(seed), ["case,label,a,b"]
    for case in range(count):
        length, label = int(generator.integers(15, 25)), case % 2
        wave = np.sin(np.arange(length + 1) / 3 + generator.uniform(0, 6))
        pair = (wave[1:], wave[:-1] if label else generator.standard_normal(length) / 1.4)
        lines += [f"{case},{'calm' if label else 'wild'},{a:.4f},{b:.4f}" for a, b in zip(*pair, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def test_classes_are_learnt_kept_and_named(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib")
    draw_cases(tmp_path / "train.csv", 24, 0)
    draw_cases(tmp_path / "test.csv", 12, 1)
    options = ["--epochs", "20", "--width", "8", "--batch", "8", "--rate", "0.02"]
    assert (
        main(["classify", "--train", str(tmp_path / "train.csv"), *options, "--save", str(tmp_path / "it.ckpt")]) == 0
    )
    command = [
        "classify",
        str(tmp_path / "test.csv"),
        "--model",
        str(tmp_path / "it.ckpt"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] >= 0.9 and found["classes"] == ["calm", "wild"] and len(found["named"]) == 12
    with (tmp_path / "out" / "classes.csv").open(newline="") as lines:
        assert [row["class"] for row in csv.DictReader(lines)] == [row["class"] for row in found["named"]]
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("case,label,a\n1,x,1\n", [], "give --train FILE"),
        ("case,label,a\n1,x,1\n", ["--train", "{file}"], "1 classes"),
        ("case,a\n1,1\n", ["--train", "{file}"], "has no labels"),
        ("who,a\n1,1\n", ["--train", "{file}"], "no column 'case'"),
        ("case,label,a\n1,x,1\n1,y,2\n", ["--train", "{file}"], "2 classes"),
        ("case,label,a\n1,x,\n2,y,2\n", ["--train", "{file}"], "missing or infinite"),
        ("case,label,a\n1,x,1\n", ["--model", "nowhere"], "nowhere is not a file"),
    ],
)
def test_mistakes_of_classify_are_named(content: str, options: list[str], message: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "cases.csv").write_text(content)
    given = [option.format(file=tmp_path / "cases.csv") for option in options]
    assert main(["classify", str(tmp_path / "cases.csv"), *given]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["detect", "classify"])
def test_help_teaches(command: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"fullduplex {command} " in capsys.readouterr().out

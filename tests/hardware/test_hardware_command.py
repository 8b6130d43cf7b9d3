"""`fullduplex plan` as its user sees it."""

import json
from pathlib import Path

import pytest

from fullduplex.cli.main import main

HEADER = "arrived_at,num_prefill_tokens,num_decode_tokens\n"


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = main(["plan", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_serve_says_whether_they_fit(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = plan(capsys, "serve", "--model", "llama3-8b", "--sessions", "50", "--deadline", "80ms")
    assert (code, found["fits"]) == (0, True)
    capacity = found["capacity"]
    assert isinstance(capacity, dict)
    assert capacity["limited_by"] == "memory"
    code, found = plan(capsys, "serve", "--model", "llama3-8b", "--sessions", "5000")
    assert (code, found["fits"]) == (1, False)
    assert main(["plan", "serve", "--model", "mamba2-2.7b", "--deadline", "8ms", "--sessions", "9"]) == 0
    text = capsys.readouterr().out
    assert "limited by deadline" in text and "9 sessions fit" in text


def test_sweep_draws_and_goes_on_where_nothing_fits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    png = tmp_path / "capacity.png"
    arguments = ("--model", "mixtral,mamba2-130m", "--device", "gpu,duplex", "--minutes", "1,10", "--png", str(png))
    code, found = plan(capsys, "sweep", *arguments)
    sessions = found["sessions"]
    assert isinstance(sessions, dict)
    assert code == 0 and sessions["mixtral on gpu"] == [0, 0]
    assert sessions["mamba2-130m on gpu"][0] == sessions["mamba2-130m on gpu"][1] > 1000
    assert png.read_bytes().startswith(b"\x89PNG")
    assert main(["plan", "sweep", "--minutes", "1", "--model", "mixtral,llama3-8b"]) == 0
    assert "llama3-8b on gpu" in capsys.readouterr().out


def test_figure_11_is_the_papers_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    code, found = plan(capsys, "figure", "11", "--out", str(tmp_path), "--sensitivity")
    rows, swept = found["claims"], found["sensitivity"]
    assert isinstance(rows, list) and isinstance(swept, dict)
    assert code == 0 and len(rows) == 10 and len(swept) == 4
    assert all(abs(row["here"] / row["paper"] - 1) < 0.06 for row in rows)
    assert (tmp_path / "duplex_11.png").stat().st_size > 10_000
    assert main(["plan", "figure", "11", "--out", str(tmp_path), "--hop-us", "4"]) == 0
    assert "4 us a hop" in capsys.readouterr().out


def test_stage_parts_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = plan(capsys, "stage", "--model", "mixtral", "--device", "duplex", "--devices", "4", "--prompts", "1")
    parts = found["parts_s"]
    assert isinstance(parts, dict)
    assert code == 0 and sum(parts.values()) == pytest.approx(found["seconds"])
    assert main(["plan", "stage"]) == 0
    assert "J of DRAM reads" in capsys.readouterr().out


def test_list_shows_presets_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[device.board]\nflops_per_s = 1e13\nbytes_per_s = 2e11\ncapacity_bytes = 8e9\nsource = 'sheet'\n")
    code, found = plan(capsys, "list", "--presets", str(file))
    devices = found["device"]
    assert isinstance(devices, dict)
    assert code == 0 and "board" in devices
    assert main(["plan", "list", "--presets", str(file)]) == 0
    assert "board" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("serve", "--model", "lama3-8b"), "did you mean 'llama3-8b'"), (("serve", "--devices", "0"), "num_devices"),
     (("serve", "--model", "grok1"), "do not fit"), (("serve", "--sessions", "0"), "sessions"),
     (("stage", "--efficiency", "2"), "dram_efficiency"), (("sweep", "--miss-rate", "1"), "miss_rate")],
)  # fmt: skip
def test_mistakes_are_named(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str) -> None:
    assert main(["plan", *arguments]) == 2
    assert named in capsys.readouterr().err


def test_a_time_without_a_unit_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "serve", "--deadline", "80 parsec"])
    assert "such as 80ms" in capsys.readouterr().err


def test_simulate_draws_requests_and_reads_traces(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = plan(capsys, "simulate", "--requests", "40", "--rate", "5", "--answer", "30", "--batch", "8")
    waits = found["p50_p90_p99_s"]
    assert isinstance(waits, dict)
    assert code == 0 and found["requests"] == 40
    for quantiles in waits.values():
        assert 0 < quantiles[0] <= quantiles[1] <= quantiles[2]
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n2.0,100,3\n0.5,50,1\n")
    code, found = plan(capsys, "simulate", "--trace", str(trace))
    seconds = found["seconds"]
    assert code == 0 and found["requests"] == 2 and isinstance(seconds, float) and seconds > 2
    assert main(["plan", "simulate", "--requests", "20", "--answer", "5", "--batch", "4"]) == 0
    assert "a full batch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("arrived_at,tokens\n1,2\n", "num_prefill_tokens"),
        (HEADER + "1,x,2\n", "numbers"),
        (HEADER + "1,nan,2\n", "finite"),
        (HEADER + "1,2\n", "numbers"),
        (HEADER, "no requests"),
    ],
)
def test_a_broken_trace_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, named: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    assert main(["plan", "simulate", "--trace", str(trace)]) == 2
    assert named in capsys.readouterr().err
    assert main(["plan", "simulate", "--trace", str(tmp_path / "none.csv")]) == 2

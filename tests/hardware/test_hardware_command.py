"""`fullduplex plan` as its user sees it."""

import json
from pathlib import Path

import pytest

from fullduplex.cli.main import main
from fullduplex.hardware.reproduce import influence

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


def test_the_table_holds_every_number_of_the_paper_within_its_tolerance(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One command, two calibrated constants from a file: throughput within 6 %, latency and energy within 6 points."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    config = tmp_path / "mine.toml"
    config.write_text("dram_efficiency = 0.75\nhop_s = 5e-6\n")
    code, found = plan(capsys, "figure", "table", "--out", str(tmp_path), "--config", str(config))
    rows = found["rows"]
    assert isinstance(rows, list) and isinstance(found["unknowns"], dict)
    assert code == 0 and found["unknowns"]["dram_efficiency"] == 0.75
    kinds = [row["kind"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "throughput": 10, "latency": 6, "saturation": 4, "energy": 4, "capacity": 2, "edap": 4,
    }  # fmt: skip
    for row in rows:
        if row["kind"] == "throughput":
            assert abs(row["here"] / row["paper"] - 1) < 0.06, row["name"]
        if row["kind"] in ("latency", "energy"):
            assert abs(row["here"] - row["paper"]) < 6, row["name"]
        if row["kind"] == "saturation":
            assert abs(row["here"] / row["paper"] - 1) < 0.15, row["name"]
    assert (tmp_path / "duplex_11.png").stat().st_size > 10_000


def test_other_constants_miss_and_the_exit_status_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    config = tmp_path / "peak.toml"
    config.write_text("dram_efficiency = 1.0\nhop_s = 8e-7\nspaces = false\n")
    assert main(["plan", "figure", "11", "--out", str(tmp_path), "--config", str(config)]) == 1
    text = capsys.readouterr().out
    assert "0.8 us a hop" in text and " NO" in text


def test_every_unknown_is_swept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    few = {"dram_efficiency": (0.75, 0.9), "hop_s": (5e-6,), "spread": (0.5,), "zipf": (1.0,), "spaces": (True,)}
    assert few.keys() == influence.SWEPT.keys()
    monkeypatch.setattr(influence, "SWEPT", few)
    code, found = plan(capsys, "figure", "11", "--sensitivity", "--out", str(tmp_path))
    swept, rows = found["sensitivity"], found["rows"]
    assert isinstance(swept, dict) and isinstance(rows, list) and code == 0
    assert swept["hop_s"]["5e-06"] == [row["here"] for row in rows]
    assert swept["dram_efficiency"]["0.9"][0] < rows[0]["here"]  # what memory does not hold up, units there cannot save
    assert swept["zipf"]["1"][3] > rows[3]["here"]  # skewed experts: co-processing gains more
    assert (tmp_path / "duplex_sensitivity.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "named"),
    [("hop = 1e-6\n", "hop_s"), ("dram_efficiency = 1.5\n", "dram_efficiency"), ("hop_s = -1e-6\n", "hop_s"),
     ("spread = -0.1\n", "spread"), ("zipf = nan\n", "zipf"), ("[silicon]\nbank_area = 0\n", "bank_area"),
     ("hop_s =", "TOML")],
)  # fmt: skip
def test_a_wrong_constant_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, named: str) -> None:
    pytest.importorskip("tqdm")
    config = tmp_path / "wrong.toml"
    config.write_text(text)
    assert main(["plan", "figure", "11", "--out", str(tmp_path), "--config", str(config)]) == 2
    assert named in capsys.readouterr().err
    assert main(["plan", "figure", "8", "--out", str(tmp_path), "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_figure_8_prints_the_cells_and_the_crossing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, found = plan(capsys, "figure", "8", "--out", str(tmp_path))
    crossing = found["crossing_ops_per_byte"]
    assert code == 0 and isinstance(crossing, float) and 4 < crossing < 8
    assert (tmp_path / "duplex_8.png").stat().st_size > 5_000
    assert main(["plan", "figure", "8", "--out", str(tmp_path)]) == 0
    assert "17.81 mm2, 14.7% of the logic die" in capsys.readouterr().out


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
    [(("serve", "--model", "lama3-8b"), "did you mean 'llama3-8b'"), (("serve", "--model", "grok1"), "do not fit"),
     (("stage", "--devices", "12"), "num_devices"), (("stage", "--hop-us", "nan"), "hop_s"),
     (("serve", "--deadline", "0ms"), "deadline_s"), (("serve", "--interruptions", "1e9"), "interruptions_per_min"),
     (("simulate", "--rate", "0"), "--rate"), (("simulate", "--skew", "-1"), "--skew"),
     (("simulate", "--spread", "nan"), "spread"), (("simulate", "--correlation", "1"), "correlation"),
     (("simulate", "--prompt", "100000000"), "do not fit"), (("replay", "none.jsonl"), "No such file"),
     (("sweep", "--png", "/dev/null/a.png"), "cannot be written"), (("sweep", "--ray", "nonsense"), "HOST:PORT"),
     (("figure", "8", "--out", "/dev/null/a"), "cannot be written"),
     (("calibrate", "--out", "/dev/null/a.toml"), "cannot be written"),
     (("stage", "--efficiency", "2"), "dram_efficiency"), (("sweep", "--miss-rate", "1"), "miss_rate")],
)  # fmt: skip
def test_mistakes_are_named(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str) -> None:
    assert main(["plan", *arguments]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("serve", "--deadline", "80 parsec"), "such as 80ms"), (("serve", "--deadline", "1.2.3s"), "such as 80ms"),
     (("sweep", "--minutes", "1,x"), "such as 1,10,60"), (("sweep", "--minutes", "nan"), "such as 1,10,60"),
     (("sweep", "--minutes", ""), "such as 1,10,60"), (("serve", "--sessions", "0"), "at least 1"),
     (("serve", "--devices", "0"), "at least 1"), (("stage", "--batch", "-1"), "at least 0"),
     (("stage", "--prompt", "0"), "at least 1"), (("simulate", "--seed", "-1"), "at least 0"),
     (("simulate", "--answer", "0"), "at least 1"), (("simulate", "--batch", "x"), "at least 1"),
     (("calibrate", "--repeats", "0"), "at least 1"), (("figure", "12"), "invalid choice")],
)  # fmt: skip
def test_an_option_that_cannot_be_read_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *arguments])
    assert stopped.value.code == 2
    text = capsys.readouterr().err
    assert named in text and "argument" in text


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


def test_layouts_of_the_paper_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Section VIII: prompts apart cut the tail; memory apart lowers the median and pays with tail and first token."""
    asked = ("simulate", "--model", "mixtral", "--devices", "4", "--batch", "32", "--requests", "200")
    found = {}
    for name in ("gpu", "2xgpu", "hetero", "duplex-split"):
        code, run = plan(capsys, *asked, "--device", name)
        waits = run["p50_p90_p99_s"]
        assert code == 0 and isinstance(waits, dict)
        found[name] = run["tokens_per_s"], waits["first token"], waits["between tokens"]
    assert found["2xgpu"][0] > 1.1 * found["gpu"][0]
    assert found["hetero"][2][0] < found["gpu"][2][0] and found["hetero"][2][2] > 3 * found["gpu"][2][2]
    assert found["hetero"][1][0] > 3 * found["gpu"][1][0]
    assert found["duplex-split"][2][2] < 0.6 * found["gpu"][2][2]
    code, stage = plan(
        capsys, "stage", "--model", "mixtral", "--device", "duplex-split", "--devices", "4", "--prompts", "1"
    )
    assert code == 0 and set(stage) == {"prompts", "answers"}
    code, room = plan(
        capsys, "sweep", "--model", "mixtral", "--device", "gpu,hetero", "--devices", "4", "--minutes", "1"
    )
    sessions = room["sessions"]
    assert code == 0 and isinstance(sessions, dict) and sessions["mixtral on hetero"][0] > 0
    assert main(["plan", "list"]) == 0
    assert "duplex-split" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("simulate", "--device", "hetero"), "--devices is 1"), (("serve", "--device", "duplex-split", "--devices", "3"), "even"),
     (("serve", "--device", "duplex-split", "--devices", "4"), "plan simulate"), (("stage", "--device", "hetro"), "'hetero'"),
     (("simulate", "--device", "duplex-split", "--devices", "2", "--chunk", "64"), "chunk"),
     (("stage", "--device", "hetero", "--devices", "4", "--co-processing", "spaces"), "co_processing")],
)  # fmt: skip
def test_layouts_that_cannot_be_are_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    assert main(["plan", *arguments]) == 2
    assert named in capsys.readouterr().err


def test_overload_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("simulate", "--requests", "300", "--prompt", "2000", "--answer", "20", "--batch", "8")
    assert plan(capsys, *asked, "--rate", "200")[1]["overload"] is True
    assert plan(capsys, *asked, "--rate", "2")[1]["overload"] is False
    assert main(["plan", *asked, "--rate", "200"]) == 0
    assert "OVERLOAD" in capsys.readouterr().out


def test_rows_of_a_trace_may_come_in_any_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"{0.3 * number},{50 + 7 * number},{number % 5 + 1}\n" for number in range(30)]
    found = []
    for name, lines in (("a.csv", rows), ("b.csv", rows[::-1])):
        (tmp_path / name).write_text(HEADER + "".join(lines))
        found.append(plan(capsys, "simulate", "--trace", str(tmp_path / name)))
    assert found[0] == found[1]


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

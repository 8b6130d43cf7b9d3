"""`fullduplex scaling` on anybody's runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullduplex.cli.main import main


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    """Runs as a language model's log has them: other column names, parameters and tokens both varied."""
    rng, lines = np.random.default_rng(0), ["params,tokens,val_loss,size"]
    for n in np.geomspace(1e6, 1e8, 6):
        for d in np.geomspace(2e7, 2e10, 4):
            loss = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(0.003 * rng.standard_normal())
            lines.append(f"{n:.6g},{d:.6g},{loss:.6g},{'big' if n > 1e7 else 'small'}")
    path = tmp_path / "sweep.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_law_of_a_language_model(language_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    command = ["scaling", "fit", str(language_model), "--columns", "n=params,loss=val_loss", "--where", "tokens=2e10"]
    assert main([*command, "--png", str(tmp_path / "law.png"), "--json", "--copies", "60"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["law"], found["chosen"]) == (6, True, "power")  # six points cannot tell a floor
    assert found["a_interval"][0] < found["a"] < found["a_interval"][1]
    assert (tmp_path / "law.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--copies", "60", "--form", "offset"]) == 0
    assert "<- law" in capsys.readouterr().out


def test_planning(language_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["scaling", "plan", str(language_model), "--columns", "n=params,loss=val_loss", "--copies", "60", "--json"]
    assert main([*plan, "--compute", "1e18"]) == 0
    found = json.loads(capsys.readouterr().out)
    # The published law's own optimum at this budget, by its formula: 81 million parameters.
    assert found["parameters"][0] == pytest.approx(8.1e7, rel=0.1)
    assert 6 * found["parameters"][0] * found["tokens"][0] == pytest.approx(1e18, rel=1e-6)
    assert main([*plan, "--where", "tokens=2e10", "--at", "1e9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] < found["value"] < found["high"]
    assert found["times_beyond_runs"] == pytest.approx(10)
    assert main([*plan, "--where", "tokens=2e10", "--reach", str(found["value"])]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(1e9, rel=1e-6)


def test_no_law_is_an_error_that_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    rows = "".join(
        f"{n:g},{value:.4f}\n" for n, value in zip(np.geomspace(1e3, 1e6, 8), 2 + 0.1 * rng.random(8), strict=True)
    )
    (tmp_path / "flat.csv").write_text("n,loss\n" + rows)
    assert main(["scaling", "fit", str(tmp_path / "flat.csv"), "--json"]) == 2
    streams = capsys.readouterr()
    assert "do not surely fall" in streams.err
    assert json.loads(streams.out)["law"] is False


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "no row"),
        ("n,loss\n1\n", [], "numbers of cells"),
        ("n,loss\n1,2\n2,x\n3,1\n4,1\n", [], "expected a number"),
        ("n,loss\n1,2\n", ["--x", "size"], "no column 'size'"),
        ("n,loss\n1,2\n", ["--columns", "n=params"], "no column 'params'"),
        ("n,loss\n1,2\n", ["--columns", "n"], "expected OURS=THEIRS"),
        ("n,loss\n1,2\n", ["--where", "n=7"], "no row with n=7"),
        ("n,loss\n1,2\n", ["--where", "n"], "expected column=value"),
        ("n,loss\n1e3,3\n1e4,2\n1e5,1\n", [], "needs 4 or more"),
        ("n,loss,tokens,c\n" + "".join(f"1e{k},{9 - k},1e6,6e{k + 3}\n" for k in range(3, 8)), [], "1,000 times below"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, text: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs.csv").write_text(text)
    assert main(["scaling", "fit", str(tmp_path / "runs.csv"), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_raw_likelihood_is_warned_about_and_last_rows_are_the_last_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"r{k},{step},{10**k},{5 * 10 ** (-0.1 * k) + 1 / step}" for k in range(3, 9) for step in (10, 20)]
    (tmp_path / "runs.csv").write_text("run,step,n,test_nll\n" + "\n".join(rows) + "\n")
    command = ["scaling", "fit", str(tmp_path / "runs.csv"), "--loss", "test_nll", "--last", "--json", "--copies", "40"]
    assert main(command) == 0
    streams = capsys.readouterr()
    assert "nats" in streams.err
    assert json.loads(streams.out)["points"] == 6
    assert main([*command, "--nats"]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert json.loads(streams.out)["a"] == pytest.approx(0.1, abs=1e-3)


def test_a_study_from_the_command_feeds_the_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pandas = pytest.importorskip("pandas")
    time = np.arange(700)
    pandas.DataFrame({"a": np.sin(time / 4), "b": time % 24}).to_csv(tmp_path / "own.csv", index=False)
    study = ["scaling", "study", "--out", str(tmp_path / "s"), "--steps", "8", "--sizes", "8x1,16x1", "--fixed", "8x1"]
    study += [
        "--points",
        "3e3",
        "--seeds",
        "1",
        "--data",
        str(tmp_path / "own.csv"),
        "--test",
        f"own={tmp_path / 'own.csv'}",
    ]
    assert main([*study, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["tests"]["own"]) == (4, 4)
    head = Path(found["table"]).read_text().splitlines()[0]
    assert head.startswith("run,kind,seed,n,n_total,d,step,tokens,c,id_nll")
    assert main(["scaling", "fit", found["table"], "--loss", "own_crps"]) == 2  # two sizes are no law
    assert "different sizes" in capsys.readouterr().err
    assert main([*study[:-1], "own"]) == 2
    assert "NAME=FILE" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["fit", "plan", "study"])
def test_help_teaches(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scaling", job, "--help"])
    assert f"fullduplex scaling {job} " in capsys.readouterr().out

"""`fullduplex ssm train`, `inspect` and `ptd`."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullduplex.cli.main import main

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

TRAIN = ("train", "--layer", "s5", "--task", "recall", "--width", "8", "--order", "4", "--depth", "1", "--batch", "8")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_CACHE", str(tmp_path / "cache"))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ssm", *arguments]) == 0
    return capsys.readouterr().out


def test_train_stops_resumes_and_ends_where_it_would_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from fullduplex.ssm.tasks import run as module

    whole, halves = tmp_path / "whole", tmp_path / "halves"
    figures = json.loads(asked(capsys, *TRAIN, "--steps", "6", "--checkpoint", "3", "--out", str(whole), "--json"))
    assert 0 <= figures["test"] <= 1
    assert {path.name for path in whole.iterdir()} == {
        "settings.json", "model.json", "model.ckpt", "curve.csv", "curve.png", "result.json",
    }  # fmt: skip

    def stop(file: Path, point: module.Point) -> None:
        if point.step == 5:
            raise KeyboardInterrupt
        kept(file, point)

    kept = module.write_point
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_point", stop)
        halves_options = ("--steps", "6", "--checkpoint", "3", "--out", str(halves))
        assert main(["ssm", *TRAIN, *halves_options]) == 130
    out = asked(capsys, *TRAIN, *halves_options, "--resume")
    assert "on the test set" in out
    assert len((halves / "curve.csv").read_text().splitlines()) == 4 + 3  # the fourth step was made twice
    one, other = (module.load_run(folder).state_dict() for folder in (whole, halves))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (halves / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_a_run_and_a_fresh_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, picture = tmp_path / "run", tmp_path / "layer.png"
    asked(capsys, *TRAIN, "--steps", "2", "--out", str(run))
    assert "nine tenths" in asked(capsys, "inspect", "--run", str(run), "--out", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    for layer in ("s4", "s4-legt", "s4d-legs", "s4-ptd", "s5-ptd"):
        options = ("--layer", layer, "--width", "4", "--order", "8", "--delta", "0.01", "0.01", "--length", "300")
        found = json.loads(asked(capsys, "inspect", *options, "--out", str(picture), "--json"))
        assert 0.9 < found["largest_turn"] < 1
        # A window of 100 samples holds nine tenths of its energy within itself.
        assert layer != "s4-legt" or found["reach_samples"][1] <= 102


def test_ptd_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = -np.eye(5) + np.diag(np.ones(4), 1)
    file, picture = tmp_path / "jordan.npy", tmp_path / "ptd.png"
    np.save(file, matrix)
    found = json.loads(asked(capsys, "ptd", str(file), "--steps", "100", "--plot", str(picture), "--json"))
    assert found["condition"] < 100
    assert found["abscissa"] <= 0
    with np.load(tmp_path / "jordan.ptd.npz") as kept:
        tone, flat = 1j * found["moved_at"] * np.eye(5), np.full(5, 5**-0.5)
        gap = np.linalg.solve(tone - matrix - kept["e"], flat) - np.linalg.solve(tone - matrix, flat)
    assert found["moved"] == pytest.approx(np.linalg.norm(gap), rel=1e-9)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "jordan.ptd.npz") as kept:
        rebuilt = (kept["v"] * kept["values"]) @ kept["inverse"]
        np.testing.assert_allclose(rebuilt, matrix + kept["e"], atol=1e-12)
    assert "condition of the eigenvectors" in asked(capsys, "ptd", str(file), "--steps", "100")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ptd", "none.npy"), "none.npy"),
        (("ptd", "grows.npy"), "real part"),
        (("ptd", "grows.npy", "--abscissa", "low"), "--abscissa"),
        (("ptd", "flat.npy"), "square"),
        (("ptd", "text.npy"), "text.npy"),
        (("ptd", "grows.npy", "--size", "0"), "size"),
        ((*TRAIN, "--steps", "1", "--out", "run", "--threads", "0"), "--threads"),
        ((*TRAIN, "--steps", "-1", "--out", "run"), "num_steps"),
        ((*TRAIN, "--steps", "1", "--out", "run", "--delta", "0", "1"), "steps"),
        (("train", "--layer", "s4", "--task", "keywords", "--out", "run"), "folder of files"),
        (("inspect", "--run", "nowhere"), "nowhere"),
        (("inspect", "--layer", "s4", "--length", "1"), "length"),
    ],
)
def test_mistakes_are_named(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("grows.npy", np.diag([1.0, -1.0]))
    np.save("flat.npy", np.ones((2, 3)))
    Path("text.npy").write_text("no matrix")
    assert main(["ssm", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_keeps_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    asked(capsys, *TRAIN, "--steps", "1", "--out", run)
    assert main(["ssm", *TRAIN, "--steps", "1", "--out", run]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["ssm", *TRAIN, "--steps", "1", "--seed", "3", "--out", run, "--resume"]) == 2
    assert "seed 0 (now 3)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("train",), ("ptd",), ("inspect",), ("train", "--layer", "s6")])
def test_bad_usage_exits_with_two(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["ssm", *arguments])
    assert left.value.code == 2


@pytest.mark.parametrize("job", ["memory", "train", "inspect", "ptd", "bench"])
def test_every_job_explains_itself(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["ssm", job, "--help"])
    assert left.value.code == 0
    assert len(capsys.readouterr().out) > 500


def test_the_names_of_the_command_are_those_of_the_library() -> None:
    from fullduplex.cli.ssm import command
    from fullduplex.ssm.layers import LAYERS
    from fullduplex.ssm.tasks.table import TASKS

    assert tuple(LAYERS) == command._LAYERS  # pyright: ignore[reportPrivateUsage]
    assert tuple(TASKS) == command._TASKS  # pyright: ignore[reportPrivateUsage]

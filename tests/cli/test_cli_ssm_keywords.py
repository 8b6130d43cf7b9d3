"""`fullduplex ssm keywords` and `rate`."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from fullduplex.assets import store
from fullduplex.cli.main import main

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

RUN = ("--width", "4", "--order", "4", "--depth", "1", "--batch", "4", "--steps", "2", "--json")


def write(file: Path, pitch_hz: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes((8000 * np.sin(2 * np.pi * pitch_hz * np.arange(800) / 16_000)).astype("<i2").tobytes())


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    data = tmp_path / "words"
    for part in ("train", "val", "test", "others/test"):
        for word, pitch_hz in (("no", 200.0), ("yes", 900.0)):
            for number in range(2):
                write(data / part / word / f"{number}.wav", pitch_hz + number)
    return data


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["ssm", *arguments]) == 0
    return capsys.readouterr().out


def test_a_run_is_read_at_half_the_rate(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fullduplex.ssm.tasks.fit import score
    from fullduplex.ssm.tasks.keywords import read_keywords
    from fullduplex.ssm.tasks.run import load_run

    run, data = str(tmp_path / "run"), str(recordings)
    trained = json.loads(
        asked(capsys, "train", "--layer", "s4d-lin", "--task", "keywords", "--data", data, "--out", run, *RUN)
    )
    found = json.loads(asked(capsys, "rate", run, "--data", data, "--json"))
    assert (found["rate_hz"], found["new_rate_hz"], found["chance"]) == (16_000, 8_000, 0.5)
    assert found["same_rate"] == trained["test"] == score(load_run(Path(run)), read_keywords(recordings).test, "class")
    assert all(0 <= found[name] <= 1 for name in ("stretched", "unchanged", "other_speakers"))
    # At the rate of the recordings itself nothing is stretched.
    same = json.loads(asked(capsys, "rate", run, "--data", data, "--to", "16000", "--json"))
    assert same["stretched"] == same["unchanged"] == same["same_rate"]
    told = asked(capsys, "rate", run, "--data", data)
    assert "with steps stretched" in told
    assert "other speakers" in told


def test_recordings_are_as_long_as_asked_for(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fullduplex.ssm.tasks.fit import score
    from fullduplex.ssm.tasks.keywords import read_keywords
    from fullduplex.ssm.tasks.run import load_run

    run, data = str(tmp_path / "run"), str(recordings)
    order = (
        "train",
        "--layer",
        "s4d-lin",
        "--task",
        "keywords",
        "--data",
        data,
        "--out",
        run,
        "--samples",
        "300",
        *RUN,
    )
    trained = json.loads(asked(capsys, *order))
    short = read_keywords(recordings, num_samples=300)
    assert short.test.x.shape == (4, 300, 1)
    assert json.loads(asked(capsys, "rate", run, "--data", data, "--json"))["same_rate"] == trained["test"]
    assert trained["test"] == score(load_run(Path(run)), short.test, "class")
    assert main(["ssm", *order, "--samples", "400", "--resume"]) == 2
    assert "num_samples 300 (now 400)" in capsys.readouterr().err


def test_mamba_has_no_step_to_stretch(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = str(tmp_path / "run"), str(recordings)
    asked(capsys, "train", "--layer", "mamba", "--task", "keywords", "--data", data, "--out", run, *RUN)
    assert json.loads(asked(capsys, "rate", run, "--data", data, "--json"))["stretched"] is None
    assert "nothing to stretch" in asked(capsys, "rate", run, "--data", data)


def test_mistakes_are_named(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other, data = str(tmp_path / "run"), str(tmp_path / "other"), str(recordings)
    asked(capsys, "train", "--layer", "s5", "--task", "keywords", "--data", data, "--out", run, *RUN)
    asked(capsys, "train", "--layer", "s5", "--task", "recall", "--out", other, *RUN)
    (tmp_path / "empty").mkdir()
    for folder, where, to, says in (
        (other, data, "8000", "'recall'"),
        (run, str(tmp_path / "empty"), "8000", "words under train"),
        (run, data, "0", "other rate"),
        (str(tmp_path / "empty"), data, "8000", "settings.json"),
    ):
        assert main(["ssm", "rate", folder, "--data", where, "--to", to]) == 2
        assert says in capsys.readouterr().err
    write(recordings / "train" / "perhaps" / "0.wav", 400)
    assert main(["ssm", "rate", run, "--data", data]) == 2
    assert "its own recordings" in capsys.readouterr().err
    assert main(["ssm", "keywords", data, "--renditions", "0", "1", "1"]) == 2
    assert "renditions" in capsys.readouterr().err


def test_the_voice_says_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("soundfile")
    for name in ("piper-joe", "english-lexicon"):
        if store.find(name) is None:
            pytest.skip(f"the asset {name} is not installed: fullduplex assets get {name}")
    out = tmp_path / "words"
    found = json.loads(asked(capsys, "keywords", str(out), "--renditions", "1", "1", "1", "--seed", "3", "--json"))
    assert len(found["words"]) == 7
    assert found["seed"] == 3
    assert sorted(path.name for path in (out / "val").iterdir()) == found["words"]
    assert "next: fullduplex ssm train" in asked(capsys, "keywords", str(out), "--renditions", "1", "1", "1")

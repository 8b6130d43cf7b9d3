"""`fullduplex ssm`."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.cli.ssm.command import main

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("matplotlib")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    time_s = np.arange(16_000) / 16_000
    tone = np.where((time_s > 0.4) & (time_s < 0.6), 0.5 * np.sin(2 * np.pi * 300 * time_s), 0)
    soundfile.write(tmp_path / "tone.wav", tone, 16_000)
    return tmp_path / "tone.wav"


def test_memory_draws_and_reports(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "memory.png"
    assert main(["memory", str(sound), "--out", str(picture), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert figures["kind"] == "legt"
    assert 0.4 < figures["at_s"] <= 0.61
    assert figures["error"] < 0.05


def test_a_fading_memory_at_a_moment(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--kind", "legs", "--order", "64", "--at", "0.5", "--out", str(tmp_path / "memory.png")]
    assert main(["memory", str(sound), *options]) == 0
    assert "asked at 0.5 s" in capsys.readouterr().out


def test_bad_input_is_refused(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        main(["memory", str(tmp_path / "nothing.wav")])
    for options in (
        ["--span", "0"],
        ["--at", "9"],
        ["--at", "0"],
        ["--order", "0"],
        ["--kind", "fout", "--order", "7"],
    ):
        with pytest.raises(InputError):
            main(["memory", str(sound), *options, "--out", str(tmp_path / "memory.png")])
    with pytest.raises(SystemExit):
        main([])

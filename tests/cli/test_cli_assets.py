"""`fullduplex assets`."""

import json
from pathlib import Path

import pytest

from fullduplex.cli.assets import main


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "store"))
    monkeypatch.setenv("FULLDUPLEX_MIRROR", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "store"


def test_list_shows_sizes_and_the_default_sum(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "silero-vad *" in out
    assert "to download" in out


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["default_download_bytes"] < 400e6
    assert all(asset["path"] is None for asset in document["assets"])


def test_path_of_what_is_missing_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["path", "silero-vad"]) == 1
    assert "run: fullduplex assets get silero-vad" in capsys.readouterr().err


def test_verify_reports_damage_in_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "silero-vad"]) == 1
    assert "fullduplex assets get --check silero-vad" in capsys.readouterr().err
    assert main(["verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_get_offline_fails_with_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "--quiet", "telephone-dialogue"]) == 1
    error = capsys.readouterr().err
    assert "pyannote-audio==4.0.7" in error
    assert "FULLDUPLEX_MIRROR" in error


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "silero-vda"]) == 1
    assert "did you mean 'silero-vad'" in capsys.readouterr().err


def test_help_speaks_of_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "FULLDUPLEX_MIRROR" in capsys.readouterr().out

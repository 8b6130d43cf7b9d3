"""`fullduplex serve` and `talk` before any model is opened: a taken address, a brain that is not there."""

import socket
from pathlib import Path

import pytest

from fullduplex.cli import serve as command
from fullduplex.cli.main import main

pytest.importorskip("aiohttp")


@pytest.mark.parametrize("name", ["serve", "talk"])
def test_a_taken_port_is_said_before_the_models_are_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([name, "--port", str(port), "--brain", "scripted"]) == 2
    told = capsys.readouterr()
    assert f"port {port}" in told.err and "--port" in told.err and "opening the models" not in told.out


@pytest.mark.parametrize(("answer", "asked_for"), [("n", []), ("y", ["qwen2.5-coder-0.5b-instruct"])])
def test_talk_offers_to_get_the_brain_that_was_named(
    answer: str, asked_for: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path))
    questions: list[str] = []
    fetched: list[str] = []

    def reply(question: str) -> str:
        questions.append(question)
        return answer

    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(command.fetch, "get", lambda names, report: fetched.extend(names))
    monkeypatch.setattr(command, "_serve", lambda arguments, open_page: 0 if arguments.brain == "good" else 1)
    assert main(["talk", "--brain", "good"]) == 0
    assert len(questions) == 1 and "qwen2.5-coder-0.5b-instruct" in questions[0]
    assert fetched == asked_for

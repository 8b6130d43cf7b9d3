"""`fullduplex serve` and `talk` before any model is opened: a taken address, a brain that is not there."""

import asyncio
import os
import re
import socket
import ssl
import sys
from argparse import Namespace
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


@pytest.mark.parametrize(("answer", "asked_for"), [("n", []), (None, []), ("y", ["qwen2.5-coder-0.5b-instruct"])])
def test_talk_offers_to_get_the_brain_that_was_named(
    answer: str | None, asked_for: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path))
    questions: list[str] = []
    fetched: list[str] = []

    def reply(question: str) -> str:
        questions.append(question)
        if answer is None:
            raise EOFError  # Ctrl-D
        return answer

    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(command.fetch, "get", lambda names, report: fetched.extend(names))
    monkeypatch.setattr(command, "_serve", lambda arguments, open_page: 0 if arguments.brain == "good" else 1)
    assert main(["talk", "--brain", "good"]) == 0
    assert len(questions) == 1 and "qwen2.5-coder-0.5b-instruct" in questions[0]
    assert fetched == asked_for


@pytest.mark.parametrize(
    ("options", "installed", "opened"),
    [([], True, "good"), ([], False, "small"), (["--brain", "small"], True, "small")],
)
def test_talk_takes_the_good_brain_only_where_none_was_named(
    options: list[str], installed: bool, opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(command.store, "find", lambda name: tmp_path if installed else None)
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: False, raising=False)

    def opened_with(arguments: Namespace, *, open_page: bool) -> int:
        chosen.append(arguments.brain)
        return 0

    monkeypatch.setattr(command, "_serve", opened_with)
    assert main(["talk", *options]) == 0
    assert chosen == [opened]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--self-signed", "--certificate", "a.pem"], "exclude each other"),
        (["--certificate-key", "a.pem"], "--certificate"),
        (["--certificate", "absent.pem"], "absent.pem is not there"),
        (["--memory", "0"], "the memory is 0 words; expected 1 or more"),
        (["--memory", "-5"], "the memory is -5 words"),
        (["--slice", "9"], "between 0.32 and 2 seconds, got 9"),
        (["--host", "a..b"], "--host"),
    ],
)
def test_options_that_cannot_be_are_said_before_the_models_are_opened(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--brain", "scripted", *options]) == 2
    said = capsys.readouterr()
    assert told in said.err and "opening the models" not in said.out


@pytest.mark.parametrize("option", ["--max-minutes", "--idle-minutes"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf", "0"])
def test_impossible_lengths_are_said_before_the_models_are_opened(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--brain", "scripted", option, value]) == 2
    said = capsys.readouterr()
    assert "expected a finite number above 0" in said.err and "opening the models" not in said.out


@pytest.mark.parametrize("place", ["text.wav", "text.wav/below"])
def test_a_place_that_takes_no_recordings_is_said_before_the_models_are_opened(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.wav").touch()
    assert main(["serve", "--port", "0", "--brain", "scripted", "--record", str(tmp_path / place)]) == 2
    said = capsys.readouterr()
    assert "cannot be kept in" in said.err and "--record" in said.err and "opening the models" not in said.out


def test_a_password_in_the_address_of_the_brain_is_refused_and_shown_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path))
    caplog.set_level("DEBUG")
    options = ["--port", "0", "--voice", "tones", "--brain", "http://alice:hunter2@127.0.0.1:9/v1"]
    assert main(["serve", *options]) == 2
    said = capsys.readouterr()
    assert "--brain-api-key" in said.err
    assert "hunter2" not in said.out + said.err + caplog.text


async def test_a_phone_can_be_given_an_address_over_https(tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    pytest.importorskip("cryptography")
    options = ["--host", "0.0.0.0", "--port", "0", "--api-key", "sesame", "--self-signed"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fullduplex", "serve", "--brain", "scripted", "--voice", "tones", *options),
        env={**os.environ, "FULLDUPLEX_CACHE": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            told = ""
            while "SHA-256" not in told:
                line = await process.stdout.readline()
                assert line, told
                told += line.decode()
        pages = re.findall(r"https://\S+:\d+/", told)
        shown = bytes.fromhex(told.split()[-1].replace(":", ""))
        assert len(pages) >= 2 and "wss://" in told
        known = ssl.create_default_context(cafile=str(next((tmp_path / "tls").glob("*.pem"))))
        async with aiohttp.ClientSession() as http:
            for page in (pages[0], pages[-1]):  # the address for others, and the one for this machine
                async with http.get(f"{page}healthz", ssl=known) as reply:
                    assert (await reply.json())["needs_key"]
                async with http.get(page, ssl=aiohttp.Fingerprint(shown)) as reply:
                    assert "fullduplex" in await reply.text()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

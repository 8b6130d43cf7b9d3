"""`fullduplex simulate` and `fullduplex replay` without models: files, figures, statuses, mistakes."""

import json
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from fullduplex.base.errors import PortError
from fullduplex.cli.arguments import add_parts, parts_from
from fullduplex.cli.main import main
from fullduplex.lm.scripted import ScriptedBrain
from fullduplex.recipes.parts import Parts, PartsConfig, open_parts
from fullduplex.speech.recogniser import Hypothesis

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("matplotlib")
WITHOUT_MODELS = ["--brain", "scripted", "--voice", "tones"]


@pytest.fixture(autouse=True)
def no_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "empty"))


def caller(folder: Path, rate_hz: int = 16_000) -> Path:
    t = np.arange(rate_hz) / rate_hz
    burst = 0.3 * np.sin(2 * np.pi * 200 * t) * (np.sin(2 * np.pi * 3 * t) > 0)
    soundfile.write(folder / "call.wav", np.concatenate([np.zeros(rate_hz // 2), burst, np.zeros(rate_hz)]), rate_hz)
    return folder / "call.wav"


def without_times(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A log does not say when in a frame a result came."""
    return [{name: value for name, value in event.items() if name != "at_s"} for event in events]


def test_replay_writes_everything_and_its_log_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["replay", str(caller(tmp_path)), "--out", str(out), "--json", *WITHOUT_MODELS]) == 0
    first = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in out.iterdir()) == [
        "conversation.wav",
        "events.jsonl",
        "figures.json",
        "frames.jsonl",
        "timeline.png",
    ]
    assert main(["replay", "--frames", str(out / "frames.jsonl"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert without_times(again["events"]) == without_times(first["events"])


class Reader:
    """Understands the same of whatever it hears."""

    def recognise(self, *_: object) -> Hypothesis:
        return Hypothesis(text="Tell me a story.", tokens=())


class Taught(ScriptedBrain):
    layout = "pairs"


@pytest.mark.parametrize("described", [True, False])
def test_a_log_replays_as_it_was_set_up(
    described: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a log of an older version, which does not say how, with the options given by hand."""

    def taught(config: PartsConfig) -> Parts:
        return replace(open_parts(config), recogniser=cast("Any", Reader()), brain=Taught())

    out = tmp_path / "out"
    by_hand = ["--policy", "tdm", "--slice", "0.5"]
    with monkeypatch.context() as patched:
        patched.setattr("fullduplex.cli.replay.open_parts", taught)
        assert main(["replay", str(caller(tmp_path)), "--out", str(out), "--json", *by_hand, *WITHOUT_MODELS]) == 0
    first = json.loads(capsys.readouterr().out)
    assert "ReplyStarted" in [event["event"] for event in first["events"]]
    log = out / "frames.jsonl"
    if not described:
        log.write_text(log.read_text(encoding="utf-8").partition("\n")[2], encoding="utf-8")
        by_hand += ["--brain", "small-duplex"]
    assert main(["replay", "--frames", str(log), "--json", *([] if described else by_hand)]) == 0
    assert without_times(json.loads(capsys.readouterr().out)["events"]) == without_times(first["events"])
    if described:
        log.write_text(log.read_text(encoding="utf-8").replace('"energy"', '"nose"', 1), encoding="utf-8")
        assert main(["replay", "--frames", str(log)]) == 2
        assert "ear 'nose' is not known" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_parts_that_fail_are_in_the_status_of_a_replay(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def recognise(self, *_: object) -> None:
            raise PortError("no more memory")

    def broken(config: PartsConfig) -> Parts:
        return replace(open_parts(config), recogniser=cast("Any", Broken()))

    monkeypatch.setattr("fullduplex.cli.replay.open_parts", broken)
    out = tmp_path / "out"
    for run in (
        ["replay", str(caller(tmp_path)), "--out", str(out)],
        ["replay", "--frames", str(out / "frames.jsonl")],
    ):
        assert main([*run, *options, *WITHOUT_MODELS]) == 1
        told = capsys.readouterr().out
        if options:
            assert json.loads(told)["failures"] >= 1
            assert json.loads(told)["first_failure"] == "recogniser: PortError: no more memory"
        else:
            assert "first recogniser: PortError: no more memory" in told


def test_simulate_reports_unanswered_turns_in_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a recogniser nothing is understood: the table says so, and the status is 1."""
    arguments = ["simulate", "--scenario", "listener", "--out", str(tmp_path / "demo"), "--json", *WITHOUT_MODELS]
    assert main(arguments) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["answered"] == 0 and figures["turns"] == len(figures["acts"])
    assert all({"repeated_words", "missing_words"} <= act.keys() for act in figures["acts"])
    assert (tmp_path / "demo" / "conversation.wav").is_file()


@pytest.mark.parametrize("content", [b"", b"words, no sound", b"RIFF\x00\x00\x00\x00WAVE"])
def test_files_that_are_no_sound_end_with_status_2(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    assert main(["replay", str(tmp_path / "x.wav"), "--out", str(tmp_path / "out"), *WITHOUT_MODELS]) == 2
    assert "x.wav" in capsys.readouterr().err


def test_mistakes_of_the_user_have_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = str(caller(tmp_path))
    for wrong in (
        ["replay", sound, "--brain", "enormous", "--out", str(tmp_path / "a")],
        ["replay", sound, "--policy", "tdm", "--slice", "9", "--out", str(tmp_path / "b"), *WITHOUT_MODELS],
        ["replay", sound, "--slice", "9", "--out", str(tmp_path / "b"), *WITHOUT_MODELS],
        ["replay", sound, "--threads", "100000", "--out", str(tmp_path / "b"), *WITHOUT_MODELS],
        ["replay", sound, "--voice", "kokoro", "--speaker", "nobody", "--out", str(tmp_path / "b")],
        ["replay", sound, "--brain", "http://127.0.0.1:99999/v1", "--out", str(tmp_path / "b")],
        ["replay", sound, "--brain", "missing.gguf", "--out", str(tmp_path / "b")],
        ["replay", sound, "--out", sound, *WITHOUT_MODELS],
        ["replay", "--frames", str(tmp_path / "absent.jsonl")],
        ["replay", sound, "--channel", "3", *WITHOUT_MODELS],
    ):
        assert main(wrong) == 2, wrong
        assert "fullduplex replay:" in capsys.readouterr().err
    for wrong in (["replay"], ["simulate", "--scenario", "nothing"], ["simulate", "--voice", "opera"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--limit", "-3"], "--limit is -3; expected 1 line or more"),
        (["--limit", "0"], "--limit is 0"),
        (["--seed", "-1"], "seed is -1; expected 0 or more"),
        (["--out", "text.wav"], "--out is text.wav, which cannot be written"),
    ],
)
def test_mistakes_are_found_before_anything_is_simulated(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_yet(_: PartsConfig) -> Parts:
        raise AssertionError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("words", encoding="utf-8")
    monkeypatch.setattr("fullduplex.cli.simulate.open_parts", not_yet)
    assert main(["simulate", *options]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("voice", "warned"), [("tones", True), ("kokoro", False)])
def test_a_speaker_is_for_kokoro(voice: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    parser = ArgumentParser()
    add_parts(parser)
    assert parts_from(parser.parse_args(["--voice", voice, "--speaker", "af_bella"])).speaker == "af_bella"
    assert ("--speaker af_bella is for --voice kokoro" in caplog.text) == warned
    caplog.clear()
    assert parts_from(parser.parse_args(["--voice", voice])).speaker == "af_heart"
    assert not caplog.text
    assert [parts_from(parser.parse_args([]), live=live).threads for live in (True, False)] == [0, 1]
    assert parts_from(parser.parse_args(["--threads", "0"])).threads == 0


def test_strict_names_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--strict", "--out", str(tmp_path / "demo")]) == 1
    assert "fullduplex assets get" in capsys.readouterr().err

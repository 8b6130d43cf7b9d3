"""`fullduplex data`."""

import json
from pathlib import Path

import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.cli.data import main

pytest.importorskip("tqdm")


def chats(file: Path, count: int = 8) -> Path:
    lines = []
    for number in range(count):
        answer = f"Answer {number} is a long one that goes on and on about many things. " * 6
        messages = [
            {"role": "user", "content": f"Question {number}, what about it?"},
            {"role": "assistant", "content": answer},
        ]
        lines.append(json.dumps({"messages": messages * 2}))
    file.write_text("\n".join(lines) + "\n")
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_build_stats_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = chats(tmp_path / "chat.jsonl"), tmp_path / "duplex.jsonl"
    table = run(capsys, "build", str(source), str(out), "--mix", "ours", "--copies", "5", "--seed", "1")
    assert "40 dialogues" in table
    figures = json.loads(run(capsys, "stats", str(out), "--json"))
    assert figures["dialogues"] == 40
    assert figures["kinds"]["basic"]["pairs_paper"] == 153.9
    assert "too short" in run(capsys, "stats", str(out))
    shown = run(capsys, "show", str(out), "--kind", "back_on_topic")
    assert "resume" in shown
    assert "<idle>" in shown
    with pytest.raises(InputError, match="no such dialogue"):
        main(["show", str(out), "--skip", "99"])


def test_builds_go_on_and_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, whole = chats(tmp_path / "chat.jsonl"), tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    run(capsys, "build", str(source), str(whole))
    assert "3 dialogues" in run(capsys, "build", str(source), str(out), "--limit", "3")
    with pytest.raises(InputError, match="exists"):
        main(["build", str(source), str(out)])
    run(capsys, "build", str(source), str(out), "--resume")
    assert out.read_bytes() == whole.read_bytes()


def test_broken_lines_stop_a_build_unless_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = chats(tmp_path / "chat.jsonl")
    source.write_text("broken\n" + source.read_text())
    with pytest.raises(FormatError, match="line 1"):
        main(["build", str(source), str(tmp_path / "x.jsonl")])
    options = ["--skip-bad", "--json", "--mix", "basic=1", "--layout", "messages", "--words", "2,3", "--tokens", "5"]
    assert main(["build", str(source), str(tmp_path / "y.jsonl"), *options]) == 0
    captured = capsys.readouterr()
    assert "line 1 skipped" in captured.err
    figures = json.loads(captured.out)
    assert figures["skipped"] == [1]
    assert 2 <= figures["slices"]["user_words_mean"] <= 3
    assert "output" in json.loads((tmp_path / "y.jsonl").read_text().splitlines()[0])
    for bad in (["--words", "x"], ["--mix", "song=1"], ["--mix", "basic"], ["--tokens", "0"]):
        with pytest.raises(InputError):
            main(["build", str(source), str(tmp_path / "z.jsonl"), *bad])


def test_distill_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chat.jsonl"
    assert "3 dialogues" in run(capsys, "distill", str(out), "--count", "3", "--brain", "scripted")
    assert len(out.read_text().splitlines()) == 3
    (tmp_path / "p.txt").write_text("hello\n")
    run(capsys, "distill", str(tmp_path / "own.jsonl"), "--prompts", str(tmp_path / "p.txt"), "--brain", "scripted")
    built = tmp_path / "duplex.jsonl"
    run(capsys, "build", str(out), str(built), "--rewrite", "brain", "--brain", "scripted")
    assert len(built.read_text().splitlines()) == 3


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for job in ([], ["build"], ["stats"], ["show"], ["distill"]):
        with pytest.raises(SystemExit) as stopped:
            main([*job, "--help"])
        assert stopped.value.code == 0
        assert len(capsys.readouterr().out) > 150

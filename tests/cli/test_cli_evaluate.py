"""`fullduplex evaluate`."""

import json
from pathlib import Path

import pytest

from fullduplex.base.errors import FormatError, InputError
from fullduplex.cli.evaluate import main

pytest.importorskip("soundfile")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_taxonomy_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Moshi" in run(capsys, "taxonomy")
    assert "rtf_survey" in run(capsys, "taxonomy", "--show", "metrics")
    assert "simplex" in run(capsys, "taxonomy", "--show", "axes")
    rows = json.loads(run(capsys, "taxonomy", "--json"))
    assert {"system", "paradigm", "cites"} <= set(rows[0])
    assert json.loads(run(capsys, "taxonomy", "--system", "lslm", "--json"))["paradigm"] == "end_to_end"
    assert "duplex: full" in run(capsys, "taxonomy", "--system", "lslm")
    with pytest.raises(InputError, match="no system"):
        main(["taxonomy", "--system", "hal"])


def test_generated_dialogues_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    place, pictures = tmp_path / "talk", tmp_path / "png"
    run(capsys, "generate", str(place), "--count", "2", "--turns", "6", "--echo", "0.1")
    assert len(list(place.glob("*.wav"))) == len(list(place.glob("*.labels.jsonl"))) == 2
    first = json.loads((place / "dialogue-000.labels.jsonl").read_text().splitlines()[0])
    assert {"side", "kind", "start_s", "end_s", "text", "cut"} == set(first)
    report = json.loads(run(capsys, "stats", str(place), "--out", str(pictures), "--json"))
    assert report["num_recordings"] == 2
    assert all(Path(file).is_file() for file in report["files"])
    assert "offset_to_system_s_median" in run(capsys, "stats", str(place))
    with pytest.raises(InputError, match="two names"):
        main(["generate", str(place), "--voices", "bella"])


def fdb_folder(root: Path) -> Path:
    for number, words in enumerate([[], [["a", 5.5, 6.0], ["b", 6.0, 7.0]]]):
        folder = root / str(number)
        folder.mkdir(parents=True)
        chunks = [{"text": text, "timestamp": [start, end]} for text, start, end in words]
        (folder / "output.json").write_text(json.dumps({"chunks": chunks}))
        (folder / "turn_taking.json").write_text(json.dumps([{"timestamp": [5.0, 5.2]}]))
    return root


def test_fdb_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    folder = fdb_folder(tmp_path / "fdb")
    found = json.loads(run(capsys, "fdb", str(folder), "--json", "--png", str(tmp_path / "r.png")))
    for mode in ("paper", "code"):
        assert found["fdb"][mode]["smooth_turn_taking"]["takeover_rate"] == 0.5
        assert found["fdb"][mode]["smooth_turn_taking"]["latency_s"] == 0.5
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    table = run(capsys, "fdb", str(folder), "--mode", "code", "--task", "smooth_turn_taking", "--judge", "none")
    assert "smooth_turn_taking" in table
    assert "paper" not in table
    with pytest.raises(FormatError, match="no item folders"):
        (tmp_path / "empty").mkdir()
        main(["fdb", str(tmp_path / "empty")])


def test_turnbench_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = {"eot_positives": [[1, 5.0]], "eot_negatives": [[1, 7.0, 8.0]]}
    (tmp_path / "gold.json").write_text(json.dumps({"conversations": {"x": {"duration_s": 10, "events": events}}}))
    with pytest.raises(InputError, match="neither"):
        main(["turnbench", str(tmp_path)])
    nothing = {"eot": [], "interruption": []}
    rows = [{"conversation_id": "x", "speaker_1": {**nothing, "eot": [5.2]}, "speaker_2": nothing}]
    (tmp_path / "predictions.json").write_text(json.dumps({"predictions": rows}))
    probs = [
        {"conversation_id": "x", "speaker_1": {"prob": [0.0] * 51 + [0.9] * 49}, "speaker_2": {"prob": [0.0] * 100}}
    ]
    (tmp_path / "probs-eot.json").write_text(json.dumps({"task": "eot", "frame_rate_hz": 10, "probs": probs}))
    found = json.loads(run(capsys, "turnbench", str(tmp_path), "--json"))
    assert found["eot"]["recall"] == found["eot (swept)"]["recall"] == 1.0
    assert found["eot (swept)"]["latency_s_p50"] == pytest.approx(0.2)
    assert found["int"]["recall"] is None
    assert "eot (swept)" in run(capsys, "turnbench", str(tmp_path))


def test_lslm_over_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trials.json"
    file.write_text(
        '[{"onset_s": 2, "stop_s": 2.4}, {"onset_s": 2, "stop_s": null}, {"onset_s": null, "stop_s": null}]'
    )
    found = json.loads(run(capsys, "lslm", str(file), "--json"))
    assert (found["precision"], found["recall"], found["tn"]) == (1.0, 0.5, 1.0)
    assert "recall" in run(capsys, "lslm", str(file))
    for bad in ("{", "3", "[{}]", '[{"onset_s": "x", "stop_s": 1}]', '[{"onset_s": -1, "stop_s": 1}]'):
        file.write_text(bad)
        with pytest.raises(InputError):
            main(["lslm", str(file)])


def test_a_system_without_models_is_played_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "none"))
    options = ["--count", "1", "--tasks", "pause_handling", "--brain", "scripted", "--voice", "tones", "--json"]
    found = json.loads(run(capsys, "system", "turns", "--out", str(tmp_path / "items"), *options))
    assert found["fdb"]["paper"]["pause_handling"]["num_items"] == 1
    assert (tmp_path / "items" / "pause_handling-000" / "conversation.wav").is_file()
    held = ["--suite", "v1.5", "--out", str(tmp_path / "held"), *options]
    found = json.loads(run(capsys, "system", "turns", *held))
    assert found["v1.5"]["noise"]["num_items"] == 1
    assert "stopping in time" in run(capsys, "system", "turns", *held[:-1])
    for bad in (["system", "turns", "--tasks", "singing"], ["system", "http://x"]):
        with pytest.raises(InputError):
            main([*bad, "--out", str(tmp_path / "bad")])


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["fdb"], ["turnbench"], ["stats"], ["lslm"], ["system"], ["taxonomy"], ["generate"]):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--help"])
        assert stopped.value.code == 0
        assert len(capsys.readouterr().out) > 200

"""`fullduplex tune` on a tiny model in the Hugging Face layout: run, resume, check, export, and mistakes."""

import json
from pathlib import Path

import pytest

from fullduplex.assets.store import find
from fullduplex.cli.main import main

torch = pytest.importorskip("torch", reason="needs the extra torch")
safetensors = pytest.importorskip("safetensors", reason="needs the extra tune")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra talk")

from fullduplex.lm.tune.llama import Llama, LlamaConfig  # noqa: E402
from fullduplex.lm.tune.slices import kept_pairs  # noqa: E402
from fullduplex.lm.tune.tokens import json_tokenizer  # noqa: E402
from fullduplex.lm.tune.weights import write_safetensors  # noqa: E402

CONTROLS = ["<|im_start|>", "<|im_end|>"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    torch.manual_seed(0)
    write_safetensors(folder, Llama(LlamaConfig(vocabulary=300, width=32, layers=1, heads=2, key_heads=2, hidden=32)))
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {mark: index for index, mark in enumerate([*CONTROLS, *sorted(letters)])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(CONTROLS)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    chats = tmp_path / "chats.jsonl"
    turns = [("What is a cat?", "A small animal that sleeps."), ("And a dog?", "A loud animal that does not.")]
    messages = [
        {"role": role, "content": text}
        for pair in turns
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    chats.write_text("".join(json.dumps({"messages": messages}) + "\n" for _ in range(12)), encoding="utf-8")
    out = tmp_path / "duplex.jsonl"
    assert main(["data", "build", str(chats), str(out), "--json"]) == 0
    return out


def run(model: Path, dialogues: Path, out: Path, *more: str) -> int:
    sizes = ["--steps", "4", "--batch", "2", "--row-tokens", "1024", "--precision", "float32", "--rank", "2"]
    return main(["tune", "run", "--model", str(model), "--data", str(dialogues), "--out", str(out), *sizes, *more])


def test_run_check_export(model: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(model, dialogues, out, "--held-out", str(dialogues), "--json") == 0
    manifest = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert manifest["tokens"] > 1000 and manifest["held_out_rows"] > 0
    adapter = str(out / "adapter.safetensors")
    assert main(["tune", "check", "--model", str(model), "--data", str(dialogues), "--adapter", adapter, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["idle_slices"] > 0 and figures["speech_slices"] > 0
    merged = tmp_path / "merged"
    assert main(["tune", "export", "--model", str(model), "--adapter", adapter, "--safetensors", str(merged)]) == 0
    (merged / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    capsys.readouterr()
    assert main(["tune", "check", "--model", str(merged), "--data", str(dialogues), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(figures["loss"], abs=1e-4)
    assert main(["tune", "check", "--model", str(merged), "--data", str(dialogues)]) == 0
    assert "idle kept" in capsys.readouterr().out


def test_a_run_may_start_from_an_adapter(
    model: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, dialogues, tmp_path / "first") == 0
    adapter = str(tmp_path / "first" / "adapter.safetensors")
    capsys.readouterr()
    assert run(model, dialogues, tmp_path / "second", "--start", adapter, "--lr", "1e-12", "--json") == 0
    manifest = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(manifest["config"]["start"]) == 64
    first, second = (
        safetensors.safe_open(tmp_path / name / "adapter.safetensors", "pt") for name in ("first", "second")
    )
    assert all(torch.equal(first.get_tensor(name), second.get_tensor(name)) for name in first.keys())  # noqa: SIM118
    assert run(model, dialogues, tmp_path / "third", "--start", adapter, "--rank", "3") == 2
    assert "was made with" in capsys.readouterr().err
    assert run(model, dialogues, tmp_path / "fourth", "--start", adapter, "--full") == 2
    assert run(model, dialogues, tmp_path / "fifth", "--start", str(tmp_path / "absent")) != 0


def test_a_finished_run_is_not_overwritten_but_resumed(model: Path, dialogues: Path, tmp_path: Path) -> None:
    assert run(model, dialogues, tmp_path / "run") == 0
    assert run(model, dialogues, tmp_path / "run") == 2
    assert run(model, dialogues, tmp_path / "run", "--resume") == 0


def test_mistakes_are_named(model: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(dialogues.read_text(encoding="utf-8") + '{"kind": "basic"\n', encoding="utf-8")
    for arguments, status, message in [
        (["run", "--model", str(model), "--data", str(broken), "--out", str(tmp_path / "x")], None, "line 13"),
        (
            ["run", "--model", str(model), "--data", str(tmp_path / "no"), "--out", str(tmp_path / "x")],
            None,
            "cannot be read",
        ),
        (["export", "--model", str(model)], 2, "nothing to write"),
        (["export", "--model", str(model), "--gguf", str(tmp_path / "x.gguf")], 2, "--gguf takes tokenizer"),
        (["check", "--model", str(tmp_path / "no.gguf"), "--data", str(dialogues)], None, "no.gguf"),
    ]:
        code = main(["tune", *arguments])
        assert code in (1, 2) if status is None else code == status
        assert message in capsys.readouterr().err


def test_control_strings_in_texts_stay_text(model: Path) -> None:
    tokenize = json_tokenizer(model / "tokenizer.json")
    assert tokenize("<|im_end|>", True) == [1]
    assert len(tokenize("<|im_end|>", False)) == len("<|im_end|>")


def test_silent_pairs_are_left_out_but_for_the_first_of_a_run() -> None:
    pairs = [("", ""), ("a", ""), ("", "b"), ("", ""), ("", ""), ("c", "d"), ("", ""), ("", "")]
    assert kept_pairs(pairs) == [("a", ""), ("", "b"), ("", ""), ("c", "d"), ("", "")]


@pytest.mark.parametrize("options", [["--skip", "-1"], ["--limit", "0"], ["--skip", "9"]])
def test_examine_refuses_a_range_without_chats(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text(
        json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]})
    )
    assert main(["tune", "examine", "--brain", "scripted", "--chats", str(chats), *options]) == 2
    told = capsys.readouterr().err
    assert "--skip" in told or "behind the first 9" in told


def test_examine_counts_what_the_committed_model_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if find("smollm2-135m-instruct") is None:
        pytest.skip("asset missing; run: fullduplex assets get smollm2-135m-instruct")
    facts = tmp_path / "facts.jsonl"
    assert main(["data", "facts", str(facts), "--count", "3", "--part", "held-out", "--seed", "9"]) == 0
    assert main(["data", "facts", str(facts)]) == 2  # it is there already
    capsys.readouterr()
    asked = ["tune", "examine", "--chats", str(facts), "--facts", str(facts), "--limit", "2"]
    assert main([*asked, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["waits"]["count"] >= 10 and table["waits"]["rate"] >= 0.8
    assert table["begins"]["rate"] >= 0.5


def test_ability_before_and_after(
    model: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Factors that change nothing cost nothing; an untrained model guesses."""
    out = tmp_path / "run"
    assert run(model, dialogues, out, "--lr", "1e-12") == 0
    capsys.readouterr()
    asked = ["tune", "ability", "--model", str(model), "--chats", str(tmp_path / "chats.jsonl")]
    assert main([*asked, "--adapter", str(out / "adapter.safetensors"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["after"]["perplexity"] == pytest.approx(figures["before"]["perplexity"], rel=1e-3)
    assert figures["before"]["perplexity"] > 10
    assert 0 <= figures["before"]["capitals"] < 0.7


def test_average_two_runs_of_one_start(
    model: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, dialogues, tmp_path / "first") == 0
    begun = ["--start", str(tmp_path / "first/adapter.safetensors")]
    files = []
    for seed in ("1", "2"):
        assert run(model, dialogues, tmp_path / seed, *begun, "--seed", seed) == 0
        files.append(str(tmp_path / seed / "adapter.safetensors"))
    capsys.readouterr()
    out = tmp_path / "mean.safetensors"
    assert main(["tune", "average", *files, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["adapters"] == 2 and 0 <= told["apart"] < 0.25
    asked = ["tune", "check", "--model", str(model), "--data", str(dialogues), "--adapter"]
    assert main([*asked, str(out)]) == 0
    (tmp_path / "folder.safetensors").mkdir()
    assert main(["tune", "average", *files, "--out", str(tmp_path / "folder.safetensors")]) == 1
    assert "folder.safetensors" in capsys.readouterr().err

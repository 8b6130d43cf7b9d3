"""Dialogues to rows, rows to an adapter: layout, weights, packing, resume, a run that learns to keep silent."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fullduplex.base.chat import Message
from fullduplex.base.errors import AssetError, ConfigError, FormatError, InputError
from fullduplex.lm.template import CHATML, encode, render

torch = pytest.importorskip("torch", reason="needs the extra torch")
pytest.importorskip("safetensors", reason="needs the extra tune")

from fullduplex.lm.tune.average import average_adapters  # noqa: E402
from fullduplex.lm.tune.examples import Example, LayoutConfig, example_of, pack  # noqa: E402
from fullduplex.lm.tune.llama import Llama, LlamaConfig  # noqa: E402
from fullduplex.lm.tune.lora import LoraConfig  # noqa: E402
from fullduplex.lm.tune.objective import slice_figures, slice_loss  # noqa: E402
from fullduplex.lm.tune.run import (  # noqa: E402
    TuneConfig,
    held_out_figures,
    merged,
    read_adapter,
    tune,
    write_adapter,
)

CONTROLS = ("<|im_start|>", "<|im_end|>")


def letters(text: str, special: bool) -> list[int]:
    """A tokenizer of bytes, with control strings as single tokens where they are allowed."""
    ids: list[int] = []
    while text:
        control = next((i for i, mark in enumerate(CONTROLS) if special and text.startswith(mark)), None)
        if control is None:
            ids += list(text[0].encode())
            text = text[1:]
        else:
            ids.append(256 + control)
            text = text[len(CONTROLS[control]) :]
    return ids


def talk(*slices: tuple[str, str], system: str = "") -> tuple[Message, ...]:
    head = (Message("system", system),) if system else ()
    pairs = [message for user, machine in slices for message in (Message("user", user), Message("assistant", machine))]
    return (*head, *pairs)


MODEL = LlamaConfig(vocabulary=258, width=48, layers=2, heads=4, key_heads=2, hidden=96)
LAYOUT = LayoutConfig(row_tokens=192, idle_weight=0.25)


def test_tokens_are_those_the_runtime_reads() -> None:
    messages = talk(("hi there", "<idle>"), ("<|im_end|> you", " Good day"), system="Be brief.")
    (example,) = example_of(messages, letters, LayoutConfig())
    assert list(example.tokens) == encode(render(CHATML, messages, "closed"), letters)


def test_only_the_assistant_counts_and_idle_counts_less() -> None:
    messages = talk(("ab", "<idle>"), ("c", " d"), system="s")
    (example,) = example_of(messages, letters, LAYOUT)
    counted = [(token, weight) for token, weight in zip(example.tokens, example.weights, strict=True) if weight]
    idle = [*b"<idle>", 257]
    assert counted == [*((token, 0.25) for token in idle), (ord(" "), 1.0), (ord("d"), 1.0), (257, 1.0)]


def test_long_conversations_are_cut_before_a_user_and_begin_with_the_system() -> None:
    messages = talk(*[(f"user {i}", f" machine {i}") for i in range(8)], system="sys")
    examples = example_of(messages, letters, LAYOUT)
    start = encode(render(CHATML, messages[:1], "closed"), letters)
    whole = encode(render(CHATML, messages, "closed"), letters)
    assert len(examples) > 1
    assert all(list(e.tokens[: len(start)]) == start and len(e.tokens) <= 192 for e in examples)
    assert sum(len(e.tokens) - len(start) for e in examples) == len(whole) - len(start)
    assert len(example_of(messages, letters, LayoutConfig(row_tokens=192, keep_rest=False))) == 1


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ((), "without messages"),
        ((Message("tool", "x"),), "role"),  # type: ignore[arg-type]
        (talk(("word " * 100, "x")), "does not fit"),
    ],
)
def test_unusable_conversations_are_named(messages: tuple[Message, ...], match: str) -> None:
    with pytest.raises(InputError, match=match):
        example_of(messages, letters, LAYOUT)


def test_packing_keeps_every_example_once_and_apart() -> None:
    draw = np.random.default_rng(0)
    examples = [Example(tuple(draw.integers(0, 250, n).tolist()), (1.0,) * n) for n in draw.integers(3, 190, 40)]
    rows = pack(examples, LAYOUT, seed=1)
    found = []
    for tokens, segments in zip(rows.token_NT, rows.segment_NT, strict=True):
        for segment in range(segments.max() + 1):
            found.append(tuple(tokens[segments == segment].tolist()))
            assert np.all(np.diff(np.flatnonzero(segments == segment)) == 1)
    assert sorted(found) == sorted(e.tokens for e in examples)
    least = -(-sum(len(e.tokens) for e in examples) // 192)
    assert len(rows) <= 1.3 * least
    assert np.array_equal(pack(examples, LAYOUT, seed=1).token_NT, rows.token_NT)
    with pytest.raises(InputError, match="no examples"):
        pack([], LAYOUT, seed=0)


def test_packing_does_not_change_the_loss_or_its_gradient() -> None:
    torch.manual_seed(0)
    model = Llama(MODEL)
    examples = [e for i in range(3) for e in example_of(talk((f"q{i}", f" a{i}")), letters, LAYOUT)]
    together = slice_loss(model, pack(examples, LAYOUT, seed=0).batch(np.array([0])))
    alone = [slice_loss(model, pack([e], LAYOUT, seed=0).batch(np.array([0]))) for e in examples]
    counts = [sum(e.weights) for e in examples]
    expected = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert torch.allclose(together, expected, atol=1e-5)
    (one,), (other,) = (torch.autograd.grad(x, [model.norm.weight]) for x in (together, expected))
    assert torch.allclose(one, other, atol=1e-5)


def test_tokens_without_weight_have_no_gradient() -> None:
    torch.manual_seed(0)
    model = Llama(MODEL)
    (example,) = example_of(talk(("q", " a")), letters, LAYOUT)
    batch = pack([example], LAYOUT, seed=0).batch(np.array([0]))
    hidden = model(batch.token_BT, batch.segment_BT)
    hidden.retain_grad()
    same = slice_loss(model, batch)
    same.backward()
    assert torch.isfinite(same)
    logits_used = int((batch.weight_BT[:, 1:] > 0).sum())
    assert logits_used == 3  # blank, "a", the end mark


CHATS = [
    talk((f"tell me of {word}", "<idle>"), ("please now", f" {word} it is"), ("<idle>", "<idle>"))
    for word in ("cats", "dogs", "tea", "rain", "sun", "moon")
]
CONFIG = TuneConfig(
    num_steps=60, batch_rows=2, peak_lr=2e-2, precision="float32", lora=LoraConfig(rank=8, alpha=16.0), layout=LAYOUT,
    evaluate_every_steps=30, checkpoint_every_steps=20,
)  # fmt: skip


def base() -> Llama:
    torch.manual_seed(5)
    return Llama(MODEL)


def test_a_run_learns_leaves_its_files_and_its_adapter_can_be_merged(tmp_path: Path) -> None:
    rows = pack([e for chat in CHATS for e in example_of(chat, letters, LAYOUT)], LAYOUT, seed=0)
    before = held_out_figures(base(), rows, letters)
    model = base()
    manifest = tune(model, letters, CHATS, CHATS[:1], CONFIG, tmp_path)
    after = held_out_figures(model, rows, letters)
    assert after["loss"] < 0.7 * before["loss"]
    assert manifest["rows"] == len(rows)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert set(lines[29]["figures"]) >= {"loss", "idle_kept", "speech_begun"}
    plain = merged(base(), tmp_path / "adapter.safetensors")
    assert held_out_figures(plain, rows, letters)["loss"] == pytest.approx(after["loss"], abs=0.02)  # float16 factors


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    def stop_at_45(report: object) -> None:
        if report.step == 45:  # type: ignore[attr-defined]
            raise Broken

    tune(base(), letters, CHATS, (), CONFIG, tmp_path / "whole")
    with pytest.raises(Broken):
        tune(base(), letters, CHATS, (), CONFIG, tmp_path / "broken", report=stop_at_45)
    with pytest.raises(InputError, match="resume"):
        tune(base(), letters, CHATS, (), CONFIG, tmp_path / "broken")
    tune(base(), letters, CHATS, (), CONFIG, tmp_path / "broken", resume=True)
    assert (tmp_path / "whole/adapter.safetensors").read_bytes() == (
        tmp_path / "broken/adapter.safetensors"
    ).read_bytes()


def test_a_run_with_other_data_is_not_resumed(tmp_path: Path) -> None:
    tune(base(), letters, CHATS, (), TuneConfig(num_steps=1, layout=LAYOUT, precision="float32"), tmp_path)
    with pytest.raises(FormatError, match="other settings or data"):
        tune(
            base(),
            letters,
            CHATS[1:],
            (),
            TuneConfig(num_steps=1, layout=LAYOUT, precision="float32"),
            tmp_path,
            resume=True,
        )
    with pytest.raises(AssetError, match="no run"):
        tune(base(), letters, CHATS, (), CONFIG, tmp_path / "none", resume=True)


def test_all_weights_can_be_trained(tmp_path: Path) -> None:
    config = TuneConfig(num_steps=3, mode="full", layout=LAYOUT, precision="float32", peak_lr=1e-3)
    model = base()
    tune(model, letters, CHATS, (), config, tmp_path)
    assert not torch.equal(model.blocks[0].feed.up.weight, base().blocks[0].feed.up.weight)
    assert (tmp_path / "model.safetensors").is_file()


def test_adapters_that_began_as_one_are_averaged(tmp_path: Path) -> None:
    tune(base(), letters, CHATS, (), CONFIG, tmp_path / "first")
    start = tmp_path / "first/adapter.safetensors"
    paths = []
    for seed in (1, 2):
        config = replace(CONFIG, num_steps=10, seed=seed, start=start, lora=replace(CONFIG.lora, seed=seed))
        tune(base(), letters, CHATS, (), config, tmp_path / str(seed))
        paths.append(tmp_path / str(seed) / "adapter.safetensors")
    apart = average_adapters(paths, tmp_path / "mean.safetensors")
    assert 0 < apart < 0.2
    (one, _), (other, _), (mean, lora) = map(read_adapter, (*paths, tmp_path / "mean.safetensors"))
    assert lora.rank == CONFIG.lora.rank
    assert not all(torch.equal(one[name], other[name]) for name in one)
    for name, factor in mean.items():
        torch.testing.assert_close(factor, (one[name] + other[name]) / 2, atol=2e-3, rtol=2e-3)  # float16
    changes, off = [], []
    for name in (name.removesuffix(".up") for name in mean if name.endswith(".up")):
        change = (one[f"{name}.up"] @ one[f"{name}.down"] + other[f"{name}.up"] @ other[f"{name}.down"]) / 2
        changes.append(change.flatten())
        off.append((change - mean[f"{name}.up"] @ mean[f"{name}.down"]).flatten())
    assert float(torch.cat(off).norm() / torch.cat(changes).norm()) == pytest.approx(apart, abs=2e-3)
    average_adapters([paths[0], paths[0]], tmp_path / "same.safetensors")
    assert (tmp_path / "same.safetensors").read_bytes() == paths[0].read_bytes()


def test_adapters_that_do_not_belong_together_are_not_averaged(tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        config = replace(CONFIG, num_steps=10, seed=seed, lora=replace(CONFIG.lora, seed=seed))
        tune(base(), letters, CHATS, (), config, tmp_path / str(seed))
        paths.append(tmp_path / str(seed) / "adapter.safetensors")
    out = tmp_path / "mean.safetensors"
    with pytest.raises(ConfigError, match="did not begin as the same"):
        average_adapters(paths, out)
    with pytest.raises(ConfigError, match="two adapters"):
        average_adapters(paths[:1], out)
    config = replace(CONFIG, num_steps=1, lora=replace(CONFIG.lora, rank=CONFIG.lora.rank + 1))
    tune(base(), letters, CHATS, (), config, tmp_path / "wider")
    with pytest.raises(ConfigError, match="was made with"):
        average_adapters([paths[0], tmp_path / "wider/adapter.safetensors"], out)
    factors, lora = read_adapter(paths[0])
    write_adapter(tmp_path / "fewer.safetensors", dict(list(factors.items())[2:]), lora)
    with pytest.raises(FormatError, match="other layers"):
        average_adapters([paths[0], tmp_path / "fewer.safetensors"], out)
    assert not out.exists()


def test_damaged_adapters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError):
        merged(base(), tmp_path / "adapter.safetensors")
    (tmp_path / "adapter.safetensors").write_bytes(b"not an adapter")
    with pytest.raises(FormatError, match="no adapter"):
        merged(base(), tmp_path / "adapter.safetensors")


def test_files_cut_short_are_refused_at_any_length(tmp_path: Path) -> None:
    """As after a full disk: the checkpoint of a run, its adapter, its manifest."""
    config = TuneConfig(num_steps=1, layout=LAYOUT, precision="float32", checkpoint_every_steps=1)
    tune(base(), letters, CHATS, (), config, tmp_path)
    for name in ("checkpoint", "adapter.safetensors", "manifest.json"):
        whole = (tmp_path / name).read_bytes()
        for length in (0, 1, 20, len(whole) // 2, len(whole) - 3):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(FormatError, match=name):
                if name == "adapter.safetensors":
                    merged(base(), tmp_path / name)
                else:
                    tune(base(), letters, CHATS, (), config, tmp_path, resume=True)
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"batch_rows": 0}, {"mode": "half"}, {"decay_fraction": 2.0}])
def test_absurd_runs_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        TuneConfig(**wrong)


def test_idle_decisions_are_counted() -> None:
    class Always(Llama):
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            scores = torch.zeros(*hidden.shape[:-1], 258)
            scores[..., ord("<")] = 1.0
            return scores

    model = Always(MODEL)
    rows = pack([e for chat in CHATS for e in example_of(chat, letters, LAYOUT)], LAYOUT, seed=0)
    figures = slice_figures(model, [rows.batch(np.arange(len(rows)))], ord("<"))
    assert figures["idle_kept"] == 1.0 and figures["speech_begun"] == 0.0
    assert figures["idle_slices"] == 12 and figures["speech_slices"] == 6

"""The trainable Llama against independent implementations; adapters; files."""

from pathlib import Path

import numpy as np
import pytest

from fullduplex.assets import store
from fullduplex.base.errors import AssetError, ConfigError, FormatError, FullduplexError, InputError

torch = pytest.importorskip("torch", reason="needs the extra torch")
pytest.importorskip("gguf", reason="needs the extra tune")
pytest.importorskip("safetensors", reason="needs the extra tune")

from fullduplex.lm.tune.llama import Llama, LlamaConfig, rotate  # noqa: E402
from fullduplex.lm.tune.lora import LoraConfig, LoraLinear, adapt, adapter_state, load_adapter, merge  # noqa: E402
from fullduplex.lm.tune.weights import read_gguf, read_safetensors, write_gguf, write_safetensors  # noqa: E402

SMALL = LlamaConfig(vocabulary=97, width=32, layers=2, heads=4, key_heads=2, hidden=48, rope_base=500.0)
TEXT = "The capital of France is Paris. The moon is far away from the"


def tiny(config: LlamaConfig = SMALL, seed: int = 0) -> Llama:
    torch.manual_seed(seed)
    return Llama(config)


def tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(seed))


def scores(model: Llama, token_BT: torch.Tensor, segment_BT: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(token_BT, segment_BT))


@pytest.mark.parametrize("tied", [True, False])
def test_equals_transformers_on_the_files_it_writes(tmp_path: Path, tied: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra peers")
    config = LlamaConfig(vocabulary=97, width=32, layers=2, heads=4, key_heads=2, hidden=48, tied=tied)
    model, token_BT = tiny(config), tokens(2, 11)
    write_safetensors(tmp_path, model)
    peer = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        expected = peer(token_BT).logits
    assert torch.allclose(scores(model, token_BT), expected, atol=1e-5)
    assert torch.equal(scores(read_safetensors(tmp_path), token_BT), scores(model, token_BT))


def _asset() -> Path:
    try:
        return next(store.path("smollm2-135m-instruct").glob("*.gguf"))
    except (FullduplexError, StopIteration):
        pytest.skip("smollm2-135m-instruct is not installed: fullduplex assets get")


def _llama_cpp(path: Path, text: str, layout: str) -> tuple[list[int], np.ndarray]:
    pytest.importorskip("cyllama", reason="needs the extra talk")
    from fullduplex.lm.engine import Engine

    engine = Engine(path, threads=1, context=128, sequences=1)
    assert engine.layout == layout
    ids = engine.tokenize(text, False)
    rows = []
    for at, token in enumerate(ids):
        engine.decode(0, at, [token], (0,))
        rows.append(engine.log_probabilities())
    engine.close()
    return ids, np.array(rows)


@pytest.mark.slow
def test_equals_llama_cpp_on_a_real_model_and_its_rewritten_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float32 file: llama.cpp differs in the last bits only (0.03 nats). The 4-bit file also rounds activations."""
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")  # our own decoder would store the file's numbers in 8 bits
    source = _asset()
    model = read_gguf(source)
    write_gguf(tmp_path / "f32.gguf", model, source, "f32", layout="pairs")
    ids, expected = _llama_cpp(tmp_path / "f32.gguf", TEXT, "pairs")
    ours = scores(model, torch.tensor([ids]))[0].log_softmax(-1).numpy()
    assert np.abs(ours - expected).max() < 0.03
    _ids, rounded = _llama_cpp(source, TEXT, "merged")
    assert float((np.exp(rounded) * (rounded - ours)).sum(-1).mean()) < 0.02  # mean divergence, nats


def test_rotary_positions_depend_on_distances_only() -> None:
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(1, 1, 1, 8, generator=draw), torch.randn(1, 1, 1, 8, generator=draw)

    def product(a: int, b: int) -> float:
        left = rotate(query, torch.tensor([[a]]), 100.0)
        return float((left * rotate(key, torch.tensor([[b]]), 100.0)).sum())

    assert product(3, 1) == pytest.approx(product(12, 10), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)


def test_packed_conversations_equal_lone_ones() -> None:
    model = tiny()
    one, other = tokens(1, 5, 1), tokens(1, 8, 2)
    packed = torch.cat([one, other], dim=1)
    segment = torch.tensor([[0] * 5 + [1] * 8])
    together = scores(model, packed, segment)
    assert torch.allclose(together[:, :5], scores(model, one), atol=1e-5)
    assert torch.allclose(together[:, 5:], scores(model, other), atol=1e-5)


def test_the_future_does_not_reach_back() -> None:
    model, token_BT = tiny(), tokens(1, 9)
    changed = token_BT.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 97
    assert torch.allclose(scores(model, token_BT)[:, :6], scores(model, changed)[:, :6], atol=1e-6)


def test_an_adapter_begins_as_nothing_learns_and_merges() -> None:
    model, token_BT = tiny(), tokens(2, 6)
    before = scores(model, token_BT)
    adapt(model, LoraConfig(rank=3, alpha=6.0))
    assert torch.equal(scores(model, token_BT), before)
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert len(trained) == 2 * 7 * SMALL.layers
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    adapted, state = scores(model, token_BT), adapter_state(model)
    assert not torch.allclose(adapted, before, atol=1e-3)
    other = adapt(tiny(), LoraConfig(rank=3, alpha=6.0, seed=9))
    load_adapter(other, state)
    assert torch.equal(scores(other, token_BT), adapted)
    merge(model)
    assert not any(isinstance(part, LoraLinear) for part in model.modules())
    assert torch.allclose(scores(model, token_BT), adapted, atol=1e-4)


def test_only_the_factors_get_gradients() -> None:
    model = adapt(tiny(), LoraConfig(rank=2))
    model(tokens(1, 5)).square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_an_adapter_of_another_model_is_refused() -> None:
    model = adapt(tiny(), LoraConfig(rank=2))
    state = adapter_state(model)
    with pytest.raises(FormatError, match="names differ"):
        load_adapter(model, dict(list(state.items())[1:]))
    name = next(iter(state))
    with pytest.raises(FormatError, match="expects"):
        load_adapter(model, {**state, name: torch.zeros(1)})


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}, {"targets": ("head",)}])
def test_absurd_adapters_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        LoraConfig(**wrong)
    with pytest.raises(ConfigError, match="no linear layer"):
        adapt(torch.nn.Sequential(torch.nn.Linear(2, 2)), LoraConfig())


@pytest.mark.parametrize("wrong", [{"width": 30}, {"key_heads": 3}, {"layers": 0}, {"norm_epsilon": float("nan")}])
def test_sizes_that_do_not_fit_are_refused(wrong: dict) -> None:
    sizes = {"vocabulary": 9, "width": 32, "layers": 1, "heads": 4, "key_heads": 2, "hidden": 8}
    with pytest.raises(ConfigError):
        LlamaConfig(**{**sizes, **wrong})


def test_bad_tokens_are_refused() -> None:
    for token_BT in (torch.tensor([[97]]), torch.tensor([[-1]]), torch.tensor([1])):
        with pytest.raises(InputError):
            tiny()(token_BT)
    with pytest.raises(InputError):
        tiny()(torch.tensor([[1, 2]]), torch.tensor([[0]]))


def test_missing_cut_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no model file"):
        read_gguf(tmp_path / "none.gguf")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\0\0\0")
    (tmp_path / "text.gguf").write_text("hello")
    for name in ("cut.gguf", "text.gguf"):
        with pytest.raises(FormatError):
            read_gguf(tmp_path / name)
    with pytest.raises(AssetError):
        read_safetensors(tmp_path)
    write_safetensors(tmp_path, tiny())
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        read_safetensors(tmp_path)

"""Checkpoints in the layouts of others: transformers itself as the judge, and files that must be refused."""

import json
import math
import shutil
import warnings

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors", reason="safetensors is not installed: fullduplex[torch]")

import torch
from safetensors.torch import load_file, save_file

from fullduplex.base.errors import AssetError, FormatError
from fullduplex.nn.mamba.checkpoint import read_settings
from fullduplex.nn.mamba.layout import Checkpoint, config_json, key_table, read_config
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2Config
from fullduplex.ssm.pretrained import export_mamba, load_mamba, new_mamba

CHECKPOINTS = {
    "mamba": Checkpoint(layer=MambaConfig(width=32), num_layers=2, vocabulary=40),
    "mamba-bias-untied": Checkpoint(
        layer=MambaConfig(width=24, order=5, num_taps=3, step_rank=3, bias=True, conv_bias=False),
        num_layers=2, vocabulary=40, tied=False,
    ),
    "mamba2": Checkpoint(
        layer=Mamba2Config(width=32, order=16, head_width=16, num_groups=2, chunk_steps=16),
        num_layers=2, vocabulary=40, tied=False,
    ),
    "mamba2-limit-tied": Checkpoint(
        layer=Mamba2Config(width=32, order=8, head_width=8, bias=True, conv_bias=False, step_limit=(0.01, 0.05), chunk_steps=8),
        num_layers=1, vocabulary=40,
    ),
}  # fmt: skip


@pytest.fixture(params=CHECKPOINTS)
def checkpoint(request):
    return CHECKPOINTS[request.param]


def shaken(checkpoint, seed=0):
    """A model whose every parameter, gains and biases too, is far from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    model = new_mamba(checkpoint, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator) * parameter.abs().mean().clamp(min=0.1)
    return model


def tokens():
    return torch.randint(0, 40, (2, 37), generator=torch.Generator().manual_seed(5))


def logits_of(model):
    with torch.no_grad():
        return model.scan(tokens(), model.init(2))[0]


def transformers_classes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="transformers is not installed: fullduplex[peers]")


@pytest.fixture
def quiet(monkeypatch):
    transformers = transformers_classes()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield transformers


def test_transformers_reads_what_is_exported(checkpoint, tmp_path, quiet):
    model = shaken(checkpoint)
    export_mamba(model, checkpoint, tmp_path)
    theirs, report = quiet.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    with torch.no_grad():
        expected = theirs.eval()(tokens()).logits
    assert (logits_of(model) - expected).abs().max().item() <= 1e-4 * expected.abs().max().clamp(min=1).item()


def test_what_transformers_writes_is_read(checkpoint, tmp_path, quiet):
    torch.manual_seed(1)
    settings = config_json(checkpoint)
    kind = {"mamba": "Mamba", "mamba2": "Mamba2"}[settings.pop("model_type")]
    settings["time_step_limit"] = getattr(checkpoint.layer, "step_limit", (0.0, math.inf))
    settings.pop("architectures")
    theirs = getattr(quiet, f"{kind}ForCausalLM")(getattr(quiet, f"{kind}Config")(**settings)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter) * parameter.abs().mean().clamp(min=0.1)
        theirs.save_pretrained(tmp_path)
        expected = theirs(tokens()).logits
        model = load_mamba(tmp_path)
        got = logits_of(model)
        assert (got - expected).abs().max().item() <= 1e-4 * expected.abs().max().clamp(min=1).item()
        # Their cache, fed token by token, against our steps.
        cache = theirs(tokens()[:, :20], use_cache=True).cache_params
        _, state = model.scan(tokens()[:, :20], model.init(2))
        limited = getattr(checkpoint.layer, "step_limit", (0.0, math.inf)) != (0.0, math.inf)
        for t in range(20, 25):
            ids_B = tokens()[:, t]
            told = theirs(ids_B[:, None], cache_params=cache, use_cache=True)
            cache = told.cache_params
            logits, state = model.step(ids_B, state)
            # Their one-token path forgets the step limit that their whole-sequence path keeps: ours keeps it.
            wanted = expected[:, t] if limited else told.logits[:, 0]
            assert (logits - wanted).abs().max().item() <= 1e-4 * expected.abs().max().clamp(min=1).item()


def test_there_and_back_is_bit_equal(checkpoint, tmp_path):
    model = shaken(checkpoint)
    export_mamba(model, checkpoint, tmp_path)
    assert read_settings(tmp_path) == checkpoint
    loaded = load_mamba(tmp_path)
    for (name, one), (_, other) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_parts_and_torch_files_are_read(checkpoint, tmp_path):
    model = shaken(checkpoint)
    export_mamba(model, checkpoint, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    half = len(tensors) // 2
    names = list(tensors)
    parts = {"a.safetensors": names[:half], "b.safetensors": names[half:]}
    for file, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, tmp_path / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(logits_of(load_mamba(tmp_path)), logits_of(model))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(AssetError, match=r"b\.safetensors"):
        load_mamba(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert torch.equal(logits_of(load_mamba(tmp_path)), logits_of(model))


def test_the_layout_of_the_reference_code_is_read(tmp_path):
    checkpoint = Checkpoint(layer=Mamba2Config(width=32, order=16, head_width=16), num_layers=2, vocabulary=40)
    model = shaken(checkpoint)
    export_mamba(model, checkpoint, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {key.replace("backbone.embeddings.", "backbone.embedding."): tensor for key, tensor in tensors.items()}
    old["lm_head.weight"] = old["backbone.embedding.weight"].clone()
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    torch.save(old, tmp_path / "pytorch_model.bin")
    settings = {
        "d_model": 32, "n_layer": 2, "vocab_size": 37, "pad_vocab_size_multiple": 8, "rms_norm": True,
        "tie_embeddings": True, "ssm_cfg": {"layer": "Mamba2", "d_state": 16, "headdim": 16},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert torch.equal(logits_of(load_mamba(tmp_path)), logits_of(model))
    first = read_config({"d_model": 64, "n_layer": 3, "vocab_size": 50277, "ssm_cfg": {}})
    assert first == Checkpoint(layer=MambaConfig(width=64), num_layers=3, vocabulary=50280)


def test_half_precision_weights(checkpoint, tmp_path):
    model = shaken(checkpoint)
    export_mamba(model, checkpoint, tmp_path)
    half = load_mamba(tmp_path, dtype=torch.bfloat16)
    assert half.embedding_VD.dtype is torch.bfloat16
    rates = [name for name, each in half.named_parameters() if each.dtype is torch.float32]
    assert rates and all(".exact." in name for name in rates)
    export_mamba(half, checkpoint, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_mamba(tmp_path / "again").embedding_VD.dtype is torch.float32


@pytest.fixture
def folder(tmp_path):
    checkpoint = CHECKPOINTS["mamba"]
    export_mamba(shaken(checkpoint), checkpoint, tmp_path)
    return tmp_path


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def reconfigure(folder, **changes):
    settings = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        if value is None:
            del settings[key]
        else:
            settings[key] = value
    (folder / "config.json").write_text(json.dumps(settings))


def test_a_missing_key_is_named(folder):
    rewrite(folder, lambda tensors: tensors.pop("backbone.layers.1.mixer.A_log"))
    with pytest.raises(FormatError, match=r"1 missing \(backbone\.layers\.1\.mixer\.A_log\)"):
        load_mamba(folder)


def test_an_unknown_key_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update(extra=torch.zeros(1)))
    with pytest.raises(FormatError, match=r"1 unknown \(extra\)"):
        load_mamba(folder)


def test_a_wrong_shape_is_named(folder):
    rewrite(folder, lambda tensors: tensors.update({"backbone.norm_f.weight": torch.zeros(31)}))
    with pytest.raises(FormatError, match=r"backbone\.norm_f\.weight has shape \(31,\); .*\(32,\)"):
        load_mamba(folder)


def test_integers_are_refused(folder):
    rewrite(folder, lambda tensors: tensors.update({"backbone.norm_f.weight": torch.zeros(32, dtype=torch.int8)}))
    with pytest.raises(FormatError, match="int8"):
        load_mamba(folder)


def test_a_head_that_contradicts_the_settings(folder):
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(40, 32)}))
    with pytest.raises(FormatError, match="tied"):
        load_mamba(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_a_truncated_file(folder, kept):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(FormatError, match=r"model\.safetensors is truncated"):
        load_mamba(folder)


def test_rubbish_instead_of_a_torch_file(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"rubbish")
    with pytest.raises(FormatError, match=r"pytorch_model\.bin"):
        load_mamba(folder)
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(FormatError, match="named tensors"):
        load_mamba(folder)


def test_files_that_are_not_there(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match="no checkpoint in"):
        load_mamba(folder)
    (folder / "config.json").unlink()
    with pytest.raises(AssetError, match=r"config\.json"):
        load_mamba(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "gpt2"}, "'gpt2'"),
        ({"hidden_act": "relu"}, "relu"),
        ({"state_size": None}, "'state_size'"),
        ({"intermediate_size": 63}, "intermediate_size 63"),
        ({"hidden_size": "wide"}, "wrong type"),
        ({"num_hidden_layers": 3}, r"missing \(backbone\.layers\.2"),
        ({"conv_kernel": 3}, r"mixer\.conv1d\.weight has shape \(64, 1, 4\)"),
        ({"model_type": None}, "neither 'model_type'"),
    ],
)
def test_settings_that_do_not_fit(folder, changes, told):
    reconfigure(folder, **changes)
    with pytest.raises(FormatError, match=told):
        load_mamba(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"ssm_cfg": {"layer": "Mamba3"}},
        {"ssm_cfg": {}, "attn_layer_idx": [1]},
        {"ssm_cfg": {}, "rms_norm": False},
        {"ssm_cfg": {"layer": "Mamba2", "norm_before_gate": True}},
    ],
)
def test_reference_settings_without_a_counterpart(settings):
    with pytest.raises(FormatError, match=r"config\.json has"):
        read_config({"d_model": 64, "n_layer": 3, "vocab_size": 50277, **settings})


def test_settings_that_are_no_json(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        load_mamba(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(FormatError, match="expected an object"):
        load_mamba(folder)


def test_exporting_another_model_is_refused(tmp_path):
    with pytest.raises(FormatError, match="parameters differ"):
        export_mamba(shaken(CHECKPOINTS["mamba"]), CHECKPOINTS["mamba2"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_parameter_has_a_name_in_the_layout(checkpoint):
    names = set(new_mamba(checkpoint).state_dict())
    assert set(key_table(checkpoint)) == names

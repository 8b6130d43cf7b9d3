"""Llama weights from and to files: GGUF (llama.cpp's format) and the Hugging Face layout in safetensors.

Both hold the same matrices; Hugging Face files pair the first half of a head's features with the second half for rotary
positions, GGUF files pair neighbours (`rotate` in `llama`), so the rows of query and key are permuted on the way.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fullduplex.base.errors import AssetError, ConfigError, FormatError, MissingExtraError
from fullduplex.base.files import whole_file
from fullduplex.lm.engine import LAYOUT_KEY
from fullduplex.lm.gguf_files import gguf_names, layer_names, open_gguf
from fullduplex.lm.tune.llama import Llama, LlamaConfig

__all__ = ["read_gguf", "read_safetensors", "write_gguf", "write_safetensors"]

_HF_BLOCK = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "feed_norm",
    "mlp.gate_proj": "feed.gate",
    "mlp.up_proj": "feed.up",
    "mlp.down_proj": "feed.down",
}
_HF_ENDS = {"model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "output"}


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingExtraError("gguf", "tune") from None
    return gguf


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise MissingExtraError("safetensors", "tune") from None
    return safetensors.torch


def read_gguf(path: str | Path) -> Llama:
    """A model of architecture `llama` in float32, whatever its quantisation.

    Raises:
        AssetError: there is no such file. FormatError: it is no whole GGUF file, of another architecture, or lacks
        tensors. MissingExtraError: gguf is not installed.
    """
    gguf = _gguf()
    reader = open_gguf(Path(path))
    fields = {name: field for name, field in reader.fields.items() if name.startswith(("llama.", "general.arch"))}
    architecture = fields["general.architecture"].contents() if "general.architecture" in fields else "unnamed"
    if architecture != "llama":
        raise FormatError(f"{path} has architecture {architecture!r}; only 'llama' can be tuned")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    try:
        config = LlamaConfig(
            vocabulary=int(tensors["token_embd.weight"].shape[1]),
            width=int(fields["llama.embedding_length"].contents()),
            layers=int(fields["llama.block_count"].contents()),
            heads=int(fields["llama.attention.head_count"].contents()),
            key_heads=int(fields["llama.attention.head_count_kv"].contents()),
            hidden=int(fields["llama.feed_forward_length"].contents()),
            norm_epsilon=float(fields["llama.attention.layer_norm_rms_epsilon"].contents()),
            rope_base=float(fields["llama.rope.freq_base"].contents()) if "llama.rope.freq_base" in fields else 1e4,
            tied="output.weight" not in tensors,
        )
    except KeyError as error:
        raise FormatError(f"{path} lacks {error}; it is no complete Llama model") from None
    state: dict[str, Tensor] = {}
    for theirs, ours in gguf_names(config.layers).items():
        if ours == "output" and config.tied:
            continue
        tensor = tensors.get(f"{theirs}.weight")
        if tensor is None:
            raise FormatError(f"{path} lacks the tensor {theirs}.weight")
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        state[f"{ours}.weight"] = torch.from_numpy(np.array(values, np.float32))
    return _build(config, state, path)


def _build(config: LlamaConfig, state: dict[str, Tensor], path: str | Path) -> Llama:
    with torch.device("meta"):
        model = Llama(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise FormatError(f"{path} does not hold a Llama model of its own sizes: {error}") from None
    return model


def write_gguf(
    path: str | Path,
    model: Llama,
    like: str | Path,
    kind: Literal["q8_0", "f16", "f32"] = "q8_0",
    *,
    layout: Literal["merged", "pairs"] = "merged",
) -> None:
    """Write `model` for llama.cpp, with tokenizer and metadata of the file `like`; atomically.

    Norms stay float32. `layout` "pairs" marks a model that was taught time slices, so that the time-division policy
    speaks to it in slices (`fullduplex.lm.engine.LAYOUT_KEY`). Raises as `read_gguf`; `ConfigError` for an unknown kind.
    """
    gguf = _gguf()
    kinds = {"q8_0": "Q8_0", "f16": "F16", "f32": "F32"}
    if kind not in kinds:
        raise ConfigError(f"kind is {kind!r}; expected one of {', '.join(kinds)}")
    wanted = gguf.GGMLQuantizationType[kinds[kind]]
    reader = open_gguf(Path(like))
    writer = gguf.GGUFWriter(None, "llama")
    kept = ("GGUF.", "general.architecture", "general.file_type", LAYOUT_KEY)
    for name, field in reader.fields.items():
        if not name.startswith(kept):
            writer.add_key_value(
                name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None
            )
    writer.add_string(LAYOUT_KEY, layout)
    writer.add_file_type(int(gguf.LlamaFileType[f"MOSTLY_{kinds[kind]}" if kind != "f32" else "ALL_F32"]))
    state = model.state_dict()
    for theirs, ours in gguf_names(model.config.layers).items():
        if f"{ours}.weight" not in state:
            continue
        values = state[f"{ours}.weight"].detach().cpu().float().numpy()
        used = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else wanted
        packed = gguf.quantize(values, used)
        writer.add_tensor(f"{theirs}.weight", packed, raw_dtype=used)
    with whole_file(Path(path)) as partial:
        writer.write_header_to_file(partial)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _permuted(weight: Tensor, heads: int, *, to_gguf: bool) -> Tensor:
    """Rows of a query or key matrix in the other file's order."""
    half = weight.shape[0] // heads // 2
    shape = (2, half) if to_gguf else (half, 2)
    return weight.unflatten(0, (heads, *shape)).transpose(1, 2).reshape(weight.shape)


def _rows(name: str, config: LlamaConfig) -> int | None:
    return {"query": config.heads, "key": config.key_heads}.get(name.rpartition(".")[2])


def read_safetensors(folder: str | Path) -> Llama:
    """A Hugging Face Llama: config.json and model.safetensors in `folder`, float32.

    Raises:
        AssetError: a file is missing. FormatError: it is damaged, of another architecture, or lacks tensors.
    """
    library = _safetensors()
    folder = Path(folder)
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = library.load_file(folder / "model.safetensors")
    except OSError as error:
        raise AssetError(f"{folder} holds no model: {error}") from None
    except Exception as error:  # noqa: BLE001 - safetensors has its own error class, json another
        raise FormatError(f"{folder} holds a damaged model: {error}") from None
    if told.get("model_type") != "llama":
        raise FormatError(f"{folder} has model_type {told.get('model_type')!r}; only 'llama' can be tuned")
    rope = told.get("rope_parameters") or {}
    try:
        config = LlamaConfig(
            vocabulary=told["vocab_size"],
            width=told["hidden_size"],
            layers=told["num_hidden_layers"],
            heads=told["num_attention_heads"],
            key_heads=told.get("num_key_value_heads") or told["num_attention_heads"],
            hidden=told["intermediate_size"],
            norm_epsilon=told["rms_norm_eps"],
            rope_base=told.get("rope_theta") or rope.get("rope_theta") or 1e4,
            tied=bool(told.get("tie_word_embeddings", False)),
        )
    except KeyError as error:
        raise FormatError(f"{folder}/config.json lacks {error}") from None
    renamed: dict[str, Tensor] = {}
    for theirs, ours in layer_names(config.layers, _HF_ENDS, _HF_BLOCK, "model.layers").items():
        if ours == "output" and config.tied:
            continue
        if f"{theirs}.weight" not in state:
            raise FormatError(f"{folder} lacks the tensor {theirs}.weight")
        weight = state[f"{theirs}.weight"].float()
        heads = _rows(ours, config)
        renamed[f"{ours}.weight"] = weight if heads is None else _permuted(weight, heads, to_gguf=True)
    return _build(config, renamed, folder)


def write_safetensors(folder: str | Path, model: Llama) -> None:
    """Write the Hugging Face layout, so that `transformers` and everything built on it can load the model."""
    library = _safetensors()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config, state = model.config, model.state_dict()
    renamed: dict[str, Tensor] = {}
    for theirs, ours in layer_names(config.layers, _HF_ENDS, _HF_BLOCK, "model.layers").items():
        if f"{ours}.weight" in state:
            weight = state[f"{ours}.weight"].detach().cpu()
            heads = _rows(ours, config)
            fitted = weight if heads is None else _permuted(weight, heads, to_gguf=False)
            renamed[f"{theirs}.weight"] = fitted.contiguous()
    with whole_file(folder / "model.safetensors") as partial:
        library.save_file(renamed, partial, metadata={"format": "pt"})
    told = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_heads,
        "intermediate_size": config.hidden,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_base,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "torch_dtype": str(next(iter(renamed.values())).dtype).removeprefix("torch."),
    }
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

"""Checkpoint folders of Mamba language models: config.json beside safetensors or a torch file.

Tensors are checked one by one against what the settings ask for, before any of them is used; an error names the key as it
stands in the file.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from fullduplex.base.errors import AssetError, FormatError, MissingExtraError
from fullduplex.base.files import whole_file
from fullduplex.nn.mamba.layout import Checkpoint, config_json, key_table, read_config

__all__ = ["fit_tensors", "read_checkpoint", "read_settings", "read_tensors", "write_checkpoint"]

_INDEX, _WHOLE, _TORCH = "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin"


def read_checkpoint(folder: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names.

    Args:
        folder: where config.json and the tensors are.
        shapes: of our parameters, by name; what `state_dict` of a model built from `read_settings` says.

    Raises:
        AssetError: a file is not there.
        FormatError: see `read_settings`, `read_tensors` and `fit_tensors`.
    """
    return fit_tensors(read_tensors(folder), read_settings(folder), shapes)


def read_settings(folder: Path) -> Checkpoint:
    """What config.json in `folder` says.

    Raises:
        AssetError: it is not there.
        FormatError: it is not JSON, or `read_config` refuses it.
    """
    settings = _read_json(folder / "config.json")
    try:
        return read_config(settings)
    except TypeError as error:
        raise FormatError(f"config.json has a setting of the wrong type: {error}") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint under the file's own names: safetensors, whole or in parts, else pytorch_model.bin.

    Raises:
        AssetError: none of the files is there, or a part is missing.
        FormatError: a file is truncated, damaged or of another kind.
    """
    if (folder / _INDEX).is_file():
        parts = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(parts, dict):
            raise FormatError(f"{_INDEX} has no 'weight_map'; expected the index of a checkpoint in parts")
        files = sorted(set(cast("dict[str, str]", parts).values()))
        return {key: tensor for file in files for key, tensor in _read_safetensors(folder / file).items()}
    if (folder / _WHOLE).is_file():
        return _read_safetensors(folder / _WHOLE)
    if (folder / _TORCH).is_file():
        try:
            found = torch.load(folder / _TORCH, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
            raise FormatError(f"{_TORCH} is truncated, damaged or not plain tensors: {error}") from error
        if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
            raise FormatError(f"{_TORCH} holds something other than named tensors")
        return found
    raise AssetError(f"no checkpoint in {folder.name}: expected {_WHOLE}, {_INDEX} or {_TORCH} beside config.json")


def fit_tensors(
    found: Mapping[str, Tensor], checkpoint: Checkpoint, shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """Tensors under our names and in our shapes, views where nothing changes.

    Args:
        found: by name, in either layout.
        checkpoint: settings.
        shapes: of our parameters.

    Raises:
        FormatError: a key is missing, unknown, or of the wrong shape.
    """
    table = key_table(checkpoint)
    theirs = {key.replace("backbone.embedding.", "backbone.embeddings."): tensor for key, tensor in found.items()}
    # A tied head is often written out all the same: it is the embedding once more.
    head = theirs.pop("lm_head.weight", None) if checkpoint.tied else None
    missing = sorted(set(table.values()) - set(theirs))
    unknown = sorted(set(theirs) - set(table.values()))
    if missing or unknown:
        told = [
            f"{len(keys)} {what} ({', '.join(keys[:3])})"
            for keys, what in ((missing, "missing"), (unknown, "unknown"))
            if keys
        ]
        raise FormatError(f"the checkpoint does not fit its config.json: {'; '.join(told)}")
    if head is not None and not torch.equal(head, theirs["backbone.embeddings.weight"]):
        raise FormatError("lm_head.weight differs from the embedding, but config.json says that they are tied")
    fitted: dict[str, Tensor] = {}
    for ours, key in table.items():
        tensor = theirs[key]
        # Their convolution has an axis for the one input channel of each output channel.
        turned = tensor.squeeze(1) if key.endswith("conv1d.weight") and tensor.ndim == 3 else tensor
        if turned.shape != shapes[ours]:
            raise FormatError(f"{key} has shape {tuple(tensor.shape)}; config.json asks for {tuple(shapes[ours])}")
        if not tensor.is_floating_point():
            raise FormatError(f"{key} is {tensor.dtype}; expected floating point")
        fitted[ours] = turned
    return fitted


def write_checkpoint(folder: Path, checkpoint: Checkpoint, parameters: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors in the transformers layout.

    Args:
        folder: made when absent; files of these names are replaced.
        checkpoint: settings.
        parameters: by our names.
    """
    table = key_table(checkpoint)
    tensors = {}
    for ours, key in table.items():
        tensor = parameters[ours].detach().cpu()
        tensors[key] = (tensor.unsqueeze(1) if key.endswith("conv1d.weight") else tensor).contiguous().clone()
    folder.mkdir(parents=True, exist_ok=True)
    safetensors = _safetensors()
    with whole_file(folder / _WHOLE) as neighbour:
        safetensors.save_file(tensors, neighbour, metadata={"format": "pt"})
    dtype = str(parameters["embedding_VD"].dtype).removeprefix("torch.")
    settings = json.dumps(config_json(checkpoint) | {"dtype": dtype}, indent=2)
    (folder / "config.json").write_text(settings + "\n", encoding="utf-8")


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError("safetensors", "torch") from error
    return safetensors.torch


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    safetensors = _safetensors()
    if not path.is_file():
        raise AssetError(f"{path.name} is not beside config.json; the checkpoint is incomplete: fetch it again")
    from safetensors import SafetensorError

    try:
        return safetensors.load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{path.name} is truncated, damaged or not safetensors: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AssetError(f"{path.name} is not in {path.parent.name}; expected the folder of a checkpoint")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path.name} holds a {type(found).__name__}; expected an object")
    return found

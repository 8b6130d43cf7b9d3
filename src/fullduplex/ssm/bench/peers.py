"""The peers with our weights: what a layer is compared with must compute the same numbers."""

import importlib
import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from fullduplex.base.errors import MissingExtraError
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.ssm.language import LanguageModel
from fullduplex.ssm.pretrained import export_mamba

__all__ = ["as_mambapy", "as_transformers", "has_peer"]


def has_peer(name: str) -> bool:
    """Whether the peer is installed."""
    return importlib.util.find_spec(name) is not None


def as_transformers(model: LanguageModel, checkpoint: Checkpoint) -> Any:
    """transformers' model of the same weights, through a checkpoint folder.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    if not has_peer("transformers"):
        raise MissingExtraError("transformers", "peers")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        transformers: Any = importlib.import_module("transformers")
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        export_mamba(model, checkpoint, Path(folder))
        return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def as_mambapy(model: LanguageModel, checkpoint: Checkpoint) -> Any:
    """mambapy's stack of Mamba blocks with the same weights; it has neither embedding nor last norm.

    Raises:
        MissingExtraError: mambapy is not installed.
    """
    if not has_peer("mambapy"):
        raise MissingExtraError("mambapy", "peers")
    theirs: Any = importlib.import_module("mambapy.mamba")
    layer = checkpoint.layer
    peer = theirs.Mamba(
        theirs.MambaConfig(
            d_model=layer.width, n_layers=checkpoint.num_layers, d_state=layer.order, d_conv=layer.num_taps,
            expand_factor=layer.expand, rms_norm_eps=checkpoint.epsilon,
        )
    )  # fmt: skip
    ours = model.state_dict()
    names = {
        "norm.weight": "norm.gain",
        "mixer.in_proj.weight": "inner.in_proj.weight",
        "mixer.conv1d.weight": "inner.conv_weight_EK",
        "mixer.conv1d.bias": "inner.conv_bias_E",
        "mixer.x_proj.weight": "inner.x_proj.weight",
        "mixer.dt_proj.weight": "inner.dt_weight_ER",
        "mixer.dt_proj.bias": "inner.exact.bias",
        "mixer.A_log": "inner.exact.log_rate",
        "mixer.D": "inner.exact.skip",
        "mixer.out_proj.weight": "inner.out_proj.weight",
    }
    weights: dict[str, torch.Tensor] = {}
    for index in range(checkpoint.num_layers):
        for theirs, name in names.items():
            tensor = ours[f"layers.layers.{index}.{name}"]
            weights[f"layers.{index}.{theirs}"] = tensor.unsqueeze(1) if "conv1d.weight" in theirs else tensor
    peer.load_state_dict(weights)
    return peer.eval()

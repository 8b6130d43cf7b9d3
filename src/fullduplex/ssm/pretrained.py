"""Mamba language models: new ones, and those of others' checkpoint folders, both ways.

The layout is that of transformers' `MambaForCausalLM` and `Mamba2ForCausalLM`; the reference code's key names and
config.json are read too. See `fullduplex.nn.mamba.layout`.
"""

import math
from pathlib import Path

import torch

from fullduplex.base.errors import FormatError
from fullduplex.nn.mamba.checkpoint import read_checkpoint, read_settings, write_checkpoint
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import Mamba, MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2
from fullduplex.ssm.language import LanguageModel

__all__ = ["export_mamba", "load_mamba", "new_mamba"]


def new_mamba(checkpoint: Checkpoint, *, generator: torch.Generator | None = None) -> LanguageModel:
    """A language model with fresh weights.

    The projections back into the residual are divided by the square root of the number of layers, as in the reference
    code, so that the sum of many layers starts as large as one.

    Args:
        checkpoint: what it is made of.
        generator: source of the initial weights.
    """
    mixers: list[Mamba | Mamba2] = []
    for _ in range(checkpoint.num_layers):
        layer = checkpoint.layer
        made = (
            Mamba(layer, generator=generator) if isinstance(layer, MambaConfig) else Mamba2(layer, generator=generator)
        )
        with torch.no_grad():
            made.out_proj.weight.div_(math.sqrt(checkpoint.num_layers))
        mixers.append(made)
    return LanguageModel(
        mixers,
        vocabulary=checkpoint.vocabulary,
        width=checkpoint.layer.width,
        tied=checkpoint.tied,
        epsilon=checkpoint.epsilon,
        generator=generator,
    )


def load_mamba(folder: Path, *, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """The language model of a checkpoint folder.

    Args:
        folder: config.json with model.safetensors (or its parts, or pytorch_model.bin) beside it.
        dtype: precision of the weights; rates and what else a state depends on stay in float32 at least.

    Raises:
        AssetError: a file is not there.
        FormatError: another kind of model, a damaged file, or keys or shapes that do not fit; the message names them.
    """
    model = new_mamba(read_settings(folder))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    model.load_state_dict(read_checkpoint(folder, shapes))
    return model.to(dtype)


def export_mamba(model: LanguageModel, checkpoint: Checkpoint, folder: Path) -> None:
    """Write a model so that transformers and `load_mamba` read it.

    Args:
        model: of Mamba or Mamba-2 layers.
        checkpoint: what it is made of.
        folder: made when absent; files of these names are replaced.

    Raises:
        FormatError: `checkpoint` describes another model.
    """
    wanted = {name: tensor.shape for name, tensor in new_mamba(checkpoint).state_dict().items()}
    found = model.state_dict()
    wrong = sorted(
        name for name in wanted.keys() | found.keys() if name not in found or found[name].shape != wanted.get(name)
    )
    if wrong:
        raise FormatError(
            f"the model is not what the settings describe: {len(wrong)} parameters differ, first {wrong[0]}"
        )
    write_checkpoint(folder, checkpoint, found)

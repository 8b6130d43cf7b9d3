"""The checkpoint layouts of Mamba language models, as data: names, shapes and settings of others beside ours.

Two layouts are read, one is written:

    transformers    `MambaForCausalLM`, `Mamba2ForCausalLM`: config.json with `model_type`, backbone.embeddings.weight
    mamba-ssm       the reference code: config.json with `d_model` and `ssm_cfg`, backbone.embedding.weight

Below `backbone.layers.<i>` both use the same names. Everything here is a function of plain values; files are read and
written in `checkpoint.py`.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fullduplex.base.errors import FormatError
from fullduplex.nn.mamba.exact import StepStart
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2Config

__all__ = ["Checkpoint", "config_json", "key_table", "read_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint's config.json says.

    Args:
        layer: of every layer.
        num_layers: how many.
        vocabulary: rows of the embedding.
        tied: whether the head is the embedding.
        epsilon: of the normalisations.
    """

    layer: MambaConfig | Mamba2Config
    num_layers: int
    vocabulary: int
    tied: bool = True
    epsilon: float = 1e-5


_LAYER = {
    "norm.gain": "norm.weight",
    "inner.in_proj.weight": "mixer.in_proj.weight",
    "inner.out_proj.weight": "mixer.out_proj.weight",
    "inner.exact.log_rate": "mixer.A_log",
    "inner.exact.skip": "mixer.D",
}
_BIAS = {"inner.in_proj.bias": "mixer.in_proj.bias", "inner.out_proj.bias": "mixer.out_proj.bias"}
_MAMBA = {
    "inner.conv_weight_EK": "mixer.conv1d.weight",
    "inner.x_proj.weight": "mixer.x_proj.weight",
    "inner.dt_weight_ER": "mixer.dt_proj.weight",
    "inner.exact.bias": "mixer.dt_proj.bias",
}
_MAMBA2 = {
    "inner.conv_weight_CK": "mixer.conv1d.weight",
    "inner.exact.bias": "mixer.dt_bias",
    "inner.norm_gain_E": "mixer.norm.weight",
}


def key_table(checkpoint: Checkpoint) -> dict[str, str]:
    """Our parameter names of a language model, each with its name in the transformers layout."""
    second = isinstance(checkpoint.layer, Mamba2Config)
    layer = _LAYER | (_MAMBA2 if second else _MAMBA) | (_BIAS if checkpoint.layer.bias else {})
    if checkpoint.layer.conv_bias:
        layer |= {f"inner.conv_bias_{'C' if second else 'E'}": "mixer.conv1d.bias"}
    table = {"embedding_VD": "backbone.embeddings.weight", "norm.gain": "backbone.norm_f.weight"}
    for index in range(checkpoint.num_layers):
        table |= {
            f"layers.layers.{index}.{ours}": f"backbone.layers.{index}.{theirs}" for ours, theirs in layer.items()
        }
    return table if checkpoint.tied else table | {"head_VD": "lm_head.weight"}


def read_config(settings: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint's settings from its config.json, in either layout.

    Raises:
        FormatError: another kind of model, a setting this code has no counterpart for, or one that is missing.
    """
    try:
        if "model_type" in settings:
            return _from_transformers(settings)
        if "d_model" in settings and "ssm_cfg" in settings:
            return _from_reference(settings)
    except KeyError as error:
        near = difflib.get_close_matches(str(error.args[0]), list(settings), n=1)
        hint = f"; it has {near[0]!r}" if near else ""
        raise FormatError(f"config.json has no {error.args[0]!r}{hint}; expected a Mamba or Mamba2 model") from error
    raise FormatError("config.json has neither 'model_type' nor 'd_model' and 'ssm_cfg'; expected a Mamba model")


def config_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """The transformers config.json of a checkpoint."""
    layer = checkpoint.layer
    settings: dict[str, Any] = {
        "vocab_size": checkpoint.vocabulary,
        "hidden_size": layer.width,
        "num_hidden_layers": checkpoint.num_layers,
        "state_size": layer.order,
        "expand": layer.expand,
        "conv_kernel": layer.num_taps,
        "use_bias": layer.bias,
        "use_conv_bias": layer.conv_bias,
        "hidden_act": "silu",
        "layer_norm_epsilon": checkpoint.epsilon,
        "time_step_min": layer.step_start.shortest,
        "time_step_max": layer.step_start.longest,
        "time_step_floor": layer.step_start.floor,
        "residual_in_fp32": True,
        "tie_word_embeddings": checkpoint.tied,
    }
    if isinstance(layer, MambaConfig):
        return {
            "model_type": "mamba",
            "architectures": ["MambaForCausalLM"],
            "time_step_rank": layer.rank,
            "intermediate_size": layer.inner,
            **settings,
        }
    return {
        "model_type": "mamba2",
        "architectures": ["Mamba2ForCausalLM"],
        "num_heads": layer.num_heads,
        "head_dim": layer.head_width,
        "n_groups": layer.num_groups,
        "chunk_size": layer.chunk_steps,
        "time_step_limit": [{"__float__": "Infinity"} if each == math.inf else each for each in layer.step_limit],
        **settings,
    }


def _from_transformers(settings: Mapping[str, Any]) -> Checkpoint:
    kind = settings["model_type"]
    if kind not in ("mamba", "mamba2"):
        raise FormatError(f"config.json is of a {kind!r} model; expected 'mamba' or 'mamba2'")
    if settings.get("hidden_act", "silu") not in ("silu", "swish"):
        raise FormatError(f"config.json has hidden_act {settings['hidden_act']!r}; expected 'silu'")
    width, epsilon = settings["hidden_size"], settings.get("layer_norm_epsilon", 1e-5)
    start = StepStart(
        shortest=settings.get("time_step_min", 1e-3),
        longest=settings.get("time_step_max", 1e-1),
        floor=settings.get("time_step_floor", 1e-4),
    )
    shared: dict[str, Any] = {
        "width": width,
        "order": settings["state_size"],
        "expand": settings.get("expand", 2),
        "num_taps": settings.get("conv_kernel", 4),
        "bias": settings.get("use_bias", False),
        "conv_bias": settings.get("use_conv_bias", True),
        "step_start": start,
    }
    if kind == "mamba":
        layer = MambaConfig(**shared, step_rank=_rank(settings.get("time_step_rank", "auto"), width))
        _same("intermediate_size", settings.get("intermediate_size", layer.inner), layer.inner)
    else:
        layer = Mamba2Config(
            **shared,
            head_width=settings["head_dim"],
            num_groups=settings["n_groups"],
            chunk_steps=settings.get("chunk_size", 256),
            step_limit=_limit(settings.get("time_step_limit", (0.0, math.inf))),
            epsilon=epsilon,
        )
        _same("num_heads", settings["num_heads"], layer.num_heads)
    return Checkpoint(
        layer=layer,
        num_layers=settings["num_hidden_layers"],
        vocabulary=settings["vocab_size"],
        # The defaults of the two classes differ, and a file need not write a default down.
        tied=settings.get("tie_word_embeddings", kind == "mamba"),
        epsilon=epsilon,
    )


def _from_reference(settings: Mapping[str, Any]) -> Checkpoint:
    inner: Mapping[str, Any] = settings["ssm_cfg"]
    if settings.get("attn_layer_idx") or settings.get("d_intermediate"):
        raise FormatError("config.json has attention or MLP layers between Mamba layers; expected Mamba layers only")
    if settings.get("rms_norm", True) is not True:
        raise FormatError("config.json has rms_norm false; expected RMS normalisation")
    multiple = settings.get("pad_vocab_size_multiple", 8)
    kind, width = inner.get("layer", "Mamba1"), settings["d_model"]
    start = StepStart(
        shortest=inner.get("dt_min", 1e-3), longest=inner.get("dt_max", 1e-1), floor=inner.get("dt_init_floor", 1e-4)
    )
    shared: dict[str, Any] = {
        "width": width,
        "expand": inner.get("expand", 2),
        "num_taps": inner.get("d_conv", 4),
        "bias": inner.get("bias", False),
        "conv_bias": inner.get("conv_bias", True),
        "step_start": start,
    }
    if kind == "Mamba1":
        rank = _rank(inner.get("dt_rank", "auto"), width)
        layer = MambaConfig(**shared, order=inner.get("d_state", 16), step_rank=rank)
    elif kind == "Mamba2":
        if inner.get("norm_before_gate", False) or not inner.get("rmsnorm", True):
            raise FormatError("config.json has no gated norm, or one in front of the gate; expected norm after gate")
        layer = Mamba2Config(
            **shared,
            order=inner.get("d_state", 128),
            head_width=inner.get("headdim", 64),
            num_groups=inner.get("ngroups", 1),
            chunk_steps=inner.get("chunk_size", 256),
            step_limit=_limit(inner.get("dt_limit", (0.0, math.inf))),
        )
    else:
        raise FormatError(f"config.json has layers {kind!r}; expected 'Mamba1' or 'Mamba2'")
    return Checkpoint(
        layer=layer,
        num_layers=settings["n_layer"],
        vocabulary=-(-settings["vocab_size"] // multiple) * multiple,
        tied=settings.get("tie_embeddings", True),
    )


def _rank(told: Any, width: int) -> int | None:
    """None where the file says "auto", or the number that "auto" stands for."""
    return None if told in ("auto", math.ceil(width / 16)) else told


def _limit(pair: Any) -> tuple[float, float]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise FormatError(f"config.json has the step limit {pair!r}; expected two numbers")
    # JSON has no infinity; transformers writes {"__float__": "Infinity"}.
    low, high = (each["__float__"] if isinstance(each, dict) else each for each in pair)
    return float(low), float(high)


def _same(name: str, told: object, derived: int) -> None:
    if told != derived:
        raise FormatError(f"config.json has {name} {told!r}, but its other sizes give {derived}")

"""Mamba and Mamba-2 models beside transformers and mambapy: a prompt, a token, a training step.

Every peer has our weights, and its outputs are compared with ours before anything is timed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fullduplex.base.errors import InputError
from fullduplex.nn.mamba.layout import Checkpoint
from fullduplex.nn.mamba.mamba1 import MambaConfig
from fullduplex.nn.mamba.mamba2 import Mamba2Config
from fullduplex.nn.state import Stateless
from fullduplex.ssm.bench.peers import as_mambapy, as_transformers, has_peer
from fullduplex.ssm.bench.timing import Floors, Timing, take_turns
from fullduplex.ssm.language import LanguageModel
from fullduplex.ssm.pretrained import new_mamba

__all__ = ["Comparison", "ModelSizes", "compare_models"]

_SAME = 1e-3  # largest difference of outputs over the largest output, float32 through the whole model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """What is measured; the defaults are those of the published comparison.

    Args:
        width: features.
        num_layers: how many.
        num_steps: length of a prompt.
        num_training_steps: length of a training sequence.
        repeats: turns of a prompt; tokens get twice as many of twenty each, training a third.
    """

    width: int = 256
    num_layers: int = 4
    num_steps: int = 1024
    num_training_steps: int = 1024
    repeats: int = 5

    def __post_init__(self) -> None:
        if min(self.width, self.num_layers, self.num_steps, self.num_training_steps, self.repeats) < 1:
            raise InputError(f"ModelSizes got {self}; expected all 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One thing measured.

    Args:
        name: what.
        timings: ours first, then each peer's by name.
        floor_ms: see `Floors`.
        note: what the floor counts.
    """

    name: str
    timings: dict[str, Timing]
    floor_ms: float
    note: str = ""
    skipped: tuple[str, ...] = field(default=())


def compare_models(
    sizes: ModelSizes, floors: Floors, generator: torch.Generator, progress: Callable[[str], None]
) -> list[Comparison]:
    """All comparisons of whole models.

    Args:
        sizes: what to measure.
        floors: of this machine.
        generator: source of weights and tokens.
        progress: told the name of what comes next.

    Raises:
        InputError: a peer with our weights gives other numbers.
    """
    first = Checkpoint(layer=MambaConfig(width=sizes.width), num_layers=sizes.num_layers, vocabulary=512)
    layer = Mamba2Config(width=sizes.width, order=64, head_width=min(64, sizes.width))
    second = Checkpoint(layer=layer, num_layers=sizes.num_layers, vocabulary=512)
    found: list[Comparison] = []
    for name, checkpoint in (("mamba", first), ("mamba2", second)):
        model = new_mamba(checkpoint, generator=generator).eval()
        ids = torch.randint(0, checkpoint.vocabulary, (1, sizes.num_steps), generator=generator)
        peers: dict[str, Any] = {}
        if has_peer("transformers"):
            peers["transformers"] = as_transformers(model, checkpoint)
        if has_peer("mambapy") and name == "mamba":
            peers["mambapy"] = as_mambapy(model, checkpoint)
        wanted = ("transformers", "mambapy") if name == "mamba" else ("transformers",)
        skipped = tuple(peer for peer in wanted if peer not in peers)
        for what, compare in (("prefill", _prefill), ("step", _step), ("training", _training)):
            progress(f"{name} {what}")
            found.append(compare(f"{name} {what}", model, peers, ids, sizes, floors, skipped))
    return found


def _weights(model: LanguageModel) -> int:
    """Numbers that every token is multiplied with."""
    return sum(parameter.numel() for parameter in model.layers.parameters() if parameter.ndim >= 2)


@torch.no_grad()
def _prefill(
    name: str,
    model: LanguageModel,
    peers: dict[str, Any],
    ids: Tensor,
    sizes: ModelSizes,
    floors: Floors,
    skipped: tuple[str, ...],
) -> Comparison:
    runs: dict[str, Callable[[], Tensor]] = {"fullduplex": lambda: model.features(ids, model.init(1))[0]}
    if "transformers" in peers:
        backbone = peers["transformers"].backbone
        runs["transformers"] = lambda: backbone(ids, use_cache=False).last_hidden_state
        _same(name, runs["fullduplex"](), runs["transformers"]())
    if "mambapy" in peers:
        embedded = torch.nn.functional.embedding(ids, model.embedding_VD)
        # It has no last norm: it gets ours, so that all do the same work.
        runs["mambapy"] = lambda: model.norm.scan(peers["mambapy"](embedded), Stateless())[0]
        _same(name, runs["fullduplex"](), runs["mambapy"]())
    floor_ms = floors.time_ms(flop=2 * _weights(model) * ids.shape[1])
    timings = take_turns(runs, sizes.repeats)
    return Comparison(name=name, timings=timings, floor_ms=floor_ms, note="matrix products", skipped=skipped)


@torch.no_grad()
def _step(
    name: str,
    model: LanguageModel,
    peers: dict[str, Any],
    ids: Tensor,
    sizes: ModelSizes,
    floors: Floors,
    skipped: tuple[str, ...],
) -> Comparison:
    prompt, token = ids[:, :8], ids[:, 8]
    _, state = model.scan(prompt, model.init(1))
    runs: dict[str, Callable[[], Tensor]] = {"fullduplex": lambda: model.step(token, state)[0]}
    if "transformers" in peers:
        theirs = peers["transformers"]
        cache = theirs(prompt, use_cache=True).cache_params
        # Its versions differ in what they call it.
        keyword = "cache" if "cache" in inspect.signature(theirs.forward).parameters else "cache_params"
        runs["transformers"] = lambda: theirs(token[:, None], use_cache=True, **{keyword: cache}).logits
        _same(name, runs["fullduplex"](), runs["transformers"]()[:, 0])
    if "mambapy" in peers:
        config = peers["mambapy"].config
        past = torch.zeros(1, config.d_inner, config.d_conv - 1)
        caches = [(None, past) for _ in range(config.n_layers)]
        read = model.embedding_VD.T

        def step() -> Tensor:
            # It has neither embedding nor norm nor head: it gets ours, so that all do the same work.
            y_BD = peers["mambapy"].step(model.embedding_VD[token], list(caches))[0]
            return model.norm.step(y_BD, Stateless())[0] @ read

        runs["mambapy"] = step
        _same(name, model.step(token, model.init(1))[0], step())
    floor_ms = floors.time_ms(num_bytes=4 * (_weights(model) + model.embedding_VD.numel()))
    timings = take_turns(runs, 2 * sizes.repeats, run_times=20)
    return Comparison(name=name, timings=timings, floor_ms=floor_ms, note="reading the weights once", skipped=skipped)


def _training(
    name: str,
    model: LanguageModel,
    peers: dict[str, Any],
    ids: Tensor,
    sizes: ModelSizes,
    floors: Floors,
    skipped: tuple[str, ...],
) -> Comparison:
    ids = ids[:, : sizes.num_training_steps]
    embedded = torch.nn.functional.embedding(ids, model.embedding_VD).detach()

    def train(stack: torch.nn.Module, run: Callable[[], Tensor]) -> Tensor:
        stack.zero_grad(set_to_none=True)
        loss = run().square().mean()
        loss.backward()
        return loss.detach()

    runs: dict[str, Callable[[], Tensor]] = {
        "fullduplex": lambda: train(model.layers, lambda: model.layers.scan(embedded, model.init(1))[0])
    }
    if "mambapy" in peers:
        peer = peers["mambapy"]
        runs["mambapy"] = lambda: train(peer, lambda: peer(embedded))
        _same(name, runs["fullduplex"](), runs["mambapy"]())
    elif "transformers" in peers:
        backbone = peers["transformers"].backbone
        runs["transformers"] = lambda: train(backbone, lambda: backbone(ids, use_cache=False).last_hidden_state)
    floor_ms = floors.time_ms(flop=6 * _weights(model) * ids.shape[1])
    timings = take_turns(runs, max(1, sizes.repeats // 3))
    return Comparison(
        name=name, timings=timings, floor_ms=floor_ms, note="matrix products, three times", skipped=skipped
    )


def _same(name: str, ours: Tensor, theirs: Tensor) -> None:
    error = ((ours - theirs).abs().max() / ours.abs().max()).item()
    if not error <= _SAME:
        raise InputError(f"{name}: a peer with our weights differs by {error:.1e} of the largest output")

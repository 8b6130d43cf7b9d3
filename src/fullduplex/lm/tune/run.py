"""One fine-tuning run, read from top to bottom: rows, adapter, loop, files.

What a run leaves in its folder: `checkpoint` (to resume), `log.jsonl` (a line a report), `adapter.safetensors` (the
factors, float16) or, when all weights are trained, `model.safetensors`, and `manifest.json` (what was trained on what).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from fullduplex.base.chat import Message
from fullduplex.base.errors import AssetError, ConfigError, FormatError, InputError, MissingExtraError
from fullduplex.base.files import whole_file
from fullduplex.base.slices import IDLE
from fullduplex.lm.tune.examples import Example, LayoutConfig, Rows, Tokenize, example_of, pack
from fullduplex.lm.tune.llama import Llama
from fullduplex.lm.tune.lora import LoraConfig, adapt, adapter_state, load_adapter, merge
from fullduplex.lm.tune.objective import LanguageModel, slice_figures, slice_loss
from fullduplex.lm.tune.weights import write_safetensors
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = [
    "TuneConfig",
    "examples_of",
    "held_out_figures",
    "merged",
    "read_adapter",
    "safetensors_library",
    "tune",
    "write_adapter",
]

_ADAPTER = "adapter.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """How to tune.

    `mode`: `"lora"` or `"full"`. `precision`: of the frozen weights; `"bfloat16"` is about twice as fast where the
    processor has such instructions. `decay_fraction`, `warmup_fraction`: of the steps, of Warmup-Stable-Decay
    (2406.15718 trains so, with a peak of 1e-3 for all weights). `start`: an adapter of an earlier run to begin with, of the
    same rank and matrices.

    Raises:
        ConfigError: a number is out of range.
    """

    num_steps: int = 300
    batch_rows: int = 4
    peak_lr: float = 1e-3
    warmup_fraction: float = 0.03
    decay_fraction: float = 0.3
    mode: Literal["lora", "full"] = "lora"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    lora: LoraConfig = field(default_factory=LoraConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    weight_decay: float = 0.0
    evaluate_every_steps: int = 50
    checkpoint_every_steps: int = 25
    seed: int = 0
    start: Path | None = None

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.batch_rows < 1:
            raise ConfigError(f"num_steps is {self.num_steps} and batch_rows {self.batch_rows}; expected 1 or more")
        if not (0 <= self.warmup_fraction <= 1 and 0 <= self.decay_fraction <= 1):
            raise ConfigError("warmup_fraction and decay_fraction must be within 0 to 1")
        if self.mode not in ("lora", "full") or self.precision not in ("bfloat16", "float32"):
            raise ConfigError(f"mode {self.mode!r} or precision {self.precision!r} is not known")

    @property
    def loop(self) -> TrainConfig:
        """The same, as the training loop wants it."""
        return TrainConfig(
            num_steps=self.num_steps,
            peak_lr=self.peak_lr,
            seed=self.seed,
            weight_decay=self.weight_decay,
            evaluate_every_steps=self.evaluate_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
            schedule=ScheduleConfig(
                kind="wsd",
                warmup_steps=max(1, round(self.warmup_fraction * self.num_steps)),
                decay_steps=max(1, round(self.decay_fraction * self.num_steps)),
            ),
        )


def examples_of(conversations: Sequence[Sequence[Message]], tokenize: Tokenize, layout: LayoutConfig) -> list[Example]:
    """All conversations as examples. Raises `InputError`, which numbers the conversation, as `example_of`."""
    examples: list[Example] = []
    for number, messages in enumerate(conversations, start=1):
        try:
            examples += example_of(messages, tokenize, layout)
        except InputError as error:
            raise InputError(f"conversation {number}: {error}") from None
    return examples


def held_out_figures(model: nn.Module, rows: Rows, tokenize: Tokenize, *, batch_rows: int = 4) -> dict[str, float]:
    """Loss and idle decisions on rows that were not trained on."""
    spans = [np.arange(at, min(at + batch_rows, len(rows))) for at in range(0, len(rows), batch_rows)]
    return slice_figures(cast("LanguageModel", model), (rows.batch(span) for span in spans), tokenize(IDLE, False)[0])


def tune(
    model: Llama,
    tokenize: Tokenize,
    training: Sequence[Sequence[Message]],
    held_out: Sequence[Sequence[Message]],
    config: TuneConfig,
    folder: Path,
    *,
    resume: bool = False,
    report: Callable[[StepReport], None] | None = None,
) -> dict[str, Any]:
    """Tune `model` in place; returns the manifest.

    Args:
        model: float32, as read; it is adapted and cast as `config` says.
        tokenize: the runtime model's own.
        training, held_out: conversations of alternating slices; `held_out` may be empty.
        config: how.
        folder: for the run's files; made if need be.
        resume: go on from the checkpoint in `folder`, which must belong to the same configuration and data.
        report: called after every step.

    Raises:
        InputError: nothing to train on, or a checkpoint is there and `resume` is off. AssetError: `resume` without a
        checkpoint, or no adapter to start from. FormatError: the checkpoint is of another run, or the adapter is damaged.
        ConfigError: the adapter to start from is of another shape. DivergedError: as `train`.
    """
    rows = pack(examples_of(training, tokenize, config.layout), config.layout, seed=config.seed)
    held = examples_of(held_out, tokenize, config.layout)
    held_rows = pack(held, config.layout, seed=config.seed) if held else None
    begin = None if config.start is None else _start(config.start, config)
    manifest = _manifest(config, rows, held_rows)
    checkpoint = folder / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    state = None
    if resume:
        _check_same(folder, manifest)
        state = load_checkpoint(checkpoint)
    elif checkpoint.exists():
        raise InputError(f"{folder} holds a run already; resume it or name another folder")
    _write_json(folder / "manifest.json", manifest)
    if config.precision == "bfloat16":
        model.to(torch.bfloat16)
    if config.mode == "lora":
        adapt(model, config.lora)
    if begin is not None:
        load_adapter(model, begin)
    batches = ShuffledBatches(
        collate=rows.batch, num_items=len(rows), batch_size=min(config.batch_rows, len(rows)), seed=config.seed
    )
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:

        def note(step: StepReport) -> None:
            log.write(json.dumps({**asdict(step), "figures": dict(step.figures)}) + "\n")
            log.flush()
            if report is not None:
                report(step)

        train(
            model,
            batches,
            slice_loss,
            config.loop,
            state=state,
            report=note,
            evaluate=None if held_rows is None else partial(held_out_figures, rows=held_rows, tokenize=tokenize),
            checkpoint=checkpoint,
        )
    if config.mode == "lora":
        write_adapter(folder / _ADAPTER, adapter_state(model), config.lora)
    else:
        write_safetensors(folder, model)
    return manifest


def merged(model: Llama, path: Path) -> Llama:
    """`model` (float32, as read) with the adapter in the file `path` folded in.

    Raises:
        AssetError: there is no such file. FormatError: it is damaged or of another model.
    """
    state, lora = read_adapter(path)
    adapt(model, lora)
    load_adapter(model, state)
    merge(model)
    return model


def read_adapter(path: Path) -> tuple[dict[str, torch.Tensor], LoraConfig]:
    """The factors (float32) and how they were made. Raises as `merged`."""
    library = safetensors_library()
    if not path.is_file():
        raise AssetError(f"there is no adapter {path}")
    try:
        with library.safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})["lora"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # noqa: BLE001 - safetensors has its own error class
        raise FormatError(f"{path} is no adapter: {error}") from None
    return state, LoraConfig(**{**told, "targets": tuple(told["targets"])})


def _start(path: Path, config: TuneConfig) -> dict[str, torch.Tensor]:
    state, lora = read_adapter(path)
    if config.mode != "lora":
        raise ConfigError("an adapter to start from needs factors to train; leave out --full")
    if replace(lora, seed=config.lora.seed) != config.lora:
        raise ConfigError(f"{path} was made with {lora}; this run has {config.lora}")
    return state


def safetensors_library() -> Any:
    """The package, with its part for torch. Raises: MissingExtraError."""
    try:
        import safetensors
        import safetensors.torch
    except ImportError:
        raise MissingExtraError("safetensors", "tune") from None
    return safetensors


def write_adapter(path: Path, factors: dict[str, torch.Tensor], lora: LoraConfig) -> None:
    """Write factors as float16; the file appears whole or not at all."""
    state = {name: value.to(torch.float16) for name, value in factors.items()}
    with whole_file(path) as partial:
        safetensors_library().torch.save_file(state, partial, metadata={"lora": json.dumps(asdict(lora))})


def _manifest(config: TuneConfig, rows: Rows, held: Rows | None) -> dict[str, Any]:
    told = asdict(config)
    told["layout"]["template"] = config.layout.template.name
    told["start"] = None if config.start is None else hashlib.sha256(config.start.read_bytes()).hexdigest()
    digest = hashlib.sha256(rows.token_NT.tobytes() + rows.weight_NT.tobytes() + rows.segment_NT.tobytes())
    return {
        "config": told,
        "rows": len(rows),
        "filled": round(rows.filled, 4),
        "tokens": int(rows.token_NT.size * rows.filled),
        "held_out_rows": 0 if held is None else len(held),
        "data_sha256": digest.hexdigest(),
    }


def _check_same(folder: Path, manifest: dict[str, Any]) -> None:
    try:
        before = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except OSError:
        raise AssetError(f"{folder} holds no run to resume") from None
    except ValueError as error:
        raise FormatError(f"{folder}/manifest.json is damaged: {error}") from None
    if before != json.loads(json.dumps(manifest)):
        keys = [key for key in manifest if before.get(key) != json.loads(json.dumps(manifest[key]))]
        raise FormatError(f"the run in {folder} was made with other settings or data ({', '.join(keys)}); start afresh")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

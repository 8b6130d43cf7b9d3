"""Making a student, read from top to bottom: rows, two stages of learning, one file.

What a run leaves in its folder: `layers.checkpoint` and `answers.checkpoint` (to resume), `log.jsonl`, `manifest.json` and
`student.safetensors`: what was learnt, in float16 but for the parameters of the recurrence. It needs its teacher to run.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fullduplex.base.chat import Message
from fullduplex.base.errors import AssetError, ConfigError, FormatError, InputError
from fullduplex.base.files import whole_file
from fullduplex.base.slices import IDLE
from fullduplex.lm.student.learn import Shelves, answer_loss, calibrate, layer_loss
from fullduplex.lm.student.model import Student, StudentConfig, fold, mixer_names
from fullduplex.lm.tune.examples import LayoutConfig, Tokenize
from fullduplex.lm.tune.llama import Llama
from fullduplex.lm.tune.objective import slice_figures
from fullduplex.lm.tune.run import examples_of, safetensors_library
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.data import ShuffledBatches
from fullduplex.train.loop import StepReport, TrainConfig, train
from fullduplex.train.schedule import ScheduleConfig

__all__ = ["DistilConfig", "distil", "read_student", "teacher_name"]

_FILE = "student.safetensors"
_EXACT = ".exact."


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """`layer_steps`, `answer_steps`: of the two stages, each of `batch_tokens` tokens. `layout`: `row_tokens` is the longest
    conversation learnt from. `teacher`: its name, kept in the file for those who open it. Both stages are Warmup-Stable-Decay.

    Raises:
        ConfigError: a number is out of range.
    """

    layer_steps: int = 200
    answer_steps: int = 200
    batch_tokens: int = 2048
    layer_lr: float = 3e-3
    answer_lr: float = 1e-3
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    checkpoint_every_steps: int = 25
    seed: int = 0
    teacher: str = ""

    def __post_init__(self) -> None:
        if min(self.layer_steps, self.answer_steps, self.batch_tokens) < 1:
            raise ConfigError("layer_steps, answer_steps and batch_tokens must be 1 or more")


def distil(
    teacher: Llama,
    tokenize: Tokenize,
    training: Sequence[Sequence[Message]],
    held_out: Sequence[Sequence[Message]],
    config: DistilConfig,
    folder: Path,
    *,
    resume: bool = False,
    report: Callable[[str, StepReport], None] | None = None,
) -> dict[str, Any]:
    """Make a student of `teacher` (float32); returns the manifest, with the held-out figures of both.

    Args:
        teacher: as read and merged; left as it was.
        tokenize: the runtime model's own.
        training, held_out: conversations of alternating slices; `held_out` may be empty.
        config: how.
        folder: for the run's files; made if need be.
        resume: go on from what is in `folder`.
        report: called with the stage's name after every step.

    Raises:
        InputError: nothing to learn from, or a run is there and `resume` is off. FormatError: the run there is another one.
        DivergedError: as `train`.
    """
    shelves = Shelves.of(examples_of(training, tokenize, config.layout), config.batch_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(config, shelves)
    _begin(folder / "manifest.json", manifest, resume=resume)
    teacher.requires_grad_(False).eval()
    student = Student(teacher, config.student)
    calibrate(student, teacher, shelves.batch(np.array([len(shelves.items) // 2])))
    trainable = [name for name, value in student.named_parameters() if value.requires_grad]
    batches = ShuffledBatches(collate=shelves.batch, num_items=len(shelves.items), batch_size=1, seed=config.seed)
    stages = (
        ("layers", layer_loss(teacher), config.layer_steps, config.layer_lr, mixer_names(student)),
        ("answers", answer_loss(teacher), config.answer_steps, config.answer_lr, set(trainable)),
    )
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        for stage, loss, steps, lr, learnt in stages:

            def note(step: StepReport, stage: str = stage) -> None:
                log.write(json.dumps({"stage": stage, **asdict(step)}) + "\n")
                log.flush()
                if report is not None:
                    report(stage, step)

            for name, value in student.named_parameters():
                value.requires_grad_(name in learnt)
            file = folder / f"{stage}.checkpoint"
            train(
                student,
                batches,
                loss,
                _loop(config, steps, lr),
                state=load_checkpoint(file) if file.exists() else None,
                report=note,
                checkpoint=file,
            )
    for name, value in student.named_parameters():
        value.requires_grad_(name in set(trainable))
    _write(folder / _FILE, student, config.student, config.teacher)
    if held_out:
        held = Shelves.of(examples_of(held_out, tokenize, config.layout), config.batch_tokens).all()
        idle = tokenize(IDLE, False)[0]
        manifest["held_out"] = {
            "teacher": slice_figures(teacher, held, idle),
            "student": slice_figures(student.eval(), held, idle),
        }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def teacher_name(file: Path) -> str:
    """What the student in `file` was made from, as it was named then. Raises: as `read_student`."""
    return _metadata(file)["teacher"]


def read_student(teacher: Llama, file: Path) -> Student:
    """The student in `file`, ready to run; `teacher` must be the model it was made from, and may not be used afterwards.

    Raises:
        AssetError: there is no such file. FormatError: it is damaged or of another model.
    """
    told = json.loads(_metadata(file)["student"])
    try:
        with safetensors_library().safe_open(file, "pt") as held:
            state = {name: held.get_tensor(name).float() for name in held.keys()}  # noqa: SIM118 - not a mapping
        config = StudentConfig(**{**told, "memory": tuple(told["memory"])})
    except Exception as error:  # noqa: BLE001 - safetensors has its own error class
        raise FormatError(f"{file} is no student: {error}") from None
    student = Student(teacher, config)
    wanted = {name: value for name, value in student.named_parameters() if value.requires_grad}
    if wanted.keys() != state.keys() or any(value.shape != state[name].shape for name, value in wanted.items()):
        raise FormatError(f"{file} is the student of a model of other sizes")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(state[name])
    return fold(student)


def _metadata(file: Path) -> dict[str, str]:
    library = safetensors_library()
    if not file.is_file():
        raise AssetError(f"there is no student {file}; make one with: fullduplex tune student")
    try:
        with library.safe_open(file, "pt") as held:
            metadata = dict(held.metadata() or {})
    except Exception as error:  # noqa: BLE001 - safetensors has its own error class
        raise FormatError(f"{file} is no student: {error}") from None
    if not {"student", "teacher"} <= metadata.keys():
        raise FormatError(f"{file} is no student: it does not say what it was made from")
    return metadata


def _loop(config: DistilConfig, steps: int, lr: float) -> TrainConfig:
    schedule = ScheduleConfig(kind="wsd", warmup_steps=max(1, steps // 20), decay_steps=max(1, steps // 3))
    return TrainConfig(
        num_steps=steps,
        peak_lr=lr,
        seed=config.seed,
        weight_decay=0.0,
        checkpoint_every_steps=config.checkpoint_every_steps,
        schedule=schedule,
    )


def _manifest(config: DistilConfig, shelves: Shelves) -> dict[str, Any]:
    told = asdict(config)
    told["layout"]["template"] = config.layout.template.name
    tokens = [token for item in shelves.items for example in item for token in example.tokens]
    digest = hashlib.sha256(torch.tensor(tokens, dtype=torch.int64).numpy().tobytes()).hexdigest()
    return {"config": told, "batches": len(shelves.items), "tokens": len(tokens), "data_sha256": digest}


def _begin(file: Path, manifest: dict[str, Any], *, resume: bool) -> None:
    if not file.exists():
        file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    if not resume:
        raise InputError(f"{file.parent} holds a run already; resume it or name another folder")
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{file} is damaged: {error}") from None
    wanted = json.loads(json.dumps(manifest))
    if any(before.get(key) != value for key, value in wanted.items()):
        raise FormatError(f"the run in {file.parent} was made with other settings or data; start afresh")


def _write(file: Path, student: Student, config: StudentConfig, teacher: str) -> None:
    state = {
        name: (value if _EXACT in name else value.to(torch.float16)).detach().clone()
        for name, value in student.named_parameters()
        if value.requires_grad
    }
    told = {"student": json.dumps(asdict(config)), "teacher": teacher}
    with whole_file(file) as partial:
        safetensors_library().torch.save_file(state, partial, metadata=told)

"""A training run in a folder: settings, checkpoint, curve, result; stopped and resumed as often as one likes."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullduplex.base.config import config_from_mapping
from fullduplex.base.errors import FormatError, InputError
from fullduplex.ssm.classifier import Classifier, ClassifierConfig
from fullduplex.ssm.layers import LayerConfig
from fullduplex.ssm.tasks.curve import draw_curve, read_curve, write_point
from fullduplex.ssm.tasks.fit import FitConfig, Point, fit
from fullduplex.ssm.tasks.keywords import KEYWORD_SAMPLES
from fullduplex.ssm.tasks.table import make_task
from fullduplex.train.checkpoint import load_checkpoint

__all__ = ["RunSettings", "load_run", "read_settings", "train_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything that decides a run; see `fullduplex.ssm.tasks.fit.FitConfig`. `steps` is the range of Delta,
    `num_samples` the length of a recording of keywords."""

    layer: str
    task: str
    seed: int
    width: int
    order: int
    depth: int
    batch_size: int
    peak_lr: float
    steps: tuple[float, float]
    num_steps: int
    checkpoint_every_steps: int
    num_samples: int = KEYWORD_SAMPLES


def train_run(
    folder: Path,
    settings: RunSettings,
    *,
    data: Path | None = None,
    resume: bool = False,
    report: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train in `folder`, which gets settings.json, model.ckpt, curve.csv, curve.png and result.json.

    Args:
        folder: made when it is not there.
        settings: what to train on what.
        data: files of the task.
        resume: go on from the checkpoint of the folder, where there is one.
        report: called after every step with its number and loss.

    Returns:
        What is in result.json.

    Raises:
        InputError: the folder has another run in it, or settings that do not fit.
        FormatError: a file of the run is damaged.
    """
    _claim(folder, settings, resume=resume)
    task = make_task(settings.task, seed=settings.seed, data=data, num_samples=settings.num_samples)
    config = FitConfig(
        layer=_layer(settings),
        depth=settings.depth,
        num_steps=settings.num_steps,
        batch_size=settings.batch_size,
        peak_lr=settings.peak_lr,
        seed=settings.seed,
        evaluate_every_steps=max(1, settings.num_steps // 10),
        checkpoint_every_steps=settings.checkpoint_every_steps,
    )
    # What a model is made of, beside its settings: enough to open the checkpoint without the task.
    (folder / "model.json").write_text(
        json.dumps({"inputs": task.inputs, "vocabulary": task.vocabulary, "outputs": task.outputs, "pool": task.pool})
    )

    def note(point: Point) -> None:
        write_point(folder / "curve.csv", point)
        if report is not None:
            report(point.step, point.loss)

    fitted = fit(task, config, checkpoint=folder / "model.ckpt", resume=resume, report=note)
    measure = "error over signal" if task.goal == "number" else "accuracy"
    draw_curve(
        folder / "curve.png",
        read_curve(folder / "curve.csv"),
        title=f"{settings.layer} on {settings.task}, seed {settings.seed}: {measure} {fitted.test:.3f} on the test set",
        score=measure,
    )
    found: dict[str, Any] = {
        "layer": settings.layer,
        "task": settings.task,
        "seed": settings.seed,
        "num_steps": settings.num_steps,
        "num_parameters": fitted.num_parameters,
        "score": measure,
        "val": fitted.val,
        "test": fitted.test,
        "chance": task.chance,
        "note": task.note,
    }
    (folder / "result.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def load_run(folder: Path) -> Classifier:
    """The model of a run as its last checkpoint has it.

    Raises:
        FormatError: the folder holds no run, or a damaged one.
    """
    try:
        settings = read_settings(folder)
        made = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        state = load_checkpoint(folder / "model.ckpt")
        model = Classifier(ClassifierConfig(layer=_layer(settings), depth=settings.depth, **made))
        model.load_state_dict(state.model)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise FormatError(f"{folder} holds no run of `fullduplex ssm train` that can be read: {error}") from error
    return model.eval()


def _layer(settings: RunSettings) -> LayerConfig:
    return LayerConfig(name=settings.layer, width=settings.width, order=settings.order, steps=settings.steps)


def _claim(folder: Path, settings: RunSettings, *, resume: bool) -> None:
    file = folder / "settings.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(settings), indent=1) + "\n", encoding="utf-8")
        return
    if not resume:
        raise InputError(f"{folder} holds a run already; go on with --resume, or choose another folder")
    before = read_settings(folder)
    different = [
        f"{item.name} {getattr(before, item.name)} (now {getattr(settings, item.name)})"
        for item in dataclasses.fields(settings)
        if getattr(before, item.name) != getattr(settings, item.name)
    ]
    if different:
        raise InputError(f"{folder} holds a run with other settings: {', '.join(different)}")


def read_settings(folder: Path) -> RunSettings:
    """What a run was asked to do. Raises FormatError: the folder holds no run, or a damaged one."""
    try:
        return config_from_mapping(RunSettings, json.loads((folder / "settings.json").read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise FormatError(f"{folder / 'settings.json'} cannot be read: {error}") from error

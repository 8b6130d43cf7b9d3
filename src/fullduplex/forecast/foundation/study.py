"""A small scaling study: many models, one table of runs, which goes on where it was stopped.

Every run has a folder of its own with its checkpoint and the rows measured so far; a run that was stopped goes on from the
checkpoint and ends with the same rows. The table holds the true step and the true compute of every row.
"""

import csv
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from torch import nn

from fullduplex.base.arrays import Float64Array
from fullduplex.base.errors import ConfigError, InputError
from fullduplex.base.record import hash_bytes
from fullduplex.forecast.foundation.config import PatchConfig, block_parameters, total_parameters
from fullduplex.forecast.foundation.corpus import make_series, training_windows
from fullduplex.forecast.foundation.model import PatchTransformer
from fullduplex.forecast.foundation.pretrain import PretrainConfig, pretrain, score_next_patch
from fullduplex.train.checkpoint import load_checkpoint
from fullduplex.train.loop import StepReport

__all__ = ["Run", "StudyConfig", "mixed_series", "planned_runs", "run_study"]

_STRIDE = 32  # steps between the starts of training windows
_EVALUATIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """What is trained; the defaults take half an hour on one core.

    Args:
        kinds: of models.
        sizes: width and layers of the models that share all of the data.
        points: of training data, smallest first, that `fixed_size` is trained on; the sizes are trained on the last.
        fixed_size: the model of the data law, one of `sizes`.
        seeds: of each run.
        num_steps: optimiser steps of each run.
        batch_size: windows of a step.
        peak_lr: the same for all sizes.
        patch: steps of a patch.
        num_patches: patches of a window, the last of which is what is scored.

    Raises:
        ConfigError: a list is empty or out of order, or the fixed size is not one of the sizes.
    """

    kinds: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
    sizes: tuple[tuple[int, int], ...] = ((8, 1), (16, 1), (24, 2), (32, 2), (64, 2), (64, 6), (128, 4))
    points: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 3_000_000)
    fixed_size: tuple[int, int] = (64, 2)
    seeds: tuple[int, ...] = (0, 1)
    num_steps: int = 1_200
    batch_size: int = 32
    peak_lr: float = 3e-3
    patch: int = 32
    num_patches: int = 9

    def __post_init__(self) -> None:
        for name in ("kinds", "sizes", "points", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; expected one or more")
        if list(self.points) != sorted(set(self.points)) or self.points[0] < 1:
            raise ConfigError(f"points are {self.points}; expected rising numbers above 0")
        if self.fixed_size not in self.sizes:
            raise ConfigError(f"fixed_size is {self.fixed_size}; expected one of {self.sizes}")
        if self.num_patches < 2:
            raise ConfigError(f"num_patches is {self.num_patches}; expected 2 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One model, its data and its seed."""

    config: PatchConfig
    points: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        config = self.config
        return f"{config.kind}-w{config.width}-l{config.num_layers}-d{self.points}-s{self.seed}"


def planned_runs(config: StudyConfig) -> tuple[Run, ...]:
    """All sizes on all data, then the fixed size on less of it; seed by seed, so that an early stop leaves whole laws."""
    runs: list[Run] = []
    for seed, kind in itertools.product(config.seeds, config.kinds):
        pairs = [(size, config.points[-1]) for size in config.sizes]
        pairs += [(config.fixed_size, points) for points in config.points[:-1]]
        for (width, layers), points in pairs:
            model = PatchConfig(kind=kind, width=width, num_layers=layers, patch=config.patch)
            runs.append(Run(config=model, points=points, seed=seed))
    return tuple(runs)


def mixed_series(
    given: Sequence[Float64Array], points: int, length: int, held: int, seed: int = 0
) -> list[Float64Array]:
    """Made-up series with every fourth one from `given` while there are any, until they hold `points` steps to train on.

    A smaller number of points is a beginning of a larger one, in the same proportions.
    """
    kept: list[Float64Array] = []
    usable = [values_T for values_T in given if values_T.size >= length + held]
    total, made, taken = 0, 0, 0
    while total < points:
        if len(kept) % 4 == 3 and taken < len(usable):
            kept.append(usable[taken])
            taken += 1
        else:
            kept.append(make_series(made, length + 7 * _STRIDE, seed))
            made += 1
        total += kept[-1].size - held
    return kept


def run_study(
    config: StudyConfig,
    given: Sequence[Float64Array],
    tests: Mapping[str, Float64Array],
    folder: Path,
    *,
    report: Callable[[Run, StepReport], None] | None = None,
) -> Path:
    """Make every run that is not there yet; returns the table, `runs.csv` in `folder`.

    Args:
        config: what to train.
        given: series to train on beside the made-up ones.
        tests: by name, windows of shape (N, patch * num_patches) whose last patch is scored.
        folder: of this study alone.
        report: called after every step.

    Raises:
        InputError: the folder holds another study, or there is nothing to test on.
    """
    if not tests:
        raise InputError("there is nothing to test on; give one set of windows or more")
    _claim(folder, config, given, tests)
    length = config.patch * config.num_patches
    table = folder / "runs.csv"
    for run in planned_runs(config):
        series = mixed_series(given, run.points, length, config.patch)
        windows_NL = training_windows(series, length, config.patch, _STRIDE)
        _make(run, config, windows_NL, tests, folder / run.name, report)
        _collect(folder, config, table)
    return table


def _make(
    run: Run,
    config: StudyConfig,
    windows_NL: Float64Array,
    tests: Mapping[str, Float64Array],
    folder: Path,
    report: Callable[[Run, StepReport], None] | None,
) -> None:
    every, batch_size = max(1, config.num_steps // _EVALUATIONS), min(config.batch_size, len(windows_NL))
    num_steps = every * max(1, config.num_steps // every)
    rows, checkpoint = folder / "rows.json", folder / "last.ckpt"
    folder.mkdir(parents=True, exist_ok=True)
    # Rows are written just before the checkpoint of their step: after a stop between the two, the last is made again.
    reached = load_checkpoint(checkpoint).step if checkpoint.exists() else 0
    if reached >= num_steps:
        return
    measured: list[dict[str, float | str]] = [row for row in _read_rows(rows) if float(row["step"]) <= reached]

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        found = {
            f"{name}_{measure}": round(value, 6)
            for name, test_NL in tests.items()
            for measure, value in score_next_patch(cast("PatchTransformer", model), test_NL).items()
        }
        measured.append(_row(run, batch_size * config.num_patches, (len(measured) + 1) * every, found))
        rows.write_text(json.dumps(measured), encoding="utf-8")
        return found

    how = PretrainConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        peak_lr=config.peak_lr,
        seed=run.seed,
        evaluate_every_steps=every,
    )
    told = None if report is None else (lambda step: report(run, step))
    pretrain(run.config, windows_NL, how, checkpoint=checkpoint, report=told, evaluate=evaluate)


def _row(run: Run, tokens_per_step: int, step: int, found: Mapping[str, float]) -> dict[str, float | str]:
    tokens = step * tokens_per_step
    return {
        "run": run.name,
        "kind": run.config.kind,
        "seed": run.seed,
        "n": block_parameters(run.config),
        "n_total": total_parameters(run.config),
        "d": run.points,
        "step": step,
        "tokens": tokens,
        # Of a model this small the input and output layers are most of the work, so all parameters count.
        "c": 6 * total_parameters(run.config) * tokens,
        **found,
    }


def _read_rows(path: Path) -> list[dict[str, float | str]]:
    return cast("list[dict[str, float | str]]", json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _collect(folder: Path, config: StudyConfig, table: Path) -> None:
    rows = [row for run in planned_runs(config) for row in _read_rows(folder / run.name / "rows.json")]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _claim(folder: Path, config: StudyConfig, given: Sequence[Float64Array], tests: Mapping[str, Float64Array]) -> None:
    """A folder belongs to one study."""
    folder.mkdir(parents=True, exist_ok=True)
    data = hash_bytes([part.tobytes() for part in (*given, *tests.values())])
    settings = json.dumps({**asdict(config), "tests": list(tests), "data": data}, indent=1)
    owner = folder / "settings.json"
    if owner.exists() and owner.read_text(encoding="utf-8") != settings:
        raise InputError(
            f"{folder} holds another study, with other data or settings; give another folder or remove that one"
        )
    owner.write_text(settings, encoding="utf-8")

"""The named tasks, at sizes a laptop can train on."""

from collections.abc import Callable
from pathlib import Path

from fullduplex.base.errors import InputError
from fullduplex.ssm.tasks.digits import digits, mnist1d
from fullduplex.ssm.tasks.keywords import KEYWORD_SAMPLES, read_keywords
from fullduplex.ssm.tasks.listops import listops, read_listops
from fullduplex.ssm.tasks.memory import copying, delay, recall, selective_copying
from fullduplex.ssm.tasks.pathfinder import PathfinderConfig, pathfinder
from fullduplex.ssm.tasks.task import Task

__all__ = ["TASKS", "make_task"]

TASKS: dict[str, str] = {
    "listops": "nested lists of digits, 20 to 100 tokens, generated",
    "listops-long": "the same at the full length of Long Range Arena, 500 to 2000 tokens; with --data, its files",
    "pathfinder": "are two dots joined by a dashed path, 32 x 32 pixels, drawn",
    "pathfinder-hard": "48 x 48, longer paths and more to distract",
    "digits": "8 x 8 scans row by row, 64 steps (needs scikit-learn)",
    "mnist1d": "one-dimensional digits, 40 steps (needs mnist1d)",
    "delay": "repeat a noise 128 steps later",
    "copying": "10 tokens, 50 steps later",
    "selective-copying": "8 tokens strewn among blanks",
    "recall": "8 pairs of key and value, then the keys in another order",
    "keywords": "which word is this, sample by sample; --data FOLDER with train, val and test",
}


def make_task(name: str, *, seed: int = 0, data: Path | None = None, num_samples: int = KEYWORD_SAMPLES) -> Task:
    """A task by name.

    Args:
        name: one of `TASKS`.
        seed: decides every example that is generated, and every split.
        data: folder of files, for the tasks that read some.
        num_samples: of each recording of keywords; the loudest so many are kept.

    Raises:
        InputError: no such task, files for a task that takes none, or none for one that needs them.
        FormatError: files that are something else. MissingExtraError: a package is not installed.
    """
    made: dict[str, Callable[[], Task]] = {
        "listops": lambda: listops(seed, (8_000, 500, 1_000), lengths=(20, 100), max_depth=4, max_arguments=5),
        "listops-long": lambda: listops(seed, (2_000, 200, 200)),
        "pathfinder": lambda: pathfinder(seed),
        "pathfinder-hard": lambda: pathfinder(seed, config=PathfinderConfig(side=48, dashes=8, distractors=8)),
        "digits": lambda: digits(seed),
        "mnist1d": lambda: mnist1d(seed),
        "delay": lambda: delay(seed),
        "copying": lambda: copying(seed),
        "selective-copying": lambda: selective_copying(seed),
        "recall": lambda: recall(seed),
    }
    read: dict[str, Callable[[Path], Task]] = {
        "listops-long": read_listops,
        "keywords": lambda folder: read_keywords(folder, num_samples=num_samples),
    }
    if name not in TASKS:
        raise InputError(f"no task {name!r}; expected one of {', '.join(TASKS)}")
    if data is not None:
        if name not in read:
            raise InputError(f"the task {name} reads no files; only {', '.join(read)} do")
        return read[name](data)
    if name not in made:
        raise InputError(f"the task {name} needs a folder of files: --data DIR, made by `fullduplex ssm keywords DIR`")
    return made[name]()

"""What a task is: three sets that share no example, and what counts as right.

Axes: N examples, T time, F features, C numbers to regress.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError

__all__ = ["Examples", "Goal", "Task", "distinct", "pad", "split"]

Goal = Literal["class", "tags", "number"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """One set of examples.

    Args:
        x: tokens (N, T), int64; or features (N, T, F), float32.
        y: classes (N,) for `class`; classes (N, T) for `tags`, -1 where nothing is asked; numbers (N, T, C) for `number`,
            NaN where nothing is asked.
        lengths_N: steps that are not padding.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    lengths_N: NDArray[np.int64]

    def __post_init__(self) -> None:
        sizes = {self.x.shape[0], self.y.shape[0], self.lengths_N.shape[0]}
        if len(sizes) != 1 or sizes == {0}:
            raise InputError(f"got {sorted(sizes)} inputs, answers and lengths; expected as many of each, and some")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """Something to learn.

    Args:
        name: for reports.
        goal: one class a sequence, a class at some steps, or numbers at some steps.
        inputs: features F, or 0 for tokens.
        vocabulary: number of tokens, or 0 for features.
        outputs: classes or numbers C.
        train, val, test: no example is in two of them.
        chance: what guessing reaches: accuracy for classes, error over signal for numbers.
        note: where the data comes from, in a sentence.
    """

    name: str
    goal: Goal
    inputs: int
    vocabulary: int
    outputs: int
    train: Examples
    val: Examples
    test: Examples
    chance: float
    note: str

    @property
    def pool(self) -> Literal["mean", "none"]:
        """How a model must answer."""
        return "mean" if self.goal == "class" else "none"

    @property
    def num_steps(self) -> int:
        """Length of the longest sequence."""
        return self.train.x.shape[1]


def split(examples: Examples, sizes: tuple[int, int, int]) -> tuple[Examples, Examples, Examples]:
    """The first, the next and the next examples.

    Raises:
        InputError: sizes that are not positive, or more examples than there are.
    """
    if min(sizes) < 1 or sum(sizes) > examples.x.shape[0]:
        raise InputError(f"cannot split {examples.x.shape[0]} examples into {sizes}; expected positive sizes that fit")
    first, second = sizes[0], sizes[0] + sizes[1]
    return (
        _part(examples, 0, first),
        _part(examples, first, second),
        _part(examples, second, second + sizes[2]),
    )


def _part(examples: Examples, start: int, end: int) -> Examples:
    rows = slice(start, end)
    return Examples(x=examples.x[rows], y=examples.y[rows], lengths_N=examples.lengths_N[rows])


def distinct(draw: Callable[[], NDArray[Any] | None], count: int, *, patience: int = 10_000) -> list[NDArray[Any]]:
    """`count` different arrays from a source; None from it is a failed draw.

    Raises:
        InputError: `patience` draws in a row brought nothing new.
    """
    seen: set[bytes] = set()
    found: list[NDArray[Any]] = []
    idle = 0
    while len(found) < count:
        drawn = draw()
        key = b"" if drawn is None else hashlib.sha256(np.ascontiguousarray(drawn).tobytes()).digest()
        if drawn is None or key in seen:
            idle += 1
            if idle > patience:
                raise InputError(
                    f"only {len(found)} of {count} different examples exist or can be found; ask for fewer or longer ones"
                )
            continue
        idle = 0
        seen.add(key)
        found.append(drawn)
    return found


def pad(rows: list[NDArray[Any]], fill: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of different lengths as one array, and the lengths."""
    lengths_N = np.array([row.size for row in rows], dtype=np.int64)
    x_NT = np.full((len(rows), int(lengths_N.max())), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        x_NT[index, : row.size] = row
    return x_NT, lengths_N

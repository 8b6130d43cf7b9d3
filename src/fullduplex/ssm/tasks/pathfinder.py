"""Pathfinder: are two dots joined by one dashed path? Read pixel by pixel, row by row.

Long Range Arena's task (Tay et al., arXiv 2011.04006, after Linsley et al., arXiv 1805.08315), drawn here: every picture
has two long dashed paths of the same length and some short ones to distract; the dots sit on both ends of one long path
(class 1) or on one end of each (class 0), so nothing but the connection tells the classes apart. Long Range Arena's
pictures were made by another program, so figures on them and on these are not the same figures.

Axes: N pictures, S side, T = S^2 pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.tasks.task import Examples, Task, distinct, split

__all__ = ["PathfinderConfig", "draw_picture", "pathfinder"]

F64 = NDArray[np.float64]
Point = tuple[float, float]
Path = list[Point]

_DASH, _GAP = 2.2, 1.8  # pixels
_STARTS, _BENDS = 40, 6
_ALONG = tuple(step / 6 for step in range(7))


@dataclass(frozen=True, slots=True, kw_only=True)
class PathfinderConfig:
    """How the pictures look; larger numbers are harder.

    Args:
        side: S >= 16.
        dashes: of a long path; a distractor has a third.
        distractors: short paths.
        bend: largest turn between two dashes, radians.
        clearance: least distance between two paths, pixels.
    """

    side: int = 32
    dashes: int = 6
    distractors: int = 4
    bend: float = 0.5
    clearance: float = 2.5

    def __post_init__(self) -> None:
        if self.side < 16 or self.dashes < 2 or self.distractors < 0 or not (0 <= self.bend <= math.pi):
            raise InputError(
                f"pathfinder got {self}; expected side >= 16, dashes >= 2, distractors >= 0, 0 <= bend <= pi"
            )


def pathfinder(
    seed: int, sizes: tuple[int, int, int] = (2_000, 250, 500), *, config: PathfinderConfig | None = None
) -> Task:
    """Draw the task, as many pictures of one class as of the other, give or take chance.

    Raises:
        InputError: the pictures are too crowded to be drawn.
    """
    generator, config = np.random.default_rng(seed), config or PathfinderConfig()

    def draw() -> NDArray[np.uint8] | None:
        joined = int(generator.integers(2))
        picture = draw_picture(generator, joined=bool(joined), config=config)
        # The class rides along as the last byte, so that a row is one example.
        return (
            None if picture is None else np.append((255 * picture).round().astype(np.uint8).ravel(), np.uint8(joined))
        )

    rows_NT = np.stack(distinct(draw, sum(sizes)))
    x_NT1 = (rows_NT[:, :-1, None] / np.float32(127.5) - 1).astype(np.float32)
    lengths_N = np.full(rows_NT.shape[0], config.side**2, dtype=np.int64)
    train, val, test = split(Examples(x=x_NT1, y=rows_NT[:, -1].astype(np.int64), lengths_N=lengths_N), sizes)
    return Task(
        name="pathfinder", goal="class", inputs=1, vocabulary=0, outputs=2, train=train, val=val, test=test, chance=0.5,
        note=f"drawn: {config.side} x {config.side}, {config.dashes} dashes, {config.distractors} distractors",
    )  # fmt: skip


def draw_picture(generator: np.random.Generator, *, joined: bool, config: PathfinderConfig) -> F64 | None:
    """One picture (S, S), 0 to 1; None when the paths found no room."""
    paths: list[Path] = []
    for index in range(2 + config.distractors):
        dashes = config.dashes if index < 2 else max(1, config.dashes // 3)
        path = _walk(generator, dashes, [point for other in paths for point in other], config)
        if path is not None:
            paths.append(path)
        elif index < 2:
            return None
    first, second = paths[0], paths[1]
    ends = (first[0], first[-1]) if joined else (first[-1], second[0 if generator.integers(2) else -1])
    strokes = [
        (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
        for path in paths
        for a, b in zip(path[::2], path[1::2], strict=True)
        for share in _ALONG
    ]
    return np.maximum(_discs(config.side, strokes, 0.55), _discs(config.side, list(ends), 1.9))


def _walk(generator: np.random.Generator, dashes: int, known: Path, config: PathfinderConfig) -> Path | None:
    """Start and end of every dash of one path, clear of what is known; None after some tries.

    Plain numbers: these are a few dozen points, and an array for each would cost more than it saves.
    """
    for _ in range(_STARTS):
        at: Point = tuple(generator.uniform(3, config.side - 3, 2).tolist())
        angle = float(generator.uniform(0, 2 * math.pi))
        points: Path = []
        while len(points) < 2 * dashes:
            # At an edge or another path it bends away, if any bend allowed does.
            for bend in generator.uniform(-config.bend, config.bend, _BENDS).tolist():
                way = (math.cos(angle + bend), math.sin(angle + bend))
                start = (at[0] + _GAP * way[0], at[1] + _GAP * way[1]) if points else at
                end = (start[0] + _DASH * way[0], start[1] + _DASH * way[1])
                if _free(start, known, points, config) and _free(end, known, points, config):
                    break
            else:
                break
            points += [start, end]
            at, angle = end, angle + bend
        if len(points) == 2 * dashes:
            return points
    return None


def _free(point: Point, known: Path, own: Path, config: PathfinderConfig) -> bool:
    if not all(2 <= value <= config.side - 3 for value in point):
        return False
    apart, clear = config.clearance + 1.2, config.clearance
    return all(math.dist(point, other) >= apart for other in known) and all(
        math.dist(point, other) >= clear for other in own[:-3]
    )


def _discs(side: int, centres: Path, radius: float) -> F64:
    """Discs with a soft edge on one canvas."""
    at_K2 = np.array(centres)
    pixels_S = np.arange(side)
    rows_KS, columns_KS = pixels_S - at_K2[:, :1], pixels_S - at_K2[:, 1:]
    nearest_SS = np.min(np.square(rows_KS)[:, :, None] + np.square(columns_KS)[:, None, :], axis=0)
    return np.clip(radius + 0.5 - np.sqrt(nearest_SS), 0, 1)

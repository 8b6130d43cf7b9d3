"""Handwritten digits and their one-dimensional cousins, read one number after the other.

- digits: the 8 x 8 scans of the UCI optical digits that scikit-learn carries; 64 steps.
- mnist1d: Greydanus, "Scaling down deep learning" (arXiv 2011.14439), made by the package of that name; 40 steps.
"""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError, MissingExtraError
from fullduplex.ssm.tasks.task import Examples, Task, split

__all__ = ["digits", "mnist1d"]


def digits(seed: int, sizes: tuple[int, int, int] = (1_200, 290, 300)) -> Task:
    """Digits row by row, brightness -1 to 1; the seed decides which are for testing.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        InputError: more examples than there are.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "tasks") from error
    found: Any = load_digits()
    images_NT, first_N = np.unique(np.asarray(found["data"]), axis=0, return_index=True)
    labels_N = np.asarray(found["target"])[first_N]
    order_N = np.random.default_rng(seed).permutation(labels_N.size)
    x_NT1 = (images_NT[order_N, :, None] / 8 - 1).astype(np.float32)
    return _task("digits", x_NT1, labels_N[order_N], sizes, "8 x 8 scans, scikit-learn")


def mnist1d(seed: int, sizes: tuple[int, int, int] = (4_000, 500, 500)) -> Task:
    """Digits as noisy one-dimensional strokes, made from the seed.

    Raises:
        MissingExtraError: the package mnist1d is not installed.
        InputError: fewer than 10 examples in all.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise MissingExtraError("mnist1d", "tasks") from error
    if sum(sizes) < 10:
        raise InputError(f"mnist1d got sizes {sizes}; expected at least 10 examples in all, one of each digit")
    arguments: Any = get_dataset_args()
    arguments.seed, arguments.num_samples, arguments.train_split = seed, 10 * -(-sum(sizes) // 10), 1.0
    # The package seeds the global generators; they get their states back.
    before, plain = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        made: Any = make_dataset(arguments)
    finally:
        np.random.set_state(before)  # noqa: NPY002
        random.setstate(plain)
    x_NT1 = np.asarray(made["x"], dtype=np.float32)[..., None]
    return _task("mnist1d", x_NT1, np.asarray(made["y"]), sizes, "made by the package mnist1d")


def _task(name: str, x_NT1: NDArray[np.float32], y_N: NDArray[Any], sizes: tuple[int, int, int], note: str) -> Task:
    lengths_N = np.full(x_NT1.shape[0], x_NT1.shape[1], dtype=np.int64)
    train, val, test = split(Examples(x=x_NT1, y=y_N.astype(np.int64), lengths_N=lengths_N), sizes)
    return Task(
        name=name, goal="class", inputs=1, vocabulary=0, outputs=10, train=train, val=val, test=test, chance=0.1, note=note
    )  # fmt: skip

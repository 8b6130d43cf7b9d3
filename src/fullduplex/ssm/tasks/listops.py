"""ListOps: nested lists of digits under MIN, MAX, MED and SM (sum modulo 10), read token by token.

The generator has the grammar and the numbers of Long Range Arena (Tay et al., arXiv 2011.04006, after Nangia and Bowman,
arXiv 1804.06028): depth up to 10, up to 10 arguments, an operator with probability 1/4, and only sequences whose length
lies in a range are kept (500 to 2000 there). Brackets that only group are left out, as its reader does. Its files, tab
separated with the columns Source and Target, are read by `read_listops`.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import FormatError, InputError
from fullduplex.ssm.tasks.task import Examples, Task, distinct, pad, split

__all__ = ["TOKENS", "evaluate_listops", "listops", "read_listops"]

TOKENS = ("<pad>", *(str(digit) for digit in range(10)), "[MIN", "[MAX", "[MED", "[SM", "]")
_PAD, _ZERO, _CLOSE = 0, 1, TOKENS.index("]")
_OPERATORS = tuple(range(11, 15))
_OPERATOR_SHARE = 0.25
_CHANCE = 0.1


def listops(
    seed: int,
    sizes: tuple[int, int, int] = (96_000, 2_000, 2_000),
    *,
    lengths: tuple[int, int] = (500, 2_000),
    max_depth: int = 10,
    max_arguments: int = 10,
) -> Task:
    """Generate the task.

    Args:
        seed: decides every example.
        sizes: examples for training, choosing and testing; Long Range Arena has the default.
        lengths: shortest and longest sequence kept, in tokens.
        max_depth, max_arguments: of the trees.

    Raises:
        InputError: an empty range, or one that holds fewer different sequences than asked for.
    """
    shortest, longest = lengths
    if not 1 <= shortest <= longest or max_depth < 1 or max_arguments < 2:
        raise InputError(
            f"listops got lengths {lengths}, depth {max_depth}, {max_arguments} arguments; "
            "expected 1 <= shortest <= longest, a depth of 1 or more, 2 arguments or more"
        )
    generator = np.random.default_rng(seed)

    def draw() -> NDArray[np.int64] | None:
        tokens: list[int] = []
        # Nearly three of four trees are a single digit: start with an operator where those are too short.
        whole = _grow(generator, tokens, (max_depth, max_arguments, longest), root=shortest > 1)
        return np.array(tokens, dtype=np.int64) if whole and shortest <= len(tokens) else None

    rows = distinct(draw, sum(sizes), patience=200_000)
    return _task(rows, [evaluate_listops(row) for row in rows], sizes, f"generated, {shortest} to {longest} tokens")


def evaluate_listops(tokens_T: NDArray[np.int64]) -> int:
    """The value of a sequence, 0 to 9.

    Raises:
        FormatError: it is not one whole expression.
    """
    stack: list[list[int]] = [[]]
    operators: list[int] = []
    for token in tokens_T.tolist():
        if token in _OPERATORS:
            operators.append(token)
            stack.append([])
        elif _ZERO <= token < _ZERO + 10:
            stack[-1].append(token - _ZERO)
        elif token == _CLOSE and operators and stack[-1]:
            values = stack.pop()
            stack[-1].append(_apply(operators.pop(), values))
        else:
            raise FormatError(f"token {token} cannot stand here; expected an operator, a digit, or the end of a list")
    if len(stack) != 1 or len(stack[0]) != 1:
        raise FormatError(
            f"the expression has {len(operators)} open lists and {len(stack[0])} values; expected 0 and 1"
        )
    return stack[0][0]


def read_listops(folder: Path, *, limit: int | None = None) -> Task:
    """The files of Long Range Arena: `basic_train.tsv`, `basic_val.tsv`, `basic_test.tsv`.

    Args:
        folder: where they are.
        limit: at most this many examples of each.

    Raises:
        FormatError: a file is missing or holds something else.
    """
    rows: list[NDArray[np.int64]] = []
    values: list[int] = []
    sizes: list[int] = []
    for part in ("train", "val", "test"):
        file = folder / f"basic_{part}.tsv"
        try:
            with file.open(encoding="utf-8", newline="") as stream:
                lines = list(csv.DictReader(stream, delimiter="\t"))[:limit]
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(f"{file} cannot be read ({error}); give the folder of the ListOps files") from error
        for number, line in enumerate(lines, start=2):
            rows.append(_tokens(line.get("Source") or "", f"{file.name} line {number}"))
            values.append(_digit(line.get("Target") or "", f"{file.name} line {number}"))
        sizes.append(len(lines))
    if 0 in sizes:
        raise FormatError(f"{folder} holds {sizes} examples; expected some in each of the three files")
    return _task(rows, values, (sizes[0], sizes[1], sizes[2]), f"files of Long Range Arena, {sizes} examples")


def _grow(
    generator: np.random.Generator,
    tokens: list[int],
    limits: tuple[int, int, int],
    *,
    depth: int = 1,
    root: bool = False,
) -> bool:
    """Add one tree to `tokens`; False as soon as it is longer than allowed."""
    max_depth, max_arguments, longest = limits
    if len(tokens) >= longest:
        return False
    if not root and (depth >= max_depth or generator.random() > _OPERATOR_SHARE):
        tokens.append(_ZERO + int(generator.integers(10)))
        return True
    tokens.append(int(generator.choice(_OPERATORS)))
    for _ in range(int(generator.integers(2, max_arguments + 1))):
        if not _grow(generator, tokens, limits, depth=depth + 1):
            return False
    tokens.append(_CLOSE)
    return len(tokens) <= longest


def _apply(operator: int, values: list[int]) -> int:
    name = TOKENS[operator]
    if name == "[MIN":
        return min(values)
    if name == "[MAX":
        return max(values)
    # The median of an even number of digits is rounded down, as the original's int(numpy.median).
    return int(np.median(values)) if name == "[MED" else sum(values) % 10


def _tokens(text: str, where: str) -> NDArray[np.int64]:
    index = {token: number for number, token in enumerate(TOKENS)}
    words = text.replace("(", " ").replace(")", " ").split()
    unknown = sorted({word for word in words if index.get(word, _PAD) == _PAD})
    if unknown or not words:
        raise FormatError(f"{where} holds {', '.join(unknown) or 'nothing'}; expected digits, {', '.join(TOKENS[11:])}")
    return np.array([index[word] for word in words], dtype=np.int64)


def _digit(text: str, where: str) -> int:
    if len(text.strip()) != 1 or not text.strip().isdigit():
        raise FormatError(f"{where} has the target {text!r}; expected one digit")
    return int(text)


def _task(rows: list[NDArray[np.int64]], values: list[int], sizes: tuple[int, int, int], note: str) -> Task:
    x_NT, lengths_N = pad(rows, _PAD)
    train, val, test = split(Examples(x=x_NT, y=np.array(values, dtype=np.int64), lengths_N=lengths_N), sizes)
    return Task(
        name="listops", goal="class", inputs=0, vocabulary=len(TOKENS), outputs=10,
        train=train, val=val, test=test, chance=_CHANCE, note=note,
    )  # fmt: skip

"""Tasks of pure memory: delay, copying, selective copying, associative recall.

Axes: N examples, T time.

- delay: repeat a band-limited noise some steps later (arXiv 2206.12037, section 4.3, at any length).
- copying: see some tokens, wait, say them again in order (Hochreiter and Schmidhuber 1997; Arjovsky et al., arXiv
  1511.06464).
- selective copying: the same, with the tokens strewn among blanks, so that what to keep depends on what it is (Jing et
  al., arXiv 1706.02761; Gu and Dao, arXiv 2312.00752).
- associative recall: pairs of key and value, then a key: say its value (Ba et al., arXiv 1610.06258; Fu et al., arXiv
  2212.14052).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.errors import InputError
from fullduplex.ssm.tasks.task import Examples, Goal, Task, distinct, split

__all__ = ["copying", "delay", "recall", "selective_copying"]

Sizes = tuple[int, int, int]
_ASKED_NOT = -1


def delay(seed: int, sizes: Sizes = (512, 64, 64), *, num_steps: int = 512, lag: int = 128, band: float = 0.05) -> Task:
    """Repeat the input `lag` steps later. The metric is the error over the signal, root mean square.

    Args:
        seed, sizes: of the examples.
        num_steps: T.
        lag: steps to wait, 0 < lag < T.
        band: highest frequency of the noise, as a share of the sample rate, 0 < band <= 1/2.

    Raises:
        InputError: a number out of range.
    """
    if not (0 < lag < num_steps and 0 < band <= 0.5):
        raise InputError(
            f"delay got {num_steps} steps, lag {lag}, band {band}; expected 0 < lag < steps, 0 < band <= 0.5"
        )
    generator = np.random.default_rng(seed)
    lines = int(np.count_nonzero(np.fft.rfftfreq(num_steps) <= band))
    spectrum = np.zeros((sum(sizes), num_steps // 2 + 1), dtype=np.complex128)
    spectrum[:, 1:lines] = generator.standard_normal((sum(sizes), lines - 1, 2)).view(np.complex128)[..., 0]
    x_NT = np.fft.irfft(spectrum, n=num_steps)
    x_NT = (x_NT / x_NT.std()).astype(np.float32)
    y_NT = np.full_like(x_NT, np.nan)
    y_NT[:, lag:] = x_NT[:, :-lag]
    return _task(
        "delay", "number", x_NT[..., None], y_NT[..., None], sizes, 1.0, f"noise below {band}, {lag} steps late"
    )


def copying(seed: int, sizes: Sizes = (8_000, 500, 500), *, symbols: int = 8, items: int = 10, wait: int = 50) -> Task:
    """Tokens first, `wait` blanks, then as many cues: at each cue the next token is asked for.

    Raises:
        InputError: a number below 1, or fewer different sequences than asked for.
    """
    blank, cue = symbols, symbols + 1
    words = _words(seed, sizes, symbols, items, wait)
    x_NT = np.full((len(words), items + wait + items), blank, dtype=np.int64)
    y_NT = np.full_like(x_NT, _ASKED_NOT)
    x_NT[:, :items], x_NT[:, -items:], y_NT[:, -items:] = words, cue, words
    return _task("copying", "tags", x_NT, y_NT, sizes, 1 / symbols, f"{items} of {symbols} symbols, {wait} steps later")


def selective_copying(
    seed: int, sizes: Sizes = (8_000, 500, 500), *, symbols: int = 8, items: int = 8, wait: int = 64
) -> Task:
    """Tokens at random places among `wait` blanks, then a cue for each.

    Raises:
        InputError: a number below 1, or fewer different sequences than asked for.
    """
    blank, cue = symbols, symbols + 1
    words = _words(seed, sizes, symbols, items, wait)
    generator = np.random.default_rng([seed, 1])
    span = items + wait
    places = np.sort(np.argsort(generator.random((len(words), span)), axis=1)[:, :items], axis=1)
    x_NT = np.full((len(words), span + items), blank, dtype=np.int64)
    np.put_along_axis(x_NT, places, words, axis=1)
    x_NT[:, span:] = cue
    y_NT = np.full_like(x_NT, _ASKED_NOT)
    y_NT[:, span:] = words
    note = f"{items} of {symbols} symbols strewn over {span} steps"
    return _task("selective-copying", "tags", x_NT, y_NT, sizes, 1 / symbols, note)


def recall(seed: int, sizes: Sizes = (8_000, 500, 500), *, keys: int = 16, values: int = 8, pairs: int = 8) -> Task:
    """`pairs` different keys with a value each, then all those keys again in another order: at each, its value.

    Raises:
        InputError: a number below 1, more pairs than keys, or fewer different sequences than asked for.
    """
    if min(keys, values, pairs) < 1 or pairs > keys:
        raise InputError(f"recall got {keys} keys, {values} values, {pairs} pairs; expected 1 <= pairs <= keys")
    generator = np.random.default_rng(seed)

    def draw() -> NDArray[np.int64]:
        chosen, said = generator.permutation(keys)[:pairs], generator.integers(values, size=pairs)
        order = generator.permutation(pairs)
        return np.stack([chosen, said, chosen[order], said[order]])

    drawn = np.stack(distinct(draw, sum(sizes)))
    chosen_NP, said_NP, asked_NP, answer_NP = drawn.transpose(1, 0, 2)
    x_NT = np.concatenate([np.stack([chosen_NP, keys + said_NP], axis=2).reshape(len(drawn), -1), asked_NP], axis=1)
    y_NT = np.concatenate([np.full((len(drawn), 2 * pairs), _ASKED_NOT), answer_NP], axis=1)
    return _task("recall", "tags", x_NT, y_NT, sizes, 1 / values, f"{pairs} pairs of {keys} keys and {values} values")


def _words(seed: int, sizes: Sizes, symbols: int, items: int, wait: int) -> NDArray[np.int64]:
    if min(symbols - 1, items, wait) < 1:
        raise InputError(f"got {symbols} symbols, {items} items, {wait} steps to wait; expected 2, 1 and 1 or more")
    generator = np.random.default_rng(seed)
    return np.stack(distinct(lambda: generator.integers(symbols, size=items), sum(sizes)))


def _task(name: str, goal: Goal, x: NDArray[Any], y: NDArray[Any], sizes: Sizes, chance: float, note: str) -> Task:
    lengths_N = np.full(x.shape[0], x.shape[1], dtype=np.int64)
    train, val, test = split(Examples(x=x, y=y, lengths_N=lengths_N), sizes)
    tokens = goal == "tags"
    return Task(
        name=name, goal=goal,
        inputs=0 if tokens else x.shape[-1], vocabulary=int(x.max()) + 1 if tokens else 0,
        outputs=int(y.max()) + 1 if tokens else y.shape[-1],
        train=train, val=val, test=test, chance=chance, note=f"generated: {note}",
    )  # fmt: skip

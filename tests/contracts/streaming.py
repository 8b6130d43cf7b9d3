"""What a stream promises, as functions that raise AssertionError when a promise is broken.

Axes: B batch, T time, D features. Tolerances are relative to the largest output: rounding, not error, in the dtype.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullduplex.nn.snapshot import load_state, save_state
from fullduplex.nn.state import detach, fork, leaves, map_leaves, state_select_rows, state_size_bytes
from fullduplex.nn.stream import Stream, find_mutated, scan_by_steps

__all__ = ["CHECKS"]

NUM_ROWS = 3
NUM_STEPS = 37
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
CUTS = ((37,), (0, 37), (1, 36), (36, 1), (1,) * 37, (5, 0, 7, 1, 0, 24), (16, 16, 5))


def assert_close(got: Tensor, expected: Tensor, what: str) -> None:
    assert got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    if expected.numel() == 0 or not expected.is_floating_point():
        assert torch.equal(got, expected), what
        return
    error = ((got - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    assert error <= TOLERANCE[expected.dtype], f"{what}: off by {error:.1e}"


def assert_same_state(got: object, expected: object, what: str) -> None:
    for (path, leaf), (_, other) in zip(leaves(got), leaves(expected), strict=True):
        assert_close(leaf, other, f"{what}: state leaf {path}")


def assert_bit_equal(got: object, expected: object, what: str) -> None:
    for (path, leaf), (_, other) in zip(leaves(got), leaves(expected), strict=True):
        assert torch.equal(leaf, other), f"{what}: state leaf {path}"


def warm_state(stream: Stream[Any], x_BTD: Tensor) -> Any:
    """A state with a past, so that no check passes because everything is zero."""
    return detach(stream.scan(x_BTD.flip(1)[:, :11], stream.init(x_BTD.shape[0]))[1])


def check_steps_equal_scan(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    for start in (stream.init(NUM_ROWS), warm_state(stream, x_BTD)):
        whole_BTD, end = stream.scan(x_BTD, start)
        steps_BTD, end_steps = scan_by_steps(stream, x_BTD, start)
        assert_close(steps_BTD, whole_BTD, "steps against scan")
        assert_same_state(end_steps, end, "steps against scan")


def check_any_chunking(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    start = warm_state(stream, x_BTD)
    whole_BTD, end = stream.scan(x_BTD, start)
    for cut in CUTS:
        state, pieces = start, []
        for piece_BTD in x_BTD.split(cut, dim=1):
            y_BTD, state = stream.scan(piece_BTD, state)
            pieces.append(y_BTD)
        assert_close(torch.cat(pieces, dim=1), whole_BTD, f"cut {cut}")
        assert_same_state(state, end, f"cut {cut}")


def check_empty_piece(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    for start in (stream.init(NUM_ROWS), warm_state(stream, x_BTD)):
        y_BTD, state = stream.scan(x_BTD[:, :0], start)
        assert y_BTD.shape[:2] == (NUM_ROWS, 0), "no steps, no outputs"
        assert_bit_equal(state, start, "an empty piece moved the state")


def check_causal(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    start = warm_state(stream, x_BTD)
    before_BTD, _ = stream.scan(x_BTD, start)
    for t in (1, 18, NUM_STEPS - 1):
        other_BTD = x_BTD.clone()
        other_BTD[:, t:] = 7 - other_BTD[:, t:]
        after_BTD, _ = stream.scan(other_BTD, start)
        assert_close(after_BTD[:, :t], before_BTD[:, :t], f"inputs from step {t} on changed the past")
        assert not torch.equal(after_BTD[:, t], before_BTD[:, t]), f"step {t} does not see its own input"


def check_growth(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    state, sizes = stream.init(NUM_ROWS), []
    for _ in range(3):
        _, state = stream.scan(x_BTD, state)
        sizes.append(state_size_bytes(state))
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    if stream.growth == "constant":
        assert [state_size_bytes(stream.init(NUM_ROWS)), *sizes] == [sizes[0]] * 4, f"declared constant, is {sizes}"
    else:
        assert first == second > 0, f"declared linear, is {sizes}"


def check_keeps_nothing_else_alive(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    _, after_scan = stream.scan(x_BTD, stream.init(NUM_ROWS))
    _, after_step = stream.step(x_BTD[:, 0], stream.init(NUM_ROWS))
    for state in (after_scan, after_step):
        for path, leaf in leaves(state):
            held, needed = leaf.untyped_storage().nbytes(), leaf.numel() * leaf.element_size()
            assert held == needed, f"state leaf {path} of {needed} bytes keeps {held} bytes alive"


def check_rows_independent(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    start = warm_state(stream, x_BTD)
    y_BTD, end = stream.scan(x_BTD, start)
    for rows_B in (torch.tensor([2]), torch.tensor([1, 0]), torch.tensor([False, True, True])):
        alone_BTD, alone_end = stream.scan(x_BTD[rows_B], state_select_rows(start, rows_B))
        assert_close(alone_BTD, y_BTD[rows_B], f"rows {rows_B.tolist()}")
        assert_same_state(alone_end, state_select_rows(end, rows_B), f"rows {rows_B.tolist()}")
    poisoned_BTD = x_BTD.clone()
    poisoned_BTD[0] = torch.nan
    clean_BTD, _ = stream.scan(poisoned_BTD, start)
    assert_close(clean_BTD[1:], y_BTD[1:], "NaN in row 0 reached other rows")


def check_fork_leaves_parent(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    parent = warm_state(stream, x_BTD)
    copy = map_leaves(lambda _, leaf: leaf.clone(), parent)
    expected_BTD, expected_end = stream.scan(x_BTD, copy)
    scan_by_steps(stream, -3 * x_BTD, fork(parent))
    stream.scan(x_BTD.square(), fork(parent))
    assert_bit_equal(parent, copy, "a child wrote into its parent")
    y_BTD, end = stream.scan(x_BTD, parent)
    assert torch.equal(y_BTD, expected_BTD), "the parent goes on otherwise than without children"
    assert_bit_equal(end, expected_end, "the parent goes on otherwise than without children")


def check_writes_nowhere(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    for start in (stream.init(NUM_ROWS), warm_state(stream, x_BTD)):
        assert find_mutated(stream, x_BTD, start) == ()


def check_save_load_continue(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    state = warm_state(stream, x_BTD)
    save_state(state, folder / "state")
    loaded = load_state(stream, folder / "state")
    assert_bit_equal(loaded, state, "saved and loaded")
    (y_BTD, end), (loaded_BTD, loaded_end) = stream.scan(x_BTD, state), stream.scan(x_BTD, loaded)
    assert torch.equal(loaded_BTD, y_BTD), "saved, loaded and continued"
    assert_bit_equal(loaded_end, end, "saved, loaded and continued")


def check_gradients_equal(stream: Stream[Any], x_BTD: Tensor, folder: Path) -> None:
    def gradients(run: Callable[..., tuple[Tensor, Any]]) -> list[Tensor]:
        x_leaf = x_BTD.clone().requires_grad_()
        start = map_leaves(
            lambda _, leaf: leaf.clone().requires_grad_() if leaf.is_floating_point() else leaf,
            warm_state(stream, x_BTD),
        )
        y_BTD, end = run(x_leaf, start)
        ends = [leaf for _, leaf in leaves(end) if leaf.is_floating_point()]
        total = torch.stack([y_BTD.square().mean(), *(leaf.square().mean() for leaf in ends)]).sum()
        wanted = [x_leaf, *(leaf for _, leaf in leaves(start) if leaf.requires_grad)]
        wanted += list(getattr(stream, "parameters", list)())
        return list(torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True))

    by_scan = gradients(stream.scan)
    by_steps = gradients(lambda x, state: scan_by_steps(stream, x, state))
    assert any(gradient.abs().max() > 0 for gradient in by_scan if gradient.numel()), "no gradient at all"
    for index, (got, expected) in enumerate(zip(by_scan, by_steps, strict=True)):
        assert_close(got, expected, f"gradient {index}")


def _quiet(check: Callable[..., None]) -> Callable[..., None]:
    def without_gradients(*arguments: Any) -> None:
        with torch.no_grad():
            check(*arguments)

    return without_gradients


CHECKS: dict[str, Callable[[Stream[Any], Tensor, Path], None]] = {
    "steps_equal_scan": _quiet(check_steps_equal_scan),
    "any_chunking": _quiet(check_any_chunking),
    "empty_piece": _quiet(check_empty_piece),
    "causal": _quiet(check_causal),
    "growth": _quiet(check_growth),
    "keeps_nothing_else_alive": _quiet(check_keeps_nothing_else_alive),
    "rows_independent": _quiet(check_rows_independent),
    "fork_leaves_parent": _quiet(check_fork_leaves_parent),
    "writes_nowhere": _quiet(check_writes_nowhere),
    "save_load_continue": _quiet(check_save_load_continue),
    "gradients_equal": check_gradients_equal,
}

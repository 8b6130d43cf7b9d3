"""The compiled echo filter against its slow twin; its states are values; without a compiler the twin runs."""

import time

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.kernels.echo.library import SOURCES, CompiledEchoFilter, echo_filter
from fullduplex.kernels.native.build import open_library
from fullduplex.numerics.echo_filter import BLOCK_SAMPLES, AdaptiveFilter, EchoFilter

NUM_BLOCKS = 400


@pytest.fixture
def library():
    found = echo_filter(1)
    if not isinstance(found, CompiledEchoFilter):
        pytest.skip("no C compiler here")
    return found.library


def sounds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A far end that comes and goes, its echo with a talker over it: blocks."""
    rng = np.random.default_rng(seed)
    far = 0.1 * rng.standard_normal((NUM_BLOCKS, BLOCK_SAMPLES)) * (np.arange(NUM_BLOCKS) // 40 % 3 > 0)[:, None]
    path = 0.05 * rng.standard_normal(2000) * np.exp(-np.arange(2000) / 400)
    echo = np.convolve(far.reshape(-1), path)[: far.size].reshape(far.shape)
    talker = 0.05 * rng.standard_normal(far.shape) * (np.arange(NUM_BLOCKS) // 30 % 4 == 3)[:, None]
    return (echo + talker + 1e-4 * rng.standard_normal(far.shape)).astype(np.float32), far.astype(np.float32)


def run(design: AdaptiveFilter, near: np.ndarray, far: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    state, out = design.init(), []
    for near_B, far_B in zip(near, far, strict=True):
        estimate, state = design.step(near_B, far_B, state)
        out.append(estimate)
    return (
        np.concatenate([each.rest_N for each in out]),
        np.concatenate([each.echo_N for each in out]),
        np.concatenate([each.doubt_K for each in out]),
    )


@pytest.mark.parametrize("num_partitions", [1, 3, 8, 17, 40])
def test_it_equals_its_twin_for_four_hundred_blocks(library, num_partitions: int) -> None:
    near, far = sounds()
    rest, echo, doubt = run(CompiledEchoFilter(library, num_partitions), near, far)
    rest_ref, echo_ref, doubt_ref = run(EchoFilter(num_partitions), near, far)
    loudest = np.abs(near).max()
    np.testing.assert_allclose(rest, rest_ref, atol=1e-4 * loudest)
    np.testing.assert_allclose(echo, echo_ref, atol=1e-4 * loudest)
    np.testing.assert_allclose(doubt, doubt_ref, rtol=2e-3, atol=1e-9)
    if num_partitions > 16:  # the whole path fits: what agrees is a filter that works
        alone = np.flatnonzero(np.arange(NUM_BLOCKS) // 30 % 4 == 2)[-20:]
        heard = near[alone].reshape(-1)
        assert np.square(rest.reshape(near.shape)[alone]).mean() < 0.01 * np.square(heard).mean()


def test_a_step_leaves_the_old_state_untouched(library) -> None:
    near, far = sounds(1)
    design = CompiledEchoFilter(library, 5)
    state = design.init()
    for block in range(80):
        _, state = design.step(near[block], far[block], state)
    before = state.copy()
    first, _ = design.step(near[80], far[80], state)
    other, _ = design.step(near[81], -far[81], state)
    again, _ = design.step(near[80], far[80], state)
    np.testing.assert_array_equal(state, before)
    np.testing.assert_array_equal(first.rest_N, again.rest_N)
    assert not np.array_equal(first.rest_N, other.rest_N)


def test_an_hour_of_silence_costs_no_more_than_the_first_minute(library) -> None:
    near, far = sounds(3)
    design = CompiledEchoFilter(library)
    state = design.init()
    for near_B, far_B in zip(near[:100], far[:100], strict=True):
        _, state = design.step(near_B, far_B, state)
    faded = (state * np.float32(1e-38)).astype(np.float32)  # what is left of the path after an hour
    assert np.count_nonzero((faded != 0) & (np.abs(faded) < np.finfo(np.float32).tiny)) > 1000

    def fastest(start: np.ndarray) -> float:
        times = []
        for _ in range(60):
            began = time.perf_counter()
            design.step(SILENT, SILENT, start)
            times.append(time.perf_counter() - began)
        return min(times)

    assert fastest(faded) < 3 * fastest(state)
    tiny = np.float32(1e-40)
    assert tiny * np.float32(0.5) > 0  # whoever called still has them


def test_blocks_that_are_views_are_read_right(library) -> None:
    near, far = sounds(2)
    design = CompiledEchoFilter(library, 4)
    every_other = np.repeat(near[:, :, None], 2, axis=2)[..., 0]
    assert not every_other[0].flags.c_contiguous
    for plain, view in zip(run(design, near, far), run(design, every_other, far), strict=True):
        np.testing.assert_array_equal(plain, view)


def test_blocks_at_once_are_blocks_one_by_one(library) -> None:
    near, far = sounds(4)
    for design in (CompiledEchoFilter(library, 9), EchoFilter(9)):
        one_by_one = run(design, near, far)
        at_once = run(design, near.reshape(50, -1), far.reshape(50, -1))
        for single, several in zip(one_by_one, at_once, strict=True):
            np.testing.assert_array_equal(single, several)


SILENT = np.zeros(BLOCK_SAMPLES, np.float32)


@pytest.mark.parametrize(
    ("near", "far"),
    [
        (SILENT[:127], SILENT[:127]),
        (SILENT.astype(np.float64), SILENT),
        (SILENT, SILENT.astype(np.int16)),
        (SILENT.reshape(2, 64), SILENT.reshape(2, 64)),
        (SILENT, np.zeros(256, np.float32)),
        (SILENT[:0], SILENT[:0]),
    ],
)
def test_blocks_of_another_kind_are_refused(library, near: np.ndarray, far: np.ndarray) -> None:
    for design in (CompiledEchoFilter(library), EchoFilter()):
        with pytest.raises(InputError, match="a multiple of 128"):
            run(design, near[None], far[None])


def test_a_filter_without_partitions_is_refused(library) -> None:
    with pytest.raises(InputError, match="num_partitions"):
        CompiledEchoFilter(library, 0).init()


def test_without_compiled_kernels_the_twin_runs(library, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(echo_filter(7), CompiledEchoFilter)
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    assert echo_filter(7) == EchoFilter(7)


def test_a_compiler_that_fails_is_said_not_raised(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_library(tmp_path, "false", SOURCES) is None
    assert "no compiled echo filter" in caplog.text

"""The adaptive filter: it finds a known path, leaves a talker alone, and keeps its past states."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.numerics.echo_filter import BLOCK_SAMPLES, EchoFilter, EchoFilterState


def run(near: np.ndarray, far: np.ndarray, design: EchoFilter) -> tuple[np.ndarray, EchoFilterState]:
    state, out = design.init(), []
    for start in range(0, near.size, BLOCK_SAMPLES):
        block = slice(start, start + BLOCK_SAMPLES)
        estimate, state = design.step(near[block], far[block], state)
        out.append(estimate.rest_N)
    return np.concatenate(out), state


def test_white_noise_through_a_known_path_is_found() -> None:
    rng = np.random.default_rng(0)
    far = 0.1 * rng.standard_normal(BLOCK_SAMPLES * 300).astype(np.float32)
    path = np.zeros(300, np.float32)
    path[[40, 41, 200, 290]] = [0.5, -0.3, 0.2, 0.1]
    near = np.convolve(far, path)[: far.size].astype(np.float32)
    rest, state = run(near, far, EchoFilter(num_partitions=4))
    assert np.square(rest[-6400:]).mean() < 1e-3 * np.square(near[-6400:]).mean()
    found = np.fft.irfft(state.path_PF, axis=1)[:, :BLOCK_SAMPLES].reshape(-1)
    np.testing.assert_allclose(found[:300], path, atol=0.02)


def test_nothing_played_means_nothing_changed() -> None:
    near = np.random.default_rng(1).standard_normal(BLOCK_SAMPLES * 20).astype(np.float32)
    rest, _ = run(near, np.zeros_like(near), EchoFilter())
    np.testing.assert_array_equal(rest, near)


def test_a_step_leaves_the_old_state_untouched() -> None:
    rng = np.random.default_rng(2)
    blocks = rng.standard_normal((2, BLOCK_SAMPLES)).astype(np.float32)
    design = EchoFilter(num_partitions=3)
    _, state = design.step(blocks[0], blocks[1], design.init())
    first, _ = design.step(blocks[1], blocks[0], state)
    design.step(blocks[0], -blocks[1], state)
    again, _ = design.step(blocks[1], blocks[0], state)
    np.testing.assert_array_equal(first.rest_N, again.rest_N)


def test_a_filter_without_partitions_is_refused() -> None:
    with pytest.raises(InputError, match="num_partitions"):
        EchoFilter(num_partitions=0).init()

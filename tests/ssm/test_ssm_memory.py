"""Online reconstruction: what goes in comes out, as far back as the timescale says."""

import math

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.ssm.hippo.dense import discretise_dense
from fullduplex.ssm.hippo.families import transition
from fullduplex.ssm.hippo.inspection import draw_inspection, inspect_memory, loudest_end
from fullduplex.ssm.hippo.lowrank import LowRankMemory
from fullduplex.ssm.hippo.memory import GrowingMemory, Memory, MemoryState
from fullduplex.ssm.hippo.timescale import Timescale, decay_s, decay_samples, remember_s, remember_samples


def band_noise(seed, num_samples, cycles):
    """White up to `cycles` periods in the whole piece, silent above; unit power."""
    draw = np.random.default_rng(seed)
    lines = draw.standard_normal(num_samples // 2 + 1) + 1j * draw.standard_normal(num_samples // 2 + 1)
    lines[cycles + 1 :] = 0
    noise = np.fft.irfft(lines, n=num_samples)
    return noise / noise.std()


def test_timescales_are_what_they_say():
    assert remember_s("legt", 2, 16_000).step == 1 / 32_000
    assert remember_s("legt_halved", 2, 16_000).step == 2 / 32_000
    assert decay_s("legs", 30, 8_000).step == 1 / 240_000
    assert decay_samples("foud", 100).step == 0.02
    for made in (remember_samples("fout", 123), decay_samples("lagt", 123)):
        assert made.span_samples == pytest.approx(123)
    assert remember_s("lmu", 0.5, 8_000).span_s(8_000) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["legs", "legt", "fout", "lmu", "lagt"])
def test_any_cutting_gives_the_same_state(kind):
    memory = Memory(Timescale(kind=kind, step=0.01), 12)
    signal = np.random.default_rng(0).standard_normal(301)
    whole = memory.scan(signal, memory.init())
    for cuts in ([0, 1, 64, 65, 200], list(range(301)), [150, 150]):
        state = memory.init()
        for piece in np.split(signal, cuts):
            state = memory.scan(piece, state)
        np.testing.assert_allclose(state.x_N, whole.x_N, rtol=0, atol=1e-12)
        assert state.heard_samples == 301
    stepped = memory.init()
    for sample in signal:
        kept = stepped.x_N.copy()
        later = memory.step(sample, stepped)
        np.testing.assert_array_equal(stepped.x_N, kept)
        stepped = later
    np.testing.assert_allclose(stepped.x_N, whole.x_N, rtol=0, atol=1e-12)


def test_a_window_that_is_full_of_a_constant_holds_the_constant():
    memory = Memory(remember_samples("legt", 100), 8)
    state = memory.scan(np.full(2000, 3.0), memory.init())
    np.testing.assert_allclose(state.x_N, [3, 0, 0, 0, 0, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(memory.recall(state, [0, 50, 99]), 3, atol=1e-9)


@pytest.mark.parametrize("kind", ["legt", "lmu", "fout"])
def test_a_window_recalls_its_span_and_a_fading_memory_the_near_past(kind):
    signal = band_noise(0, 3000, 30)
    memory = Memory(remember_samples(kind, 500), 64)
    seen = inspect_memory(signal, memory, rate_hz=16_000)
    # A Fourier series of a piece that does not close on itself converges slowly at both ends.
    assert seen.error < (0.35 if kind == "fout" else 0.02)
    beyond = np.arange(600, 740)
    missed = memory.recall(memory.scan(signal, memory.init()), beyond) - signal[-1 - beyond]
    assert np.sqrt((missed**2).mean()) > 0.5


def test_a_fading_memory_is_exact_near_and_blurred_far():
    signal = band_noise(1, 3000, 30)
    memory = Memory(decay_samples("legs", 500), 64)
    seen = inspect_memory(signal, memory, rate_hz=16_000)
    missed = np.abs(seen.recalled_A - seen.heard_A)
    assert seen.error < 0.02
    assert missed[:200].max() < 0.1


def test_a_laguerre_memory_reads_back_the_newest_samples():
    signal = band_noise(2, 4000, 8)
    memory = Memory(decay_samples("lagt", 60), 40)
    recalled = memory.recall(memory.scan(signal, memory.init()), np.arange(20, 400))
    missed = recalled - signal[-1 - np.arange(20, 400)]
    assert np.sqrt((missed**2).mean()) < 0.1


def delay_error(kind, step, order=128, lag=1000):
    """The delay task: frozen memory, ridge-regressed reading of the sample `lag` ago; share of the signal missed."""
    system = discretise_dense(transition(kind, order), step)

    def states(signal):
        rows, x = np.zeros((signal.size, order)), np.zeros(order)
        for t, sample in enumerate(signal):
            x = system.a_NN @ x + system.b_N * sample
            rows[t] = x
        return rows[lag:]

    heard = [band_noise(seed, 4000, 100) for seed in range(3)]
    x_TN = np.concatenate([states(signal) for signal in heard])
    wanted = np.concatenate([signal[:-lag] for signal in heard])
    gram = x_TN.T @ x_TN
    read = np.linalg.solve(gram + 1e-8 * np.trace(gram) / order * np.eye(order), x_TN.T @ wanted)
    fresh = band_noise(9, 4000, 100)
    return np.sqrt(np.mean((states(fresh) @ read - fresh[:-lag]) ** 2))


@pytest.mark.parametrize("kind", ["legt", "fout"])
def test_the_window_cliff(kind):
    # 1 / step is the window: as long as the lag it does the task, half as long it cannot.
    assert delay_error(kind, 1e-3) < 0.1
    assert delay_error(kind, 2e-3) > 0.9
    # The halved matrices have their cliff at twice the step.
    assert delay_error(f"{kind}_halved", 2e-3) < 0.1
    assert delay_error(f"{kind}_halved", 4e-3) > 0.9


def test_a_fading_memory_has_no_cliff():
    short, long = delay_error("legs", 1e-3), delay_error("legs", 2e-3)
    assert 0.3 < short < 0.7
    assert 0.3 < long < 0.7


def test_parseval():
    # The energy in the state is at most that of the signal under the memory's weight.
    signal = band_noise(3, 3000, 60)
    memory = Memory(decay_samples("legs", 400), 48)
    x_N = memory.scan(signal, memory.init()).x_N
    weight = np.exp(-(np.arange(3000) + 0.5) / 400) / 400
    assert np.sum(x_N**2) <= np.sum(weight * signal[::-1] ** 2) * 1.001


def test_growing_memory_of_a_constant_and_a_ramp():
    memory = GrowingMemory(6)
    np.testing.assert_allclose(memory.scan(np.full(50, 2.5), memory.init()).x_N, [2.5, 0, 0, 0, 0, 0], atol=1e-12)
    state = memory.scan(np.arange(1000) + 0.5, memory.init())
    # t = T (1 - age) is T/2 + T/(2 sqrt 3) times the first orthonormal polynomial of age, and nothing else.
    np.testing.assert_allclose(state.x_N, [500, 1000 / (2 * math.sqrt(3)), 0, 0, 0, 0], atol=2e-3)
    np.testing.assert_allclose(memory.recall(state, [0, 500, 999]), [999.5, 499.5, 0.5], atol=0.05)


def test_growing_memory_does_not_know_the_speed_of_a_signal():
    memory, signal = GrowingMemory(16), band_noise(4, 100, 10)
    once = memory.scan(signal, memory.init())
    slow = memory.scan(np.repeat(signal, 3), memory.init())
    np.testing.assert_allclose(slow.x_N, once.x_N, rtol=0, atol=1e-11)


def test_growing_memory_is_better_with_more_numbers_and_can_be_cut():
    signal, errors = band_noise(5, 400, 6), []
    for order in (4, 16, 32):
        memory = GrowingMemory(order)
        state = memory.scan(signal, memory.init())
        errors.append(np.sqrt(np.mean((memory.recall(state, np.arange(400)) - signal[::-1]) ** 2)))
    assert errors[0] > errors[1] > 5 * errors[2]
    assert errors[2] < 0.02
    cut = memory.scan(signal[123:], memory.scan(signal[:123], memory.init()))
    np.testing.assert_array_equal(cut.x_N, state.x_N)
    one = memory.step(signal[0], memory.init())
    np.testing.assert_array_equal(memory.scan(signal[1:], one).x_N, state.x_N)


@pytest.mark.parametrize("kind", ["legs", "legt", "legt_halved", "lagt", "fout", "foud", "fourier_decay"])
def test_the_low_rank_step_gives_the_same_numbers(kind):
    timescale = Timescale(kind=kind, step=0.01)
    dense, fast = Memory(timescale, 16, rule="bilinear"), LowRankMemory(timescale, 16)
    signal = np.random.default_rng(0).standard_normal(400)
    z_M = fast.init()
    for sample in signal:
        z_M = fast.step(sample, z_M)
    expected = dense.scan(signal, dense.init()).x_N
    np.testing.assert_allclose(fast.to_state(z_M), expected, rtol=0, atol=1e-11)


def test_the_inspector_finds_the_loud_part_and_draws_it(tmp_path):
    quiet = np.zeros(5000)
    quiet[2000:2400] = band_noise(6, 400, 8)
    end = loudest_end(quiet, 400)
    assert abs(end - 2400) <= 2
    seen = inspect_memory(quiet, Memory(remember_samples("legt", 400), 64), rate_hz=16_000, end_samples=end)
    assert seen.end_samples == end
    assert seen.heard_A.size == 600
    assert seen.error < 0.2
    pytest.importorskip("matplotlib")
    draw_inspection(tmp_path / "new" / "memory.png", seen, title="noise")
    assert (tmp_path / "new" / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_silence_is_remembered_exactly():
    seen = inspect_memory(np.zeros(10), Memory(remember_samples("legt", 100), 4), rate_hz=16_000)
    assert (seen.error, seen.heard_A.size, loudest_end(np.zeros(10), 100)) == (0.0, 10, 10)


MEMORY = Memory(remember_samples("legt", 100), 4)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: remember_samples("legs", 100),
        lambda: decay_samples("legt", 100),
        lambda: decay_samples("fourier_decay", 100),
        lambda: remember_samples("legt", 0.5),
        lambda: remember_samples("legt", math.inf),
        lambda: remember_s("legt", -1, 16_000),
        lambda: remember_s("legt", 1, 0),
        lambda: Timescale(kind="legt", step=0.0),
        lambda: Timescale(kind="what", step=1.0),
        lambda: Timescale(kind="fourier_decay", step=1.0).span_samples,
        lambda: MEMORY.scan([math.nan], MEMORY.init()),
        lambda: MEMORY.scan([[1.0]], MEMORY.init()),
        lambda: MEMORY.scan([1.0], MemoryState(np.zeros(5), 0)),
        lambda: MEMORY.recall(MEMORY.init(), [-1]),
        lambda: Memory(Timescale(kind="fout", step=0.1), 3),
        lambda: Memory(Timescale(kind="foud", step=0.1), 4).recall(MEMORY.init(), [0]),
        lambda: GrowingMemory(0),
        lambda: GrowingMemory(4).recall(GrowingMemory(4).init(), [0]),
        lambda: LowRankMemory(Timescale(kind="legs", step=0.1), 5),
        lambda: LowRankMemory(Timescale(kind="legs", step=0.1), 4).step(0.0, np.zeros(4, complex)),
        lambda: inspect_memory([], MEMORY, rate_hz=1),
        lambda: inspect_memory([1.0], MEMORY, rate_hz=1, end_samples=2),
        lambda: loudest_end([], 3),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()

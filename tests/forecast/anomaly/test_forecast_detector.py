"""The streaming detector: what it finds, that a stream is a file, and what it refuses."""

import numpy as np
import pytest

pytest.importorskip("torch")

from fullduplex.base.errors import ConfigError, FormatError, InputError
from fullduplex.forecast.anomaly.detector import ChimeraDetector, DetectorConfig
from fullduplex.forecast.chimera.coupled import Fit
from fullduplex.nn.state import state_size_bytes

QUICK = DetectorConfig(fit=Fit(num_updates=40, batch=8, num_steps=48))


def waves(rows: int = 900, seed: int = 0) -> np.ndarray:
    time = np.arange(rows)
    first = np.sin(2 * np.pi * time / 40)
    pair = np.stack([first, np.roll(first, 3)], axis=1)
    return pair + 0.05 * np.random.default_rng(seed).standard_normal(pair.shape)


@pytest.fixture(scope="module")
def detector() -> ChimeraDetector:
    return ChimeraDetector(QUICK).fit(waves()[:500])


def test_a_spike_and_a_change_that_stays_stand_out(detector: ChimeraDetector) -> None:
    values = waves()[500:]
    values[150, 0] += 2
    values[300:330, 1] += 0.3 * np.random.default_rng(9).standard_normal(30)  # each value alone is an ordinary one
    scores = detector.score(values)
    usual = np.delete(scores, np.r_[150:165, 300:360])
    assert scores[150] > 1.5 * usual.max()
    assert scores[300:330].max() > 1.5 * usual.max()


def test_rows_one_by_one_are_rows_at_once(detector: ChimeraDetector) -> None:
    values, state = waves(seed=1)[500:600], detector.init()
    stepped = np.empty(100)
    for row, column in enumerate(values):
        stepped[row], state = detector.step(column, state)
    assert np.allclose(stepped, detector.score(values), rtol=1e-4, atol=1e-4)
    for cut in (0, 1, 37):  # any chunking
        first, middle = detector._score(values[:cut], detector.init())
        rest, _ = detector._score(values[cut:], middle)
        assert np.allclose(np.concatenate([first, rest]), stepped, rtol=1e-4, atol=1e-4)


def test_a_score_knows_no_future(detector: ChimeraDetector) -> None:
    values = waves(seed=2)[500:600]
    changed = values.copy()
    changed[60:] += 5
    assert np.array_equal(detector.score(values)[:60], detector.score(changed)[:60])


def test_memory_does_not_grow(detector: ChimeraDetector) -> None:
    state = detector.init()
    size = state_size_bytes(state)
    for column in waves(seed=3)[500:560]:
        _, state = detector.step(column, state)
    assert state_size_bytes(state) == size


def test_missing_values_count_for_nothing(detector: ChimeraDetector) -> None:
    values = waves(seed=4)[500:600]
    values[20, 0], values[30] = np.nan, np.nan
    scores = detector.score(values)
    assert np.isfinite(scores).all() and scores[30] == 0
    assert scores[31:40].max() < 8


def test_kept_and_read_again_it_goes_on_bit_equal(detector: ChimeraDetector, tmp_path) -> None:
    detector.save(tmp_path / "it.ckpt")
    again = ChimeraDetector.load(tmp_path / "it.ckpt")
    values = waves(seed=5)[500:560]
    assert np.array_equal(again.score(values), detector.score(values))
    content = bytearray((tmp_path / "it.ckpt").read_bytes())
    content[-9] ^= 1
    (tmp_path / "it.ckpt").write_bytes(content)
    with pytest.raises(FormatError, match="checksum"):
        ChimeraDetector.load(tmp_path / "it.ckpt")


def test_a_constant_series_is_quiet_until_it_moves() -> None:
    values = np.full((200, 1), 3.0)
    values[150] = 4
    scores = ChimeraDetector(QUICK).fit(values[:100]).score(values[100:])
    assert scores[:50].max() < 1 and scores[50] > 8


def test_bad_input_is_refused(detector: ChimeraDetector) -> None:
    with pytest.raises(InputError, match="30 rows"):
        ChimeraDetector(QUICK).fit(waves(20))
    with pytest.raises(InputError, match="missing or infinite"):
        ChimeraDetector(QUICK).fit(np.where(np.arange(900)[:, None] == 5, np.nan, waves()))
    with pytest.raises(InputError, match="were channels changed"):
        detector.score(waves()[:10, :1])
    with pytest.raises(InputError, match="infinite"):
        detector.step(np.array([np.inf, 0]), detector.init())
    with pytest.raises(InputError, match="not fitted"):
        ChimeraDetector().score(waves()[:10])
    with pytest.raises(ConfigError, match="short_rows"):
        DetectorConfig(short_rows=10, long_rows=5)

"""Voice activity: on real speech, as a value, and for bad frames."""

import numpy as np
import pytest

from fullduplex.base.errors import AssetError, InputError
from fullduplex.evaluate.clips import load_clip
from fullduplex.numerics.signal import Pcm
from fullduplex.speech.vad import EnergyVad, SileroVad, Vad

FRAME = 512


def probabilities(vad: Vad, pcm: Pcm) -> np.ndarray:
    state, out = vad.init(), []
    for start in range(0, pcm.size - FRAME + 1, FRAME):
        probability, state = vad.step(pcm[start : start + FRAME], state)
        out.append(probability)
    return np.array(out)


def test_silero_hears_speech_and_neither_silence_nor_hiss(silero: SileroVad, read_speech: Pcm) -> None:
    hiss = 0.01 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    assert np.mean(probabilities(silero, read_speech) > 0.5) > 0.6
    assert np.mean(probabilities(silero, hiss) > 0.5) < 0.05
    assert probabilities(silero, np.zeros(16_000, np.float32)).max() < 0.3


def test_silero_does_not_care_how_loud(silero: SileroVad, read_speech: Pcm) -> None:
    loud, soft = probabilities(silero, read_speech), probabilities(silero, read_speech * np.float32(0.1))
    assert np.mean((loud > 0.5) == (soft > 0.5)) > 0.9


def test_a_batch_is_its_rows_and_forking_leaves_the_parent(silero: SileroVad, read_speech: Pcm) -> None:
    frames = [read_speech[start : start + FRAME] for start in range(16_000, 16_000 + 5 * FRAME, FRAME)]
    states = [silero.init() for _ in frames]
    for _ in range(3):
        alone = [silero.step(frame, state) for frame, state in zip(frames, states, strict=True)]
        together, after = silero.step_many(frames, states)
        np.testing.assert_allclose(together, [p for p, _ in alone], atol=1e-5)
        again, _ = silero.step_many(frames, states)
        np.testing.assert_array_equal(together, again)
        states = list(after)


def test_energy_hears_what_rises_above_the_background(read_speech: Pcm) -> None:
    hiss = 0.003 * np.random.default_rng(0).standard_normal(read_speech.size).astype(np.float32)
    assert np.mean(probabilities(EnergyVad(), read_speech + hiss) > 0.5) > 0.5
    steady = probabilities(EnergyVad(), np.tile(hiss, 3))
    assert np.mean(steady[300:] > 0.5) < 0.02
    assert probabilities(EnergyVad(), np.zeros(16_000, np.float32)).max() < 0.01


def test_energy_without_any_asset_finds_a_burst_and_its_end() -> None:
    rng = np.random.default_rng(1)
    pcm = 0.001 * rng.standard_normal(64 * FRAME).astype(np.float32)
    pcm[20 * FRAME : 40 * FRAME] += 0.1 * rng.standard_normal(20 * FRAME).astype(np.float32)
    found = np.flatnonzero(probabilities(EnergyVad(), pcm) > 0.5)
    assert found[0] == 20
    assert 39 <= found[-1] <= 47


@pytest.mark.parametrize("bad", [np.zeros(511, np.float32), np.zeros(512, np.int16), np.full(512, np.nan, np.float32)])
def test_bad_frames_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="frame"):
        EnergyVad().step(bad, EnergyVad().init())


def test_silero_refuses_bad_frames_and_lists_that_differ(silero: SileroVad) -> None:
    good = np.zeros(FRAME, np.float32)
    with pytest.raises(InputError, match="frame"):
        silero.step(good[:-1], silero.init())
    with pytest.raises(InputError, match="one state a frame"):
        silero.step_many([good, good], [silero.init()])
    with pytest.raises(InputError, match="one state a frame"):
        silero.step_many([], [])


def test_a_damaged_model_is_an_asset_error(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(AssetError, match="not a file"):
        SileroVad(tmp_path / "absent.onnx")
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x08\x12\x07")
    with pytest.raises(AssetError, match="cut"):
        SileroVad(tmp_path / "cut.onnx")
    with pytest.raises(InputError, match="margin_db"):
        EnergyVad(margin_db=0)


@pytest.mark.parametrize("offset", [-0.5, 0.1, 0.4])
def test_a_constant_offset_is_no_speech_and_hides_none(silero: SileroVad, offset: float) -> None:
    assert probabilities(silero, np.full(48_000, offset, np.float32)).max() < 0.3
    pcm = load_clip("question-04").pcm
    with_offset = probabilities(silero, (pcm + np.float32(offset)).astype(np.float32))
    assert np.mean((with_offset > 0.5) == (probabilities(silero, pcm) > 0.5)) > 0.9

"""Echo: learned and removed, a talker kept, and no self-interruption at any loop gain."""

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.numerics.signal import Pcm, level_db
from fullduplex.speech.echo import EchoCanceller, EchoRemover, NoEcho
from fullduplex.speech.recogniser import Moonshine
from fullduplex.speech.vad import SileroVad
from fullduplex.speech.webrtc import WebRtcEcho

FRAME = 512


def room(seed: int = 1, delay_s: float = 0.06) -> np.ndarray:
    """A 60 ms delay, then a direct sound and a tail that falls by 60 dB in 0.35 s; unit energy."""
    tail = 0.15 * np.random.default_rng(seed).standard_normal(3200) * np.exp(-np.arange(3200) / 800)
    tail[0] += 1.0
    return np.concatenate([np.zeros(int(delay_s * 16_000)), tail / np.sqrt(np.square(tail).sum())])


def through(pcm: Pcm, path: np.ndarray) -> Pcm:
    size = 1 << (pcm.size + path.size).bit_length()
    return np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(path, size), size)[: pcm.size].astype(np.float32)


def speechlike(num: int, seed: int = 0) -> Pcm:
    """Noise with a speech-like spectrum that comes and goes four times a second."""
    noise = np.random.default_rng(seed).standard_normal(num)
    coloured = np.convolve(noise, 0.9 ** np.arange(40))[:num]
    pcm = coloured * np.maximum(0, np.sin(2 * np.pi * 4 * np.arange(num) / 16_000))
    return (0.1 * pcm / np.sqrt(np.mean(np.square(pcm)))).astype(np.float32)


def run(remover: EchoRemover, near: Pcm, far: Pcm, chunk: int = FRAME) -> tuple[Pcm, np.ndarray]:
    out, shares = [], []
    for start in range(0, near.size, chunk):
        out.append(remover.process(near[start : start + chunk], far[start : start + chunk]))
        shares.append(remover.echo_share)
    return np.concatenate(out), np.array(shares)


@pytest.mark.parametrize("gain", [0.1, 0.5, 1.0])
def test_echo_falls_by_20_db_and_the_share_says_what_is_left(gain: float) -> None:
    far = speechlike(FRAME * 250)
    echo = gain * through(far, room())
    out, shares = run(EchoCanceller(), echo, far)
    assert level_db(echo[-32_000:]) - level_db(out[-32_000:]) > 20
    assert shares[4:20].min() > 0.5
    assert shares.max() <= 1.0


def test_a_talker_without_echo_passes_and_is_believed() -> None:
    near = speechlike(FRAME * 60, seed=3)
    out, shares = run(EchoCanceller(), near, np.zeros_like(near))
    np.testing.assert_array_equal(out, near)
    assert shares.max() == 0.0


def test_a_talker_over_a_learned_echo_is_kept() -> None:
    far = speechlike(FRAME * 300)
    near = np.zeros_like(far)
    near[FRAME * 200 :] = speechlike(FRAME * 100, seed=4)
    out, shares = run(EchoCanceller(), 0.5 * through(far, room()) + near, far)
    talk = slice(FRAME * 210, None)
    assert level_db(out[talk] - near[talk]) < level_db(near[talk]) - 15
    assert np.mean(shares[210:] < 0.5) > 0.5


def test_any_chunking_with_the_declared_latency_gives_the_same() -> None:
    far = speechlike(FRAME * 20)
    near = (0.5 * through(far, room())).astype(np.float32)
    whole, _ = run(EchoCanceller(), near, far)
    late = EchoCanceller(any_chunk=True)
    pieces, _ = run(late, near, far, chunk=333)
    assert late.latency_samples == 127
    assert pieces.size == near.size
    np.testing.assert_allclose(pieces[127:], whole[:-127], atol=1e-6)


def test_a_known_delay_moves_the_reach_of_the_path() -> None:
    far = speechlike(FRAME * 200)
    echo = through(far, room(delay_s=0.4))
    blind, _ = run(EchoCanceller(), echo, far)
    told, _ = run(EchoCanceller(delay_ms=380), echo, far)
    assert level_db(told[-32_000:]) < level_db(blind[-32_000:]) - 15


@pytest.mark.parametrize("remover", [EchoCanceller, NoEcho])
def test_bad_chunks_are_refused(remover: type[EchoRemover]) -> None:
    with pytest.raises(InputError, match="one length"):
        remover().process(np.zeros(512, np.float32), np.zeros(511, np.float32))
    with pytest.raises(InputError, match="far_pcm has nan"):
        remover().process(np.zeros(512, np.float32), np.full(512, np.nan, np.float32))


def test_odd_chunks_and_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of 128"):
        EchoCanceller().process(np.zeros(100, np.float32), np.zeros(100, np.float32))
    with pytest.raises(InputError, match="delay_ms"):
        EchoCanceller(delay_ms=-1)


def test_the_webrtc_module_behind_the_same_interface() -> None:
    pytest.importorskip("livekit")
    far = speechlike(FRAME * 150)
    echo = (0.5 * through(far, room())).astype(np.float32)
    out, _ = run(WebRtcEcho(), echo, far)
    assert out.size == echo.size
    assert level_db(echo[-32_000:]) - level_db(out[-32_000:]) > 15
    with pytest.raises(InputError, match="delay_ms"):
        WebRtcEcho(delay_ms=501)


@pytest.mark.parametrize("gain", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("clipping", [False, True])
def test_the_machine_does_not_interrupt_itself(
    silero: SileroVad, read_speech: Pcm, gain: float, clipping: bool
) -> None:
    """Its own speech in a room never looks like a talker for two frames, which would silence it, from the first moment on.

    A loudspeaker that clips hard leaves what no linear filter can remove: there, not for three.
    """
    played = np.tanh(3 * read_speech) / np.float32(3) if clipping else read_speech
    noise = 10 ** (-65 / 20) * np.random.default_rng(5).standard_normal(read_speech.size)
    near = (gain * through(played, room()) + noise).astype(np.float32)
    remover, state, fired = EchoCanceller(), silero.init(), []
    for start in range(0, near.size - FRAME + 1, FRAME):
        out = remover.process(near[start : start + FRAME], read_speech[start : start + FRAME])
        probability, state = silero.step(out, state)
        fired.append(probability > 0.5 and remover.echo_share < 0.5)
    assert np.mean(fired) < 0.01
    frames = 3 if clipping else 2
    assert np.convolve(fired, np.ones(frames), "valid").max() < frames


def test_a_talker_over_the_machine_is_understood(moonshine: Moonshine, joe, read_speech: Pcm) -> None:
    from fullduplex.numerics.resample import resample

    say = resample(joe.speak("No, stop, that is not what I meant.").pcm_N, 24_000, 16_000) * np.float32(0.5)
    near = np.zeros_like(read_speech)
    near[64_000 : 64_000 + say.size] = say
    out, _ = run(EchoCanceller(any_chunk=True), near + 0.5 * through(read_speech, room()), read_speech)
    text = moonshine.recognise(out[64_000 : 64_000 + say.size + 3200]).text.lower()
    assert "stop" in text
    assert "not what i meant" in text

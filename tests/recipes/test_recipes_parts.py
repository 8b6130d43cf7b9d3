"""Choosing parts: fallbacks that say so, strictness that says what to run."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from endpoint import endpoint
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import AssetError, ConfigError, InputError, MissingExtraError, PortError
from fullduplex.dialogue.policies.tdm import TdmPolicy
from fullduplex.kernels.decoder.library import decoder_library
from fullduplex.lm.guided import GuidedBrain
from fullduplex.lm.scripted import ScriptedBrain
from fullduplex.recipes.machine.health import decoder
from fullduplex.recipes.parts import BRAINS, PartsConfig, open_brain, open_parts, open_voice
from fullduplex.recipes.talk import TalkConfig, make_echo, make_session
from fullduplex.speech.echo import EchoCanceller, NoEcho
from fullduplex.speech.webrtc import WebRtcEcho

NO_DECODER = "none: llama.cpp runs brains"


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "empty"))


def test_without_assets_everything_falls_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parts = open_parts(PartsConfig())
    assert parts.chosen == {
        "vad": "energy",
        "recogniser": "none",
        "turn_end": "silence",
        "brain": "scripted",
        "voice": "tones",
    }
    for stage in parts.chosen:
        assert any(record.message.startswith(stage) for record in caplog.records)
    assert "fullduplex assets get silero-vad" in caplog.text


def test_strict_names_the_command() -> None:
    with pytest.raises((AssetError, MissingExtraError), match=r"fullduplex assets get|pip install"):
        open_parts(PartsConfig(strict=True))


@pytest.mark.parametrize("name", sorted(BRAINS))
def test_a_missing_brain_names_its_asset(name: str) -> None:
    with pytest.raises(AssetError, match=f"fullduplex assets get {BRAINS[name]}"):
        open_brain(PartsConfig(brain=name))


@pytest.mark.parametrize("voice", ["piper", "kokoro"])
def test_a_missing_voice_names_the_command(voice: str) -> None:
    with pytest.raises((AssetError, MissingExtraError), match=r"fullduplex assets get|pip install"):
        open_voice(PartsConfig(voice=voice))


def test_names_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="scripted"):
        open_brain(PartsConfig(brain="huge"))
    with pytest.raises(ConfigError, match="piper"):
        open_voice(PartsConfig(voice="opera"))
    with pytest.raises(ConfigError, match="'nobody' is not known to kokoro; use one of af_heart, af_bella"):
        open_parts(PartsConfig(brain="scripted", voice="kokoro", speaker="nobody"))
    with pytest.raises(ConfigError, match="turns"):
        make_session(open_parts(PartsConfig(brain="scripted", voice="tones")), TalkConfig(policy="shout"))


@pytest.mark.parametrize("name", ["missing.gguf", "missing.safetensors", "folder.gguf", "silero-vad", "piper-joe"])
def test_a_file_that_is_not_there_and_an_asset_that_is_no_brain_are_no_reason_to_talk_with_another_brain(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ConfigError, match=rf"{name} is (not there|a folder|no brain).*; (give|use) "):
        open_parts(PartsConfig(brain=name, voice="tones"))


def test_a_student_without_its_chat_model_is_no_reason_to_talk_with_another_brain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise AssetError("its chat model is not there")

    (tmp_path / "student.safetensors").write_bytes(b"")
    monkeypatch.setattr("fullduplex.recipes.parts.open_student", absent)
    with pytest.raises(AssetError, match="chat model"):
        open_parts(PartsConfig(brain=str(tmp_path / "student.safetensors"), voice="tones"))


@pytest.mark.parametrize("threads", [-1, 65, 100_000])
def test_threads_that_no_machine_has_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"threads is {threads}; expected 0 to 64"):
        PartsConfig(threads=threads)


@pytest.mark.parametrize("policy", ["turns", "tdm"])
def test_a_slice_out_of_range_is_refused_whatever_the_policy(policy: str) -> None:
    for slice_s in (9.0, 0.1, float("nan")):
        with pytest.raises(InputError, match="slice_s must be between"):
            TalkConfig(policy=policy, slice_s=slice_s)


def test_a_brain_that_was_taught_slices_is_spoken_to_in_slices() -> None:
    """Whatever its kind: a chat model folded with an adapter, or a state-space student."""

    class Taught(ScriptedBrain):
        layout = "pairs"

    parts = open_parts(PartsConfig(brain="scripted", voice="tones"))
    for brain, layout in ((parts.brain, "merged"), (Taught(), "pairs")):
        policy = make_session(replace(parts, brain=brain), TalkConfig(policy="tdm")).policy
        assert isinstance(policy, TdmPolicy)
        assert policy.config.layout == layout
    pytest.importorskip("torch", reason="needs the extra torch")
    from fullduplex.lm.student.brain import StudentBrain

    assert StudentBrain.layout == "pairs"


def test_the_doctor_says_what_runs_brains(monkeypatch: pytest.MonkeyPatch) -> None:
    library = decoder_library()
    found = decoder()
    assert (found.ok, found.found) == (
        (None, NO_DECODER) if library is None else (True, library.decoder_way().decode())
    )
    monkeypatch.setenv("FULLDUPLEX_NATIVE", "off")
    assert (decoder().ok, decoder().found) == (None, NO_DECODER)


def test_the_small_brain_is_stored_again_only_for_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("fullduplex.recipes.parts.LlamaBrain", lambda file, **settings: opened.append(str(file)))
    monkeypatch.setattr("fullduplex.recipes.parts.model_file", lambda name: f"{name} as it is")
    monkeypatch.setattr("fullduplex.recipes.parts.quick_file", lambda name: f"{name} stored again")
    for library in (object(), None):
        monkeypatch.setattr("fullduplex.recipes.parts.decoder_library", lambda library=library: library)
        for name in ("small", "good"):
            open_brain(PartsConfig(brain=name))
    assert opened == ["small as it is", "good as it is", "small stored again", "good as it is"]


def test_an_endpoint_is_asked_for_its_model_and_rules_listen_without_a_small_brain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with endpoint() as script:
        brain = open_brain(PartsConfig(brain=script.address))
        assert isinstance(brain, GuidedBrain) and isinstance(brain.listener, ScriptedBrain)
        assert "small brain is not there" in caplog.text
        assert list(brain.stream((Message("user", "Hi"),), Sampling(), key="a")) == ["Héllo", " you"]
        assert script.requests[-1][2]["model"] == "small"  # the only one it lists
        caplog.clear()
        open_brain(PartsConfig(brain=script.address, brain_model="other"))
        assert "does not list a model 'other' (it has small)" in caplog.text
        script.models = '{"data": [{"id": "a"}, {"id": "b"}]}'
        with pytest.raises(ConfigError, match=r"it has a, b; name one with --brain-model"):
            open_brain(PartsConfig(brain=script.address))
        script.models = 404
        with pytest.raises(ConfigError, match="does not tell"):
            open_brain(PartsConfig(brain=script.address))
        assert isinstance(open_brain(PartsConfig(brain=script.address, brain_model="any")), GuidedBrain)


def test_an_endpoint_that_is_not_there_is_no_reason_to_talk_with_another_brain() -> None:
    with pytest.raises(PortError, match="is it running"):
        open_parts(PartsConfig(brain="http://127.0.0.1:9/v1", brain_model="m", voice="tones"))


def test_echo_cancellers_by_name_and_what_stands_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(make_echo(), EchoCanceller)
    assert isinstance(make_echo(kind="none"), NoEcho)
    assert isinstance(make_echo(enabled=False, kind="webrtc"), NoEcho)
    pytest.importorskip("livekit")
    assert isinstance(make_echo(kind="webrtc"), WebRtcEcho)
    monkeypatch.setitem(sys.modules, "livekit", None)
    assert isinstance(make_echo(kind="webrtc"), EchoCanceller)
    assert "falling back to own" in caplog.text
    with pytest.raises(ConfigError, match="own, webrtc, none"):
        make_echo(kind="magic")

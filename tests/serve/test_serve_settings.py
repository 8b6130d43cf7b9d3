"""session.update: what is understood takes effect, what is not is refused by name."""

from typing import Any

import pytest

from fakes import FakeEar
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.serve.realtime.settings import Offer, configured, described, initial, updated

BASE = Session(ear=FakeEar(), policy=TurnsPolicy())


def after(session: dict[str, Any]):
    return updated(initial(BASE, Offer(voice="joe")), session)


def with_turns(detection: dict[str, Any] | None) -> Session:
    settings, refusals = after({"audio": {"input": {"turn_detection": detection}}})
    assert not refusals
    return configured(BASE, settings)


def test_a_session_that_changes_nothing_is_the_servers_own() -> None:
    settings = initial(BASE, Offer())
    assert configured(BASE, settings) == BASE
    again, refusals = updated(settings, described(settings, "s"))
    assert (again, refusals) == (settings, [])


def test_server_vad_is_silence_alone() -> None:
    session = with_turns({"type": "server_vad", "threshold": 0.7, "silence_duration_ms": 700})
    assert isinstance(session.policy, TurnsPolicy)
    endpoint = session.policy.config.endpoint
    assert (endpoint.min_silence_s, endpoint.max_silence_s) == (0.7, 0.7)
    assert session.config.hearing.enter == 0.7
    assert session.policy.config.answers
    assert session.policy.config.ends_turns


def test_eagerness_orders_the_thresholds() -> None:
    thresholds = []
    for eagerness in ("high", "auto", "low"):
        policy = with_turns({"type": "semantic_vad", "eagerness": eagerness}).policy
        assert isinstance(policy, TurnsPolicy)
        thresholds.append(policy.config.endpoint.threshold)
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == 3


def test_push_to_talk_and_unanswered_turns() -> None:
    policy = with_turns(None).policy
    assert isinstance(policy, TurnsPolicy)
    assert (policy.config.ends_turns, policy.config.answers) == (False, False)
    policy = with_turns({"type": "semantic_vad", "create_response": False}).policy
    assert isinstance(policy, TurnsPolicy)
    assert (policy.config.ends_turns, policy.config.answers) == (True, False)


def test_sampling_and_modality() -> None:
    settings, refusals = after({"max_output_tokens": 12, "temperature": 0.7, "output_modalities": ["text"]})
    assert not refusals
    sampling = configured(BASE, settings).config.sampling
    assert (sampling.max_tokens, sampling.temperature, settings.modality) == (12, 0.7, "text")


def test_names_of_other_voices_are_taken_as_no_wish() -> None:
    settings, refusals = after({"audio": {"output": {"voice": "alloy"}}})
    assert not refusals
    assert described(settings, "s")["audio"]["output"]["voice"] == "joe"


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "transcription"}, "session.type"),
        ({"instructions": 5}, "session.instructions"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"max_output_tokens": True}, "session.max_output_tokens"),
        ({"temperature": "hot"}, "session.temperature"),
        ({"temperature": float("nan")}, "session.temperature"),
        ({"audio": 3}, "session.audio"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format"),
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}}, "session.audio.output.format"),
        ({"audio": {"output": {"voice": "nobody"}}}, "session.audio.output.voice"),
        ({"audio": {"output": {"speed": 1.5}}}, "session.audio.output.speed"),
        ({"audio": {"output": {"volume": 2}}}, "session.audio.output.volume"),
        ({"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}, "session.audio.input.noise_reduction"),
        ({"audio": {"input": {"transcription": {"language": "de"}}}}, "session.audio.input.transcription.language"),
        ({"audio": {"input": {"turn_detection": {"type": "magic"}}}}, "session.audio.input.turn_detection.type"),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}}},
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}},
            "session.audio.input.turn_detection.interrupt_response",
        ),
        ({"tools": [{"type": "function", "name": "f"}]}, "session.tools"),
        ({"tool_choice": "required"}, "session.tool_choice"),
        ({"modalities": ["audio"]}, "session.modalities"),
        ({"nonsense": 1}, "session.nonsense"),
        ({"fullduplex": {"nonsense": 1}}, "session.fullduplex.nonsense"),
        ({"fullduplex": {"vad_threshold": 3}}, "session.fullduplex.vad_threshold"),
        ({"audio": {"output": {"speed": True}}}, "session.audio.output.speed"),
    ],
)
def test_refusals_name_the_field_and_leave_the_rest(session: dict[str, Any], param: str) -> None:
    settings, refusals = after({**session, "include": []})
    assert [refusal.param for refusal in refusals] == [param]
    assert refusals[0].message.startswith((param, "unknown parameter"))
    assert settings == initial(BASE, Offer(voice="joe"))


def test_one_wrong_field_does_not_spoil_the_others() -> None:
    settings, refusals = after({"instructions": "Be kind.", "speed": 2, "max_output_tokens": 7})
    assert (settings.instructions, settings.max_output_tokens) == ("Be kind.", 7)
    assert "session.audio.output.speed" in refusals[0].message

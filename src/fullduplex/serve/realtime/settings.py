"""The settings of a session: `session.update` in, the `session` object out, and what they mean to the core.

An update is taken field by field: what is understood takes effect, every other field is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.serve.realtime.door import shown

__all__ = ["Offer", "Refusal", "Settings", "TurnDetection", "configured", "described", "initial", "updated"]

# Applications name one of these without meaning it; the voice that speaks is said in session.updated.
_FOREIGN_VOICES = ("alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse")
_EAGERNESS = {"low": (0.75, 4.0), "medium": None, "auto": None, "high": (0.35, 1.2)}  # threshold, longest silence in s
_MOST_NAME = 80  # characters of an unknown name, in a message
_BETA = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "max_response_output_tokens": "max_output_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What this server has: names that clients are told."""

    model: str = "fullduplex"
    voice: str = "default"
    recogniser: str = "default"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A field that was not taken."""

    param: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDetection:
    """`kind` "semantic_vad" is sound, words and silence fused; "server_vad" silence alone; "none" push-to-talk."""

    kind: Literal["semantic_vad", "server_vad", "none"] = "semantic_vad"
    threshold: float = 0.5
    silence_ms: int = 500
    eagerness: str = "auto"
    create_response: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One session's settings. `max_output_tokens` None: as many as the server's default."""

    instructions: str
    voice: str
    model: str
    recogniser: str
    turn: TurnDetection = TurnDetection()
    modality: Literal["audio", "text"] = "audio"
    max_output_tokens: int | None = None
    temperature: float = 0.0
    transcribe: bool = True
    playback_acks: bool = False
    echo: bool = False
    vad_threshold: float | None = None


class _Refused(Exception):
    """`part` names what of a field was wrong, where it has parts."""

    def __init__(self, message: str, code: str = "invalid_value", part: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.part = part


def initial(session: Session, offer: Offer) -> Settings:
    """The settings of a new session."""
    return Settings(
        instructions=session.config.system,
        voice=offer.voice,
        model=offer.model,
        recogniser=offer.recogniser,
        temperature=session.config.sampling.temperature,
    )


# --- one function a field ---------------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _between(value: object, low: float, high: float, part: str = "") -> float:
    if not _is_number(value) or not low <= cast("float", value) <= high:
        raise _Refused(f"is {shown(value)}; expected a number from {low:g} to {high:g}", part=part)
    return float(cast("float", value))


def _flag(value: object, part: str) -> bool:
    if not isinstance(value, bool):
        raise _Refused(f"is {shown(value)}; expected true or false", part=part)
    return value


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused(f"is {shown(value)}; expected an object")
    return cast("dict[str, Any]", value)


def _session_type(settings: Settings, value: object) -> Settings:
    if value != "realtime":
        raise _Refused(f"is {shown(value)}; this server has sessions of type realtime")
    return settings


def _instructions(settings: Settings, value: object) -> Settings:
    if not isinstance(value, str) or len(value) > 20_000:
        raise _Refused("must be a string of at most 20000 characters")
    return replace(settings, instructions=value)


def _model(settings: Settings, value: object) -> Settings:
    if not isinstance(value, str):
        raise _Refused(f"is {shown(value)}; expected a name")
    return settings  # the server has one model; its name is said in session.updated


def _modalities(settings: Settings, value: object) -> Settings:
    if value not in (["audio"], ["text"]):
        raise _Refused(f'is {shown(value)}; expected ["audio"] (with its transcript) or ["text"]')
    return replace(settings, modality="audio" if value == ["audio"] else "text")


def _max_tokens(settings: Settings, value: object) -> Settings:
    if value == "inf":
        return replace(settings, max_output_tokens=None)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
        raise _Refused(f'is {shown(value)}; expected 1 to 4096 or "inf"')
    return replace(settings, max_output_tokens=value)


def _temperature(settings: Settings, value: object) -> Settings:
    return replace(settings, temperature=_between(value, 0.0, 2.0))


def _format(settings: Settings, value: object) -> Settings:
    if value is None:
        return settings
    wanted = _mapping(value)
    if wanted.get("type", "audio/pcm") != "audio/pcm" or wanted.get("rate", VOICE_RATE_HZ) != VOICE_RATE_HZ:
        raise _Refused(
            f'is {shown(value)}; this server speaks {{"type": "audio/pcm", "rate": {VOICE_RATE_HZ}}} only',
            "unsupported_format",
        )
    return settings


def _voice(settings: Settings, value: object) -> Settings:
    name = cast("dict[str, Any]", value).get("id") if isinstance(value, dict) else value
    if name is None or name == settings.voice or name in _FOREIGN_VOICES:
        return settings
    raise _Refused(f"is {shown(name)}; this server has one voice: {settings.voice!r}")


def _speed(settings: Settings, value: object) -> Settings:
    if value is not None and (not _is_number(value) or value != 1):
        raise _Refused(f"is {shown(value)}; this server speaks at speed 1", "unsupported_value")
    return settings


def _transcription(settings: Settings, value: object) -> Settings:
    if value is None:
        return replace(settings, transcribe=False)
    language = _mapping(value).get("language")
    if language not in (None, "", "en"):
        raise _Refused(f"is {shown(language)}; this server understands 'en'", "unsupported_value", "language")
    return replace(settings, transcribe=True)


def _turn_detection(settings: Settings, value: object) -> Settings:
    if value is None:
        return replace(settings, turn=TurnDetection(kind="none", create_response=False))
    wanted = {key: each for key, each in _mapping(value).items() if each is not None}
    kind = wanted.pop("type", None)
    if kind not in ("server_vad", "semantic_vad"):
        raise _Refused(f"is {shown(kind)}; expected server_vad or semantic_vad, or null for push-to-talk", part="type")
    if wanted.pop("interrupt_response", True) is not True:
        told = "must be true; this server always listens while it speaks"
        raise _Refused(told, "unsupported_value", "interrupt_response")
    turn = TurnDetection(kind=kind, create_response=_flag(wanted.pop("create_response", True), "create_response"))
    if kind == "server_vad":
        silence_ms = _between(wanted.pop("silence_duration_ms", 500), 100, 10_000, "silence_duration_ms")
        threshold = _between(wanted.pop("threshold", 0.5), 0.0, 1.0, "threshold")
        turn = replace(turn, threshold=threshold, silence_ms=round(silence_ms))
        # The core keeps its own pre-roll.
        _between(wanted.pop("prefix_padding_ms", 300), 0, 10_000, "prefix_padding_ms")
    else:
        eagerness = wanted.pop("eagerness", "auto")
        if not isinstance(eagerness, str) or eagerness not in _EAGERNESS:
            raise _Refused(f"is {shown(eagerness)}; expected one of {', '.join(_EAGERNESS)}", part="eagerness")
        turn = replace(turn, eagerness=eagerness)
    for name in wanted:
        raise _Refused(f"is not something that {kind} has here", "unsupported_value", name)
    return replace(settings, turn=turn)


def _extension(settings: Settings, value: object) -> Settings:
    for key, each in _mapping(value).items():
        if key == "playback_acks":
            settings = replace(settings, playback_acks=_flag(each, key))
        elif key == "echo_cancellation":
            settings = replace(settings, echo=_flag(each, key))
        elif key == "vad_threshold":
            threshold = None if each is None else _between(each, 0.05, 0.95, key)
            settings = replace(settings, vad_threshold=threshold)
        elif key != "temperature":  # which session.updated tells here
            known = "playback_acks, echo_cancellation, vad_threshold"
            raise _Refused(f"is not known; known here: {known}", "unknown_parameter", key)
    return settings


def _nothing(*allowed: object, hint: str) -> Callable[[Settings, object], Settings]:
    """A field of the protocol that this server takes only with values that ask for nothing."""

    def take(settings: Settings, value: object) -> Settings:
        if value not in allowed:
            raise _Refused(f"is not supported: {hint}", "unsupported_value")
        return settings

    return take


_FIELDS: dict[str, Callable[[Settings, object], Settings]] = {
    "type": _session_type,
    "instructions": _instructions,
    "model": _model,
    "output_modalities": _modalities,
    "max_output_tokens": _max_tokens,
    "temperature": _temperature,
    "audio.input.format": _format,
    "audio.input.turn_detection": _turn_detection,
    "audio.input.transcription": _transcription,
    "audio.input.noise_reduction": _nothing(None, hint="do it in the client, or set null"),
    "audio.output.format": _format,
    "audio.output.voice": _voice,
    "audio.output.speed": _speed,
    "fullduplex": _extension,
    "tools": _nothing(None, [], hint="this server has no tools"),
    "tool_choice": _nothing(None, "auto", "none", hint="this server has no tools"),
    "parallel_tool_calls": _nothing(None, True, False, hint="this server has no tools"),
    "include": _nothing(None, [], hint="there are no log probabilities"),
    "prompt": _nothing(None, hint="use instructions"),
    "reasoning": _nothing(None, hint="the model does not reason"),
    "tracing": _nothing(None, hint="nothing is traced"),
    "truncation": _nothing(None, "auto", "disabled", hint="the server forgets the oldest turns"),
    # What session.created holds may be sent back as it came.
    "id": lambda settings, value: settings,
    "object": lambda settings, value: settings,
    "expires_at": lambda settings, value: settings,
}
_GROUPS = ("audio", "audio.input", "audio.output")


def updated(settings: Settings, session: Mapping[str, Any], *, where: str = "") -> tuple[Settings, list[Refusal]]:
    """The settings after a `session.update`, and what of it was refused."""
    refusals: list[Refusal] = []
    for key, value in session.items():
        path = f"{where}{key}"
        if path in _GROUPS:
            if value is None:
                continue
            if not isinstance(value, dict):
                refusals.append(Refusal(f"session.{path}", "invalid_type", f"session.{path} must be an object"))
                continue
            settings, more = updated(settings, cast("dict[str, Any]", value), where=path + ".")
            refusals += more
        elif path in _FIELDS:
            try:
                settings = _FIELDS[path](settings, value)
            except _Refused as error:
                param = f"session.{path}" + (f".{error.part[:_MOST_NAME]}" if error.part else "")
                refusals.append(Refusal(param, error.code, f"{param} {error}"))
        else:
            hint = f"; its name is session.{_BETA[path]} now" if path in _BETA else ""
            param = f"session.{path[:_MOST_NAME]}"
            refusals.append(Refusal(param, "unknown_parameter", f"unknown parameter {param!r}{hint}"))
    return settings, refusals


def described(settings: Settings, session_id: str) -> dict[str, Any]:
    """The `session` object of session.created and session.updated."""
    turn = settings.turn
    detection: dict[str, Any] | None = None
    if turn.kind == "server_vad":
        detection = {
            "type": "server_vad",
            "threshold": turn.threshold,
            "prefix_padding_ms": 300,
            "silence_duration_ms": turn.silence_ms,
        }
    elif turn.kind == "semantic_vad":
        detection = {"type": "semantic_vad", "eagerness": turn.eagerness}
    if detection is not None:
        detection |= {"create_response": turn.create_response, "interrupt_response": True}
    pcm = {"type": "audio/pcm", "rate": VOICE_RATE_HZ}
    record: dict[str, Any] = {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": settings.model,
        "output_modalities": [settings.modality],
        "instructions": settings.instructions,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": settings.max_output_tokens or "inf",
        "audio": {
            "input": {
                "format": pcm,
                "transcription": {"model": settings.recogniser, "language": "en"} if settings.transcribe else None,
                "noise_reduction": None,
                "turn_detection": detection,
            },
            "output": {"format": pcm, "voice": settings.voice, "speed": 1.0},
        },
    }
    if settings.playback_acks:
        record["fullduplex"] = {
            "playback_acks": True,
            "echo_cancellation": settings.echo,
            "vad_threshold": settings.vad_threshold,
            "temperature": settings.temperature,
        }
    return record


def configured(base: Session, settings: Settings) -> Session:
    """The kind of conversation that the settings ask for; `base` is what the server does unasked."""
    turn = settings.turn
    hearing = base.config.hearing
    enter = settings.vad_threshold
    if turn.kind == "server_vad":
        enter = max(turn.threshold, 0.05)
    if enter is not None:
        hearing = replace(hearing, enter=enter, leave=min(hearing.leave, 0.7 * enter))
    sampling = replace(base.config.sampling, temperature=settings.temperature)
    if settings.max_output_tokens is not None:
        sampling = replace(sampling, max_tokens=settings.max_output_tokens)
    policy = base.policy
    if isinstance(policy, TurnsPolicy):
        endpoint = policy.config.endpoint
        eager = _EAGERNESS[turn.eagerness]
        if turn.kind == "server_vad":
            endpoint = replace(endpoint, min_silence_s=turn.silence_ms / 1e3, max_silence_s=turn.silence_ms / 1e3)
        elif eager is not None:
            endpoint = replace(endpoint, threshold=eager[0], max_silence_s=eager[1])
        policy = replace(
            policy,
            config=replace(
                policy.config, endpoint=endpoint, ends_turns=turn.kind != "none", answers=turn.create_response
            ),
        )
    return replace(base, policy=policy, config=replace(base.config, hearing=hearing, sampling=sampling))

"""A conversation on real parts, ready to run."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fullduplex.base.errors import ConfigError, MissingExtraError
from fullduplex.dialogue.desk import SessionConfig, SessionState
from fullduplex.dialogue.events import Frame
from fullduplex.dialogue.policies.endpoint import FITTED
from fullduplex.dialogue.policies.tdm import TdmConfig, TdmPolicy
from fullduplex.dialogue.policies.turns import TurnsConfig, TurnsPolicy
from fullduplex.dialogue.session import Policy, Session
from fullduplex.lm.guided import GuidedBrain
from fullduplex.recipes.lanes import Lanes, SimulatedLanes
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.ports import Ports
from fullduplex.recipes.runner import Echo, Runner
from fullduplex.recipes.threads import ThreadLanes, ThreadPool
from fullduplex.speech.echo import EchoCanceller, NoEcho
from fullduplex.speech.webrtc import WebRtcEcho

__all__ = ["ECHOES", "POLICIES", "TalkConfig", "make_echo", "make_pool", "make_ports", "make_runner", "make_session"]

_LOG = logging.getLogger(__name__)
POLICIES = ("turns", "tdm")
ECHOES = ("own", "webrtc", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkConfig:
    """How to converse; the parts are chosen by `PartsConfig`. `turns` None: as fitted to the brain.

    `layout`: how time slices are shown to the brain, `"pairs"` or `"merged"`; empty: as the brain was taught.
    """

    policy: str = "turns"
    slice_s: float = 1.0
    layout: str = ""
    session: SessionConfig = SessionConfig()
    turns: TurnsConfig | None = None

    def __post_init__(self) -> None:
        TdmConfig(slice_s=self.slice_s)  # a length that no policy can have is refused whatever the policy is


def make_policy(config: TalkConfig, brain: str, layout: str = "merged") -> Policy:
    """Who speaks when, with the end of turn fitted to the brain; `layout` is what the brain was taught.

    Raises:
        ConfigError: no such policy. InputError: an impossible slice length.
    """
    if config.policy == "turns":
        fitted = TurnsConfig(endpoint=FITTED.get(brain, FITTED["small"]))
        return TurnsPolicy(config.turns or fitted)
    if config.policy == "tdm":
        chosen = config.layout or layout
        if chosen == "merged":
            _LOG.warning("tdm: this brain is a chat model driven through a slice prompt, not a trained duplex model")
        return TdmPolicy(TdmConfig(slice_s=config.slice_s, layout=chosen))
    raise ConfigError(f"policy {config.policy!r} is not known; use one of {', '.join(POLICIES)}")


def make_echo(*, enabled: bool = True, kind: str = "own") -> Echo:
    """An echo canceller for one conversation, or nothing (headsets).

    `kind`: one of `ECHOES`. "webrtc" falls back to our own where it is not installed, and the log says so.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in ECHOES:
        raise ConfigError(f"echo canceller {kind!r} is not known; use one of {', '.join(ECHOES)}")
    if not enabled or kind == "none":
        return NoEcho()
    if kind == "webrtc":
        try:
            return WebRtcEcho()
        except MissingExtraError as error:
            _LOG.warning("echo: webrtc is not available (%s); falling back to own", error)
    return EchoCanceller()


def make_session(parts: Parts, config: TalkConfig) -> Session:
    """The kind of conversation that `config` describes, with the ear of `parts`."""
    return Session(
        ear=parts.ear, policy=make_policy(config, parts.chosen["brain"], parts.brain.layout), config=config.session
    )


def make_ports(parts: Parts, *, key: str) -> Ports:
    """What answers the requests of the conversation `key`."""
    return Ports(recogniser=parts.recogniser, turn_end=parts.turn_end, brain=parts.brain, voice=parts.voice, key=key)


def _elsewhere(parts: Parts) -> bool:
    """Whether replies come from a server: they are waited for, and cost no time of our processor."""
    return isinstance(parts.brain, GuidedBrain)


def make_pool(parts: Parts) -> ThreadPool:
    """Threads for live conversations with `parts`."""
    return ThreadPool(in_turns=not _elsewhere(parts))


def make_runner(
    parts: Parts,
    config: TalkConfig,
    *,
    pool: ThreadPool | None = None,
    key: str = "solo",
    state: SessionState | None = None,
    log: Callable[[Frame], Any] | None = None,
) -> Runner:
    """A live conversation: on the threads of `pool` in real time, or on a simulated clock without one."""
    ports = make_ports(parts, key=key)
    lanes: Lanes
    if pool is not None:
        lanes = ThreadLanes(ports.run, pool)
    else:
        lanes = SimulatedLanes(ports.run, stopwatch=time.perf_counter if _elsewhere(parts) else time.thread_time)
    return Runner(make_session(parts, config), lanes, state=state, log=log)

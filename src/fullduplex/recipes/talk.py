"""A conversation on real parts, ready to run."""

from dataclasses import dataclass

from fullduplex.dialogue.desk import SessionConfig, SessionState
from fullduplex.dialogue.policies.turns import TurnsConfig, TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.recipes.lanes import Lanes, SimulatedLanes, ThreadLanes, ThreadPool
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.ports import Ports
from fullduplex.recipes.runner import Runner

__all__ = ["TalkConfig", "make_ports", "make_runner", "make_session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkConfig:
    """How to converse; the parts are chosen by `PartsConfig`."""

    policy: str = "turns"
    session: SessionConfig = SessionConfig()
    turns: TurnsConfig = TurnsConfig()


def make_session(parts: Parts, config: TalkConfig) -> Session:
    """The kind of conversation that `config` describes, with the ear of `parts`."""
    return Session(ear=parts.ear, policy=TurnsPolicy(config.turns), config=config.session)


def make_ports(parts: Parts, *, key: str) -> Ports:
    """What answers the requests of the conversation `key`."""
    return Ports(
        recogniser=parts.recogniser, turn_end=parts.turn_end, brain=parts.brain, voice=parts.voice, key=key
    )


def make_runner(
    parts: Parts,
    config: TalkConfig,
    *,
    pool: ThreadPool | None = None,
    key: str = "solo",
    state: SessionState | None = None,
) -> Runner:
    """A live conversation: on the threads of `pool` in real time, or on a simulated clock without one."""
    ports = make_ports(parts, key=key)
    lanes: Lanes = SimulatedLanes(ports.run) if pool is None else ThreadLanes(ports.run, pool)
    return Runner(make_session(parts, config), lanes, state=state)

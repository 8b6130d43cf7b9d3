"""Who has the floor: one table, and everything that can move it is in this file.

    IDLE       nobody speaks
    LISTENING  the user speaks, or has paused without having finished
    THINKING   the user has finished; the reply is not audible yet
    SPEAKING   the machine speaks
    OVERLAP    the user made a sound while the machine spoke; the machine holds its breath until it knows what it was
    CLOSED     the conversation is over

Raux and Eskenazi (2009) describe the floor with six states (user, machine, free/both, each with the intention to hold
or release); THINKING is their "free, system about to grab", OVERLAP their "both".
"""

from enum import Enum

from fullduplex.base.errors import InputError

__all__ = ["Cue", "Floor", "advance"]


class Floor(Enum):
    """Who has the floor."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    OVERLAP = "overlap"
    CLOSED = "closed"


class Cue(Enum):
    """What moves the floor."""

    ONSET = "user onset"
    ENDED = "user finished"
    NOTHING = "nothing was said"
    AUDIBLE = "reply audible"
    DONE = "reply heard to its end"
    INTERRUPTED = "real interruption"
    FALSE_ALARM = "not an interruption"
    STOPPED = "told to stop"
    FAILED = "no reply could be made"
    CLOSE = "closed"


_TABLE: dict[tuple[Floor, Cue], Floor] = {
    (Floor.IDLE, Cue.ONSET): Floor.LISTENING,
    (Floor.IDLE, Cue.ENDED): Floor.THINKING,  # typed messages
    (Floor.LISTENING, Cue.ENDED): Floor.THINKING,
    (Floor.LISTENING, Cue.NOTHING): Floor.IDLE,
    (Floor.THINKING, Cue.ONSET): Floor.LISTENING,  # the user was not finished after all
    (Floor.THINKING, Cue.ENDED): Floor.THINKING,  # a second typed message
    (Floor.THINKING, Cue.AUDIBLE): Floor.SPEAKING,
    (Floor.THINKING, Cue.FAILED): Floor.IDLE,
    (Floor.THINKING, Cue.DONE): Floor.IDLE,  # nothing to say
    (Floor.THINKING, Cue.STOPPED): Floor.IDLE,
    (Floor.SPEAKING, Cue.ONSET): Floor.OVERLAP,
    (Floor.SPEAKING, Cue.DONE): Floor.IDLE,
    (Floor.SPEAKING, Cue.FAILED): Floor.IDLE,
    (Floor.SPEAKING, Cue.STOPPED): Floor.IDLE,
    (Floor.SPEAKING, Cue.INTERRUPTED): Floor.LISTENING,
    (Floor.SPEAKING, Cue.ENDED): Floor.THINKING,  # typed over the reply
    (Floor.OVERLAP, Cue.INTERRUPTED): Floor.LISTENING,
    (Floor.OVERLAP, Cue.FALSE_ALARM): Floor.SPEAKING,
    (Floor.OVERLAP, Cue.DONE): Floor.LISTENING,
    (Floor.OVERLAP, Cue.FAILED): Floor.LISTENING,
    (Floor.OVERLAP, Cue.STOPPED): Floor.LISTENING,
    (Floor.OVERLAP, Cue.ENDED): Floor.THINKING,
    **{(floor, Cue.CLOSE): Floor.CLOSED for floor in Floor},
}


def advance(floor: Floor, cue: Cue) -> Floor:
    """The next holder of the floor.

    Raises:
        InputError: the cue cannot happen in this state (an error of the policy that sent it).
    """
    try:
        return _TABLE[floor, cue]
    except KeyError:
        allowed = ", ".join(sorted(cue.name for (state, cue) in _TABLE if state is floor))
        raise InputError(f"cue {cue.name} cannot happen while {floor.name}; possible: {allowed}") from None

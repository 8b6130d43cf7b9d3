"""What the core asks of the outside, and what comes back: requests and results as values.

The core never calls a model. It emits `Ask(request)`; a driver runs the request on one of a few bounded lanes and
hands the result to a later frame. A request carries everything its answer depends on, so the same request always
has the same answer, a lost driver can be replaced by asking again, and a log of results replays a conversation.

Lanes: requests of one lane run one after the other, lanes run side by side.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.chat import Message, Sampling

__all__ = [
    "LANES",
    "Ear",
    "EndJudged",
    "EndScored",
    "Failed",
    "Generate",
    "Generated",
    "JudgeEnd",
    "Lane",
    "Pcm",
    "Prefill",
    "Prefilled",
    "Recognise",
    "Recognised",
    "Request",
    "Result",
    "ScoreEnd",
    "Synthesise",
    "Synthesised",
    "WordSpan",
]

Pcm = NDArray[np.float32]
Lane = Literal["recogniser", "turn_end", "brain", "voice"]


class Ear(Protocol):
    """Voice activity, frame by frame, with its memory as a value (an opaque one: each ear has its own)."""

    def init(self) -> Any:
        """The state before any sound."""
        ...

    def step(self, pcm: Pcm, state: Any) -> tuple[float, Any]:
        """Probability that the frame (FRAME_SAMPLES at 16 kHz) holds speech, and the next state."""
        ...


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A word and the samples of its speech, counted from the start of the clause."""

    text: str
    start_samples: int
    end_samples: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recognise:
    """Transcribe `pcm` (16 kHz). `draft` holds the tokens of the previous hypothesis, to be verified first."""

    ticket: int
    pcm: Pcm
    draft: tuple[int, ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgeEnd:
    """Does the speaker sound finished? `pcm` (16 kHz) ends with the pause in question."""

    ticket: int
    pcm: Pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """Read a prompt whose last user message is still being spoken."""

    ticket: int
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEnd:
    """Does the last user message read as finished? `ahead`: the prompt that will be answered next if it does."""

    ticket: int
    messages: tuple[Message, ...]
    ahead: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Continue the chat. A last message of role assistant is continued, otherwise a new one is begun.

    `received_chars`: how much of the answer the conversation has already; a driver that asks again drops that much.
    """

    ticket: int
    messages: tuple[Message, ...]
    sampling: Sampling
    received_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesise:
    """Speak `text`. `urgent`: somebody waits for this sound; other work may stand back."""

    ticket: int
    text: str
    urgent: bool = False


Request = Recognise | JudgeEnd | Prefill | ScoreEnd | Generate | Synthesise

LANES: dict[type[Any], Lane] = {
    Recognise: "recogniser",
    JudgeEnd: "turn_end",
    Prefill: "brain",
    ScoreEnd: "brain",
    Generate: "brain",
    Synthesise: "voice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """The transcript of a `Recognise` and its tokens (a draft for the next one)."""

    ticket: int
    text: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndJudged:
    """Probability, from the sound alone, that the speaker has finished."""

    ticket: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled:
    """The prompt has been read."""

    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndScored:
    """Probability, from the words alone, that the message is finished; None where the brain cannot tell."""

    ticket: int
    probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The next piece of the reply; many come for one `Generate`, the last with `done`."""

    ticket: int
    text: str
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Synthesised:
    """Speech at VOICE_RATE_HZ with its words: all of it, or what follows after its first `start` samples.

    A voice may hand over the beginning of a clause while it still works on the rest; the last piece comes with `done`.
    Every piece brings all words of the clause, as well placed as is known by then. A voice that is asked again (after a
    restart) begins at 0 again: what it said before is replaced.
    """

    ticket: int
    pcm: Pcm
    words: tuple[WordSpan, ...]
    start: int = 0
    done: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request could not be answered."""

    ticket: int
    message: str


Result = Recognised | EndJudged | Prefilled | EndScored | Generated | Synthesised | Failed

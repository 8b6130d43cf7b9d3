"""The client's sound on its way to the core: resampled, framed, kept in time.

Sound is expected in real time but comes in bursts, late or not at all, and the core knows no time but frames. So:

- a frame is due when it would have been complete if the sound had come evenly; one that is still waiting `max_lag_s`
  after that means that the machine cannot keep up: the oldest are shed and counted. A burst is not late.
- when no sound has come for a while, silence passes in its place (`silence_due`), or a client that does not stream
  would wait for its answer for ever. Sound that comes later in a burst pays that silence back before it counts as time
  of its own; a burst buys at most `credit_s` of patience.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from fullduplex.base.units import EAR_RATE_HZ, FRAME_S, FRAME_SAMPLES, VOICE_RATE_HZ
from fullduplex.dialogue.ports import Pcm
from fullduplex.numerics.resample import make

__all__ = ["Intake", "IntakeConfig", "Sound", "Tempo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeConfig:
    """`patience_s` without sound before silence passes, `speech_patience_s` in the middle of speech.

    `max_lag_s`: how far the core may fall behind. `max_backlog_s`: the most sound that may wait.
    """

    patience_s: float = 0.1
    speech_patience_s: float = 0.4
    credit_s: float = 0.5
    max_lag_s: float = 1.0
    max_backlog_s: float = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A frame of the microphone, and of the loudspeaker at the same time (EAR_RATE_HZ)."""

    near: Pcm
    far: Pcm
    due_s: float


class Tempo:
    """How far the sound has come, on the worker's clock."""

    def __init__(self, now_s: float, credit_s: float) -> None:
        self.until_s = now_s
        self.debt_s = 0.0
        self._credit_s = credit_s

    def sound(self, duration_s: float, now_s: float) -> None:
        """Sound of this length has come."""
        surplus_s = max(self.until_s + duration_s - now_s, 0.0)
        repaid_s = min(self.debt_s, surplus_s)
        self.debt_s = max(self.debt_s - (repaid_s if surplus_s > 0 else duration_s), 0.0)
        self.until_s = min(max(self.until_s + duration_s - repaid_s, now_s), now_s + self._credit_s)

    def silence(self, duration_s: float, now_s: float, patience_s: float) -> None:
        """Silence has passed in the place of sound."""
        self.until_s = max(self.until_s + duration_s, now_s - patience_s - duration_s)
        self.debt_s += duration_s

    def now(self, now_s: float) -> None:
        """Whatever was borrowed or lent is forgotten."""
        self.until_s, self.debt_s = now_s, 0.0


class Intake:
    """One client's sound."""

    def __init__(self, config: IntakeConfig, now_s: float) -> None:
        self.config = config
        self.tempo = Tempo(now_s, config.credit_s)
        self._resampler = make(VOICE_RATE_HZ, EAR_RATE_HZ)
        self._states = (self._resampler.init(), self._resampler.init())
        self._rest = (np.zeros(0, np.float32), np.zeros(0, np.float32))
        self._waiting: deque[Sound] = deque()
        self._due_s = now_s
        self._shed = 0

    @property
    def waiting(self) -> int:
        """Frames that the core has not had yet."""
        return len(self._waiting)

    def offer(self, near: Pcm, far: Pcm, now_s: float) -> None:
        """Sound has come: `near` and `far` at VOICE_RATE_HZ, of one length."""
        duration_s = near.size / VOICE_RATE_HZ
        self.tempo.sound(duration_s, now_s)
        self._due_s = max(self._due_s, now_s - duration_s) + duration_s
        near_16, near_state = self._resampler.step(near, self._states[0])
        far_16, far_state = self._resampler.step(far, self._states[1])
        self._states = (near_state, far_state)
        self._push(near_16, far_16, now_s)
        limit = round(self.config.max_backlog_s / FRAME_S)
        while len(self._waiting) > limit:
            self._waiting.popleft()
            self._shed += 1

    def _push(self, near: Pcm, far: Pcm, now_s: float) -> None:
        nears, fars = (np.concatenate(pair) for pair in zip(self._rest, (near, far), strict=True))
        count = nears.size // FRAME_SAMPLES
        for i in range(count):
            part = slice(i * FRAME_SAMPLES, (i + 1) * FRAME_SAMPLES)
            due_s = max(self._due_s - (count - 1 - i) * FRAME_S, now_s)
            self._waiting.append(Sound(nears[part], fars[part], due_s))
        self._rest = (nears[count * FRAME_SAMPLES :], fars[count * FRAME_SAMPLES :])

    def silence_due(self, now_s: float, *, speech: bool) -> bool:
        """Should silence pass now? `speech`: the user was speaking when the sound stopped."""
        patience_s = self.config.speech_patience_s if speech else self.config.patience_s
        return not self._waiting and now_s - self.tempo.until_s > patience_s

    def silence(self, now_s: float) -> None:
        """One frame of silence passes."""
        self.tempo.silence(FRAME_S, now_s, self.config.patience_s)
        self._due_s = now_s
        zeros = np.zeros(FRAME_SAMPLES, np.float32)
        self._push(zeros, zeros, now_s)

    def take(self, now_s: float) -> tuple[Sound | None, int]:
        """The next frame, if there is one, and how many were shed before it."""
        while self._waiting and now_s - self._waiting[0].due_s > self.config.max_lag_s:
            self._waiting.popleft()
            self._shed += 1
        shed, self._shed = self._shed, 0
        if not self._waiting:
            self._shed = shed
            return None, 0
        return self._waiting.popleft(), shed

    def clear(self) -> None:
        """Drop what waits: the client has taken its sound back."""
        self._waiting.clear()
        self._rest = (np.zeros(0, np.float32), np.zeros(0, np.float32))

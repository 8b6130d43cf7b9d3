"""A whole conversation without models: a session, simulated lanes and a loudspeaker, frame by frame."""

from collections.abc import Callable

import numpy as np

from fakes import FakeEar, FakePorts, read
from fullduplex.base.chat import Sampling
from fullduplex.base.units import FRAME_SAMPLES, VOICE_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.desk import SessionConfig, SessionState
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Policy, Session
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.runner import Runner

VOICE_FRAME = FRAME_SAMPLES * VOICE_RATE_HZ // 16_000


# Room for long replies, whatever the default for real brains is.
ROOMY = SessionConfig(sampling=Sampling(max_tokens=400))


def charge(request: object, index: int) -> float:
    return 0.02


class Bench:
    """Feed it what the caller says; look at what happened."""

    def __init__(
        self,
        ports: FakePorts | None = None,
        *,
        policy: Policy | None = None,
        config: SessionConfig | None = None,
        state: SessionState | None = None,
        answers_flush: bool = True,
        charge: Callable[[object, int], float] = charge,
    ) -> None:
        self.ports = ports or FakePorts()
        self.session = Session(ear=FakeEar(), policy=policy or TurnsPolicy(), config=config or ROOMY)
        self.lanes = SimulatedLanes(self.ports.run, charge=charge)
        self.frames: list[ev.Frame] = []
        self.runner = Runner(self.session, self.lanes, state=state, log=self.frames.append)
        self.speaker = ls.Loudspeaker()
        self.reports: list[ev.Heard] = []
        self.events: list[tuple[int, ev.Event]] = []
        self.played: list[np.ndarray] = []
        self.pieces: list[tuple[int, int, int]] = []
        self.sound_of: dict[int, list[np.ndarray]] = {}
        self.answers_flush = answers_flush

    def hear(self, pcm: np.ndarray, *inputs: ev.Input) -> None:
        """The caller's sound, padded to whole frames; inputs ride on the first one."""
        count = max(-(-pcm.size // FRAME_SAMPLES), 1)
        padded = np.zeros(count * FRAME_SAMPLES, np.float32)
        padded[: pcm.size] = pcm
        for i in range(count):
            self._frame(padded[i * FRAME_SAMPLES : (i + 1) * FRAME_SAMPLES], inputs if i == 0 else ())

    def _frame(self, pcm: np.ndarray, inputs: tuple[ev.Input, ...]) -> None:
        index = self.runner.state.frame_index
        acks, self.reports = tuple(self.reports), []
        for event in self.runner.step(pcm, (*acks, *inputs)):
            self.events.append((index, event))
            if isinstance(event, ev.AudioOut):
                self.speaker = ls.play(self.speaker, event.utterance, event.epoch, event.start, event.pcm)
            elif isinstance(event, ev.Flush):
                self.speaker, report = ls.flush(self.speaker, event.utterance, event.epoch)
                if self.answers_flush:
                    self._report(report)
        out, self.speaker, report = ls.pull(self.speaker, VOICE_FRAME)
        self.played.append(out)
        if report is not None:
            at = 0
            for utterance, start, stop in report.pieces:
                self.sound_of.setdefault(utterance, []).append(out[at : at + stop - start])
                at += stop - start
            self.pieces += report.pieces
            self._report(report)

    def _report(self, report: ls.Report) -> None:
        self.reports.append(ev.Heard(utterance=report.utterance, samples=report.samples, epoch=report.epoch))

    def forget(self) -> None:
        """Keep the conversation, drop the record of it (for long runs)."""
        for record in (self.frames, self.events, self.played, self.pieces, self.sound_of, self.ports.prompts):
            record.clear()

    def of(self, kind: type) -> list:
        return [event for _, event in self.events if isinstance(event, kind)]

    def heard_of(self, utterance: int) -> str:
        """The words of one reply, from its sound."""
        sound = np.concatenate(self.sound_of.get(utterance, [np.zeros(1, np.float32)]))
        return read(sound[sound != 0.0], rate_hz=VOICE_RATE_HZ)

    @property
    def heard(self) -> str:
        sound = np.concatenate(self.played)
        return read(sound[sound != 0.0], rate_hz=VOICE_RATE_HZ)  # a word may have been held in its middle

    @property
    def floor(self) -> str:
        return self.runner.state.floor.value

    def items(self) -> list[tuple[str, str]]:
        return [(item.role, item.text) for item in self.runner.state.history.items]

"""Where the client's loudspeaker is, in samples of the reply it plays.

A client that announced the extension says so, and its word is taken. Of any other client it is estimated: sound plays
from the moment it was sent, in real time, and a flush is obeyed at once. Such a client may still send the exact
position of a stop (`conversation.item.truncate`); the answer to a flush waits a little for that.

The playhead also keeps the sound itself for a while, so that it can say what the loudspeaker played during a stretch of
the microphone: the reference of an echo canceller.

Positions count at VOICE_RATE_HZ; times are the worker's clock.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.ports import Pcm

__all__ = ["Playhead", "PlayheadMode"]

PlayheadMode = Literal["told", "estimated", "silent"]

_KEEP_SAMPLES = 3 * VOICE_RATE_HZ


@dataclass(slots=True)
class _Flush:
    epoch: int
    samples: int
    due_s: float


class Playhead:
    """One client's loudspeaker. `truncate_wait_s`: how long the answer to a flush waits for the exact position."""

    def __init__(self, *, truncate_wait_s: float = 0.3) -> None:
        self.mode: PlayheadMode = "estimated"
        self.utterance = 0
        self.epoch = 0
        self._truncate_wait_s = truncate_wait_s
        self._sent_end = 0
        self._drained_s = 0.0  # when everything sent will have been played
        self._flush: _Flush | None = None
        self._reported = (0, -1)
        self._chunks: list[tuple[int, Pcm]] = []
        self._far_at = (0, 0)
        self._far_idle = True

    def sent(self, audio: ev.AudioOut, now_s: float) -> None:
        """Sound has gone out."""
        if audio.utterance != self.utterance:
            self.utterance = audio.utterance
            self._chunks = []
            self._drained_s = now_s
        stop = audio.start + audio.pcm.size
        self._drained_s = max(self._drained_s, now_s) + audio.pcm.size / VOICE_RATE_HZ
        self._sent_end = stop
        kept = [(start, pcm) for start, pcm in self._chunks if audio.start > start > stop - _KEEP_SAMPLES]
        self._chunks = [*kept, (audio.start, audio.pcm)]

    def position(self, now_s: float) -> int:
        """Estimated samples played."""
        if self.mode == "silent":
            return self._sent_end
        left = round(max(self._drained_s - now_s, 0.0) * VOICE_RATE_HZ)
        return max(self._sent_end - left, 0)

    def flushed(self, flush: ev.Flush, now_s: float) -> None:
        """The client was told to be silent."""
        if self.mode == "told":
            self.epoch = flush.epoch
            return
        samples = self.position(now_s) if flush.utterance == self.utterance else 0
        wait_s = self._truncate_wait_s if self.mode == "estimated" else 0.0
        self.utterance = flush.utterance
        self._flush = _Flush(flush.epoch, samples, now_s + wait_s)
        self._sent_end, self._drained_s = samples, now_s

    def told(self, utterance: int, epoch: int, samples: int) -> ev.Heard:
        """The client says what it has played."""
        return ev.Heard(utterance=utterance, samples=samples, epoch=epoch)

    def truncated(self, utterance: int, samples: int) -> list[ev.Heard]:
        """The client says where the user stopped hearing a reply."""
        flush, self._flush = self._flush, None
        if flush is None or utterance != self.utterance:
            self._flush = flush
            return [ev.Heard(utterance=utterance, samples=samples, epoch=self.epoch)]
        self._sent_end = samples
        self.epoch = flush.epoch
        self._reported = (utterance, samples)
        return [ev.Heard(utterance=utterance, samples=samples, epoch=flush.epoch)]

    def report(self, now_s: float) -> list[ev.Heard]:
        """Estimates that the core does not have yet."""
        if self.mode == "told" or not self.utterance:
            return []
        flush = self._flush
        if flush is not None:
            if now_s < flush.due_s:
                return []
            self._flush = None
            self.epoch = flush.epoch
            self._reported = (self.utterance, flush.samples)
            return [ev.Heard(utterance=self.utterance, samples=flush.samples, epoch=flush.epoch)]
        position = (self.utterance, self.position(now_s))
        if position == self._reported:
            return []
        self._reported = position
        return [ev.Heard(utterance=position[0], samples=position[1], epoch=self.epoch)]

    def far(self, num_samples: int, utterance: int, position: int) -> Pcm:
        """What was played while the last `num_samples` of the microphone were captured.

        `position` is the playhead at their end. Where less was played than captured, the sound began (it lies at the
        end) or stopped (it lies at the beginning).
        """
        out = np.zeros(num_samples, np.float32)
        last_utterance, last = self._far_at
        self._far_at = (utterance, position)
        if utterance != last_utterance:
            last = 0
        idle, self._far_idle = self._far_idle, position <= last
        if utterance != self.utterance or self._far_idle:
            return out
        first = max(last, position - num_samples)
        shift = num_samples - (position - first) if idle else 0
        for start, pcm in self._chunks:
            low, high = max(first, start), min(position, start + pcm.size)
            if low < high:
                out[shift + low - first : shift + high - first] = pcm[low - start : high - start]
        return out

"""A loudspeaker as a value: it plays what it is sent, obeys flushes at once, and says how much it has played."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Loudspeaker", "Report", "flush", "play", "pull"]

Pcm = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`samples` of `utterance` have been played; `epoch` is the last flush obeyed.

    `pieces`: (utterance, first sample, sample after the last) of what was played since the last report.
    """

    utterance: int
    samples: int
    epoch: int
    pieces: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loudspeaker:
    """What waits to be played, as (utterance, start sample, sound), and what was played last."""

    queue: tuple[tuple[int, int, Pcm], ...] = ()
    utterance: int = 0
    played: int = 0
    epoch: int = 0
    stale_samples: int = 0


def play(speaker: Loudspeaker, utterance: int, epoch: int, start: int, pcm: Pcm) -> Loudspeaker:
    """Queue sound. Sound of an earlier epoch came too late: it is counted and never played."""
    if epoch < speaker.epoch:
        return replace(speaker, stale_samples=speaker.stale_samples + pcm.size)
    return replace(speaker, queue=(*speaker.queue, (utterance, start, pcm)))


def flush(speaker: Loudspeaker, utterance: int, epoch: int) -> tuple[Loudspeaker, Report]:
    """Be silent from the next sample on."""
    played = speaker.played if speaker.utterance == utterance else 0
    silent = replace(speaker, queue=(), epoch=epoch, utterance=utterance, played=played)
    return silent, Report(utterance=utterance, samples=played, epoch=epoch)


def pull(speaker: Loudspeaker, num_samples: int) -> tuple[Pcm, Loudspeaker, Report | None]:
    """The next `num_samples` of sound (silence where there is none), and a report if anything was played."""
    out = np.zeros(num_samples, np.float32)
    filled = 0
    queue = list(speaker.queue)
    utterance, played = speaker.utterance, speaker.played
    pieces: list[tuple[int, int, int]] = []
    while queue and filled < num_samples:
        utterance, start, pcm = queue[0]
        take = min(pcm.size, num_samples - filled)
        out[filled : filled + take] = pcm[:take]
        filled += take
        played = start + take
        pieces.append((utterance, start, played))
        if take == pcm.size:
            queue.pop(0)
        else:
            queue[0] = (utterance, start + take, pcm[take:])
    after = replace(speaker, queue=tuple(queue), utterance=utterance, played=played)
    if not filled:
        return out, after, None
    return out, after, Report(utterance=utterance, samples=played, epoch=speaker.epoch, pieces=tuple(pieces))

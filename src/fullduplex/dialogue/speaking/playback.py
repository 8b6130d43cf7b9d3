"""What has been sent to the loudspeaker, and what was really heard.

Speech is sent a little ahead of the ear (`lead_s`), never all at once, so a stop has little to take back. A flush opens
a new epoch; nothing more is sent until the loudspeaker has answered with the exact number of samples it played, so a
resumed reply neither repeats nor skips a sample.
"""

from dataclasses import dataclass, replace

from fullduplex.base.units import FRAME_S, VOICE_RATE_HZ, samples_from_s
from fullduplex.dialogue.events import AudioOut, Flush, Heard
from fullduplex.dialogue.speaking.reply import Reply, audio_between

__all__ = ["Playback", "PlaybackConfig", "acknowledge", "begin", "hold", "pump", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackConfig:
    """`lead_s`: how far ahead of the ear audio is sent. `flush_wait_s`: a loudspeaker that does not answer a flush."""

    lead_s: float = 0.3
    flush_wait_s: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """The loudspeaker as the core knows it. `utterance` 0 means none yet.

    `parting_sent`: what had been sent of the utterance before, if it was flushed and the answer is still on the way.
    """

    utterance: int = 0
    epoch: int = 0
    sent: int = 0
    heard: int = 0
    held: bool = False
    flush_frames: int = 0
    parting_sent: int = 0

    @property
    def flushing(self) -> bool:
        """A flush has not been answered yet."""
        return self.flush_frames > 0


def begin(playback: Playback, utterance: int) -> Playback:
    """A new utterance follows."""
    parting = (playback.sent or playback.parting_sent) if playback.flushing else 0
    return replace(playback, utterance=utterance, sent=0, heard=0, held=False, parting_sent=parting)


def hold(playback: Playback) -> tuple[Playback, list[Flush]]:
    """Silence at once, with the option to go on later."""
    if playback.held:
        return playback, []
    epoch = playback.epoch + 1
    flush = Flush(utterance=playback.utterance, epoch=epoch)
    return replace(playback, epoch=epoch, held=True, flush_frames=1), [flush]


def release(playback: Playback) -> Playback:
    """Go on from the first sample that was not heard."""
    return replace(playback, held=False)


def acknowledge(playback: Playback, heard: Heard) -> Playback:
    """Take an acknowledgement. Claims beyond what was sent, and of epochs that do not exist yet, are ignored."""
    if heard.epoch > playback.epoch:
        return playback
    obeyed = playback.flushing and heard.epoch == playback.epoch
    if heard.utterance != playback.utterance:
        return replace(playback, flush_frames=0) if obeyed else playback
    samples = min(max(heard.samples, 0), playback.sent)
    if obeyed:
        return replace(playback, heard=samples, sent=samples, flush_frames=0)
    return replace(playback, heard=max(playback.heard, samples))


def pump(playback: Playback, reply: Reply, config: PlaybackConfig, *, frames: int) -> tuple[Playback, list[AudioOut]]:
    """`frames` frames later: what to send now."""
    if playback.flushing:
        waited = playback.flush_frames + frames
        if waited * FRAME_S <= config.flush_wait_s:
            return replace(playback, flush_frames=waited), []
        playback = replace(playback, flush_frames=0, sent=playback.heard)
    if playback.held:
        return playback, []
    lead = samples_from_s(config.lead_s, VOICE_RATE_HZ)
    stop = min(reply.available_samples, playback.heard + lead)
    if stop <= playback.sent:
        return playback, []
    pcm = audio_between(reply, playback.sent, stop)
    out = AudioOut(utterance=playback.utterance, epoch=playback.epoch, start=playback.sent, pcm=pcm)
    return replace(playback, sent=stop), [out]

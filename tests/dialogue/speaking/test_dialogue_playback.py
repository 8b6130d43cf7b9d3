"""The loudspeaker's books: what was sent, what was heard, and what a flush takes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.dialogue.events import Heard
from fullduplex.dialogue.speaking.playback import Playback, PlaybackConfig, acknowledge, begin, hold, pump, release
from fullduplex.dialogue.speaking.reply import Clause, Reply
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.evaluate.measures import continuity

CONFIG = PlaybackConfig(lead_s=0.3, flush_wait_s=0.6)
REPLY = Reply(
    utterance=1,
    answers="",
    generate_ticket=None,
    clauses=(Clause(text="all", pcm=np.linspace(0.1, 0.9, 48_000, dtype=np.float32)),),
    text_done=True,
)


def test_sends_no_further_ahead_than_the_lead() -> None:
    playback, sent = pump(begin(Playback(), 1), REPLY, CONFIG, frames=1)
    assert [out.pcm.size for out in sent] == [7_200]
    playback, sent = pump(playback, REPLY, CONFIG, frames=1)
    assert not sent
    playback = acknowledge(playback, Heard(utterance=1, samples=768, epoch=0))
    playback, sent = pump(playback, REPLY, CONFIG, frames=1)
    assert [(out.start, out.pcm.size) for out in sent] == [(7_200, 768)]


def test_a_flush_is_one_event_and_nothing_is_sent_until_it_is_answered() -> None:
    playback, _ = pump(begin(Playback(), 1), REPLY, CONFIG, frames=1)
    playback, flushes = hold(playback)
    assert [(f.utterance, f.epoch) for f in flushes] == [(1, 1)]
    assert hold(playback) == (playback, [])
    playback, sent = pump(release(playback), REPLY, CONFIG, frames=1)
    assert not sent and playback.flushing
    playback = acknowledge(playback, Heard(utterance=1, samples=1_000, epoch=1))
    assert (playback.sent, playback.heard, playback.flushing) == (1_000, 1_000, False)
    _, sent = pump(playback, REPLY, CONFIG, frames=1)
    assert (sent[0].start, sent[0].epoch) == (1_000, 1)


def test_a_loudspeaker_that_does_not_answer_is_waited_for_only_so_long() -> None:
    playback, _ = hold(pump(begin(Playback(), 1), REPLY, CONFIG, frames=1)[0])
    playback = release(playback)
    waited = 0
    sent = []
    while not sent and waited < 40:
        playback, sent = pump(playback, REPLY, CONFIG, frames=1)
        waited += 1
    assert 0.55 <= waited * 0.032 <= 0.65


@pytest.mark.parametrize(
    "heard",
    [
        Heard(utterance=1, samples=500, epoch=9),
        Heard(utterance=2, samples=500, epoch=0),
        Heard(utterance=1, samples=-3, epoch=0),
    ],
)
def test_impossible_acknowledgements_change_nothing(heard: Heard) -> None:
    playback, _ = pump(begin(Playback(), 1), REPLY, CONFIG, frames=1)
    assert acknowledge(playback, heard).heard == 0


def test_what_was_sent_of_a_replaced_reply_is_kept_until_its_flush_is_answered() -> None:
    playback, _ = hold(pump(begin(Playback(), 1), REPLY, CONFIG, frames=1)[0])
    playback = begin(begin(playback, 2), 3)
    assert playback.parting_sent == 7_200
    playback = acknowledge(playback, Heard(utterance=1, samples=400, epoch=1))
    assert not playback.flushing and playback.heard == 0
    assert begin(playback, 4).parting_sent == 0


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["play", "hold", "release", "late"]), max_size=60))
def test_no_order_of_holds_and_releases_repeats_or_skips_a_sample(steps: list[str]) -> None:
    playback, speaker = begin(Playback(), 1), ls.Loudspeaker()
    pieces: list[tuple[int, int, int]] = []
    waiting: list[Heard] = []
    for step in [*steps, "release", *["play"] * 120]:
        if step == "hold":
            playback, flushes = hold(playback)
            for flush in flushes:
                speaker, report = ls.flush(speaker, flush.utterance, flush.epoch)
                waiting.append(Heard(utterance=report.utterance, samples=report.samples, epoch=report.epoch))
        elif step == "release" and not playback.flushing:
            playback = release(playback)
        if step != "late":
            for heard in waiting:
                playback = acknowledge(playback, heard)
            waiting = []
        playback, sent = pump(playback, REPLY, CONFIG, frames=1)
        for out in sent:
            speaker = ls.play(speaker, out.utterance, out.epoch, out.start, out.pcm)
        _, speaker, report = ls.pull(speaker, 768)
        if report is not None:
            pieces += report.pieces
            waiting.append(Heard(utterance=report.utterance, samples=report.samples, epoch=report.epoch))
    assert continuity(pieces) == (0, 0)
    assert speaker.stale_samples == 0

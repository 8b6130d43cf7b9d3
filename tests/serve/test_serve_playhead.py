"""Where the loudspeaker is: told, estimated, and what it played meanwhile."""

import numpy as np

from fullduplex.dialogue import events as ev
from fullduplex.serve.playhead import Playhead


def out(start: int, size: int, *, utterance: int = 1, epoch: int = 0) -> ev.AudioOut:
    pcm = np.arange(start, start + size, dtype=np.float32)
    return ev.AudioOut(utterance=utterance, epoch=epoch, start=start, pcm=pcm)


def test_an_estimate_moves_in_real_time_and_never_past_what_was_sent() -> None:
    head = Playhead()
    assert head.report(0.0) == []
    head.sent(out(0, 2400), 10.0)
    assert head.position(10.0) == 0
    assert head.position(10.05) == 1200
    head.sent(out(2400, 2400), 10.05)
    assert head.position(10.2) == 4800
    assert head.position(99.0) == 4800
    assert head.report(99.0) == [ev.Heard(utterance=1, samples=4800, epoch=0)]
    assert head.report(99.1) == []


def test_a_flush_waits_for_the_exact_answer_and_then_does_without() -> None:
    head = Playhead()
    head.sent(out(0, 7200), 0.0)
    head.flushed(ev.Flush(utterance=1, epoch=1), 0.1)
    assert head.report(0.2) == []
    assert head.truncated(1, 2000) == [ev.Heard(utterance=1, samples=2000, epoch=1)]
    assert head.report(5.0) == []
    head.sent(out(2000, 4800, epoch=1), 6.0)
    head.flushed(ev.Flush(utterance=1, epoch=2), 6.1)
    assert head.report(6.41) == [ev.Heard(utterance=1, samples=4400, epoch=2)]


def test_a_text_client_has_read_everything_at_once() -> None:
    head = Playhead()
    head.mode = "silent"
    head.sent(out(0, 7200), 0.0)
    assert head.report(0.0) == [ev.Heard(utterance=1, samples=7200, epoch=0)]
    head.flushed(ev.Flush(utterance=1, epoch=1), 0.0)
    assert head.report(0.0) == [ev.Heard(utterance=1, samples=7200, epoch=1)]


def test_the_reference_begins_at_the_end_of_a_chunk_and_stops_at_its_beginning() -> None:
    head = Playhead()
    head.mode = "told"
    head.sent(out(0, 1000), 0.0)
    assert head.far(480, 0, 0).max() == 0
    first = head.far(480, 1, 100)
    assert np.array_equal(first[380:], np.arange(100))
    assert not first[:380].any()
    assert np.array_equal(head.far(480, 1, 580), np.arange(100, 580))
    assert np.array_equal(head.far(480, 1, 1000)[:420], np.arange(580, 1000))
    assert not head.far(480, 1, 1000).any()
    head.sent(out(1000, 1000, epoch=1), 1.0)
    again = head.far(480, 1, 1080)
    assert np.array_equal(again[400:], np.arange(1000, 1080))
    assert not head.far(480, 2, 480).any()

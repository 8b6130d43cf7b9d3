"""Stopping the machine: at every tick, at random, twice at once, before and after its first sound."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from bench import Bench
from fakes import VOCABULARY, FakePorts, say, silence
from fullduplex.base.chat import Sampling
from fullduplex.base.units import FRAME_SAMPLES, VOICE_RATE_HZ, db_from_amplitude
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.dialogue.listening.transcript import words_of
from fullduplex.evaluate.measures import continuity

LONG = "one two three four five six, seven eight nine ten. eleven twelve thirteen fourteen fifteen sixteen."
REPLIES = {"count": LONG, "stop": "good", "stop stop": "good", "count stop": "good"}


def speaking(seconds: float = 0.0) -> Bench:
    bench = Bench(FakePorts(dict(REPLIES)))
    bench.hear(say("count"))
    bench.hear(silence(seconds) if seconds else np.zeros(0, np.float32))
    return bench


def check(bench: Bench) -> None:
    """No stale sound, no sample twice or left out, nothing pending, and a history of exactly what was heard."""
    assert bench.floor == "idle"
    assert bench.speaker.stale_samples == 0
    assert continuity(bench.pieces) == (0, 0)
    assert bench.runner.state.pending == ()
    assert bench.runner.state.parting is None
    items = bench.runner.state.history.items
    remembered = {item.utterance: words_of(item.text) for item in items if item.role == "assistant"}
    for utterance in bench.sound_of:
        if len(items) < 400 or utterance in remembered:  # the oldest are forgotten
            assert words_of(bench.heard_of(utterance)) == remembered.get(utterance, ())
    assert set(remembered) <= set(bench.sound_of)


def test_somebody_else_in_the_room_makes_a_short_hole_and_the_user_is_still_heeded() -> None:
    bench = speaking(1.0)
    assert bench.floor == "speaking"
    known = db_from_amplitude(VOCABULARY.amplitude("stop"))

    def voices_are_quieter_than_the_user_by(db: float) -> None:
        state = bench.runner.state
        bench.runner.state = replace(state, hearing=replace(state.hearing, user_level_db=known + db))

    voices_are_quieter_than_the_user_by(8.0)  # the loudest frames of a voice make its onset
    bench.hear(say("stop stop"))
    assert bench.floor == "overlap"  # although "stop" has been read
    voices_are_quieter_than_the_user_by(12.0)
    bench.hear(say("stop stop stop stop stop stop"))
    assert bench.floor == "speaking"
    resumed = [event for _, event in bench.events if isinstance(event, ev.Resumed)]
    assert [event.cause for event in resumed] == ["somebody else"]  # and not again while that voice goes on
    voices_are_quieter_than_the_user_by(0.0)
    bench.hear(silence(0.3))
    bench.hear(say("stop"))
    bench.hear(silence(6.0))
    assert [item.text for item in bench.runner.state.history.items if item.role == "user"] == ["count", "stop"]
    check(bench)


@pytest.mark.parametrize("tick", range(0, 110, 2))
@pytest.mark.parametrize(
    "command", [(ev.StopSpeaking(),), (ev.StopSpeaking(), ev.StopSpeaking())], ids=["once", "twice"]
)
def test_told_to_stop_at_any_tick(tick: int, command: tuple[ev.Input, ...]) -> None:
    bench = speaking()
    bench.hear(np.zeros(max(tick, 1) * FRAME_SAMPLES, np.float32))
    at = bench.runner.state.frame_index
    before = bench.floor
    bench.hear(silence(0.032), *command)
    bench.hear(silence(4.0))
    if before in ("thinking", "speaking"):
        assert all(index <= at for index, event in bench.events if isinstance(event, ev.AudioOut))
    check(bench)


@pytest.mark.parametrize("tick", range(0, 110, 3))
def test_a_typed_message_at_any_tick_replaces_the_reply(tick: int) -> None:
    bench = speaking()
    bench.hear(np.zeros(max(tick, 1) * FRAME_SAMPLES, np.float32))
    bench.hear(silence(0.032), ev.Say("stop"))
    bench.hear(silence(6.0))
    check(bench)
    assert bench.items()[-2:] == [("user", "stop"), ("assistant", "good")]
    roles = [role for role, _ in bench.items()]
    assert roles[0] == "user" and roles[-1] == "assistant"


def test_what_was_heard_of_a_reply_is_exact_when_a_typed_message_replaced_it() -> None:
    bench = speaking(1.9)
    assert bench.floor == "speaking"
    bench.reports = []  # the acknowledgements of the last moment are lost; the answer to the flush is not
    bench.hear(silence(0.032), ev.Say("stop"))
    bench.hear(silence(4.0))
    check(bench)
    assert [role for role, _ in bench.items()] == ["user", "assistant", "user", "assistant"]


@pytest.mark.parametrize("seed", range(10))
def test_five_hundred_random_interruptions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ways: list[tuple[ev.Input, ...]] = [
        (),
        (),
        (ev.StopSpeaking(),),
        (ev.Say("stop"),),
        (ev.StopSpeaking(), ev.Say("stop")),
    ]
    stops = 0
    bench = speaking(0.3)
    while stops < 50:
        bench.hear(np.zeros(int(generator.integers(1, 45)) * FRAME_SAMPLES, np.float32))
        way = ways[int(generator.integers(len(ways)))]
        stops += bench.floor in ("thinking", "speaking", "overlap")
        bench.hear(silence(0.01) if way else say("stop"), *way)
        if generator.random() < 0.2:
            bench.hear(say("stop"))
    bench.hear(silence(6.0))
    check(bench)


def test_a_hum_while_thinking_does_not_lose_the_answer() -> None:
    for sound in ("mm-hm", "you"):
        bench = Bench(FakePorts({"count": LONG}))
        bench.lanes._charge = lambda request, index: 0.25  # a slow machine: thinking takes a second or two
        bench.hear(say("count"))
        while bench.floor != "thinking":
            bench.hear(silence(0.032))
        bench.hear(say(sound))
        bench.hear(silence(12.0))
        assert bench.heard.split()[-1] == "sixteen", sound
        assert next(text for role, text in bench.items() if role == "user").startswith("count")
        assert bench.floor == "idle"


def test_a_noise_before_the_reply_does_not_lose_the_answer() -> None:
    bench = Bench(FakePorts({"count": LONG}))
    bench.lanes._charge = lambda request, index: 0.25
    bench.hear(say("count"))
    while bench.floor != "thinking":
        bench.hear(silence(0.032))
    bench.hear(np.full(2 * FRAME_SAMPLES, 0.2, np.float32))  # loud, shorter than any word
    bench.hear(silence(12.0))
    assert bench.items() == [("user", "count"), ("assistant", LONG)]


def test_a_user_who_goes_on_after_an_early_commit_is_answered_once_and_whole() -> None:
    bench = Bench(FakePorts({"count": "wrong", "count backwards please": "three two one"}))
    bench.lanes._charge = lambda request, index: 0.15
    bench.hear(say("count"))
    while bench.floor != "thinking":
        bench.hear(silence(0.032))
    bench.hear(say("backwards please"))
    bench.hear(silence(6.0))
    assert bench.heard == "three two one"
    assert [m.text for m in bench.ports.prompts[-1][0].messages if m.role == "user"] == ["count backwards please"]


def lie(bench: Bench, kind: str) -> ev.Heard:
    playback = bench.runner.state.playback
    lies = {
        "beyond what was sent": ev.Heard(utterance=playback.utterance, samples=10**9, epoch=playback.epoch),
        "negative": ev.Heard(utterance=playback.utterance, samples=-5, epoch=playback.epoch),
        "another utterance": ev.Heard(utterance=playback.utterance + 7, samples=10**6, epoch=playback.epoch),
        "an old epoch": ev.Heard(utterance=playback.utterance, samples=10**6, epoch=playback.epoch - 1),
        "a future epoch": ev.Heard(utterance=playback.utterance, samples=10**6, epoch=playback.epoch + 3),
    }
    return lies[kind]


@pytest.mark.parametrize(
    "kind", ["beyond what was sent", "negative", "another utterance", "an old epoch", "a future epoch"]
)
def test_a_loudspeaker_that_lies_neither_strands_nor_floods_the_machine(kind: str) -> None:
    bench = speaking(1.5)
    for _ in range(400):
        bench.hear(silence(0.032), lie(bench, kind))
        playback = bench.runner.state.playback
        assert 0 <= playback.heard <= playback.sent
        assert playback.sent <= 20 * VOICE_RATE_HZ
    assert bench.floor == "idle"
    assert continuity(bench.pieces) == (0, 0)


def test_a_command_may_go_on_after_a_short_pause() -> None:
    bench = Bench(FakePorts({"count": LONG, "no stop that is not it": "sorry"}))
    bench.hear(say("count"))
    bench.hear(silence(2.0))
    assert bench.floor == "speaking"
    bench.hear(say("no stop"))
    bench.hear(silence(0.4))
    bench.hear(say("that is not it"))
    bench.hear(silence(3.0))
    assert bench.items()[2:] == [("user", "no stop that is not it"), ("assistant", "sorry")]


def test_a_command_alone_is_answered_after_a_while() -> None:
    bench = Bench(FakePorts({"stop": "fine"}))
    bench.hear(say("stop"))
    spoken = bench.runner.state.frame_index
    bench.hear(silence(3.0))
    started = next(index for index, event in bench.events if isinstance(event, ev.ReplyStarted))
    assert 0.55 < (started - spoken) * 0.032 < 0.8
    assert bench.heard == "fine"


@pytest.mark.parametrize("speaking_s", [0.6, 0.9, 1.2])
def test_what_was_read_ahead_is_not_read_again_because_the_user_broke_in(speaking_s: float) -> None:
    """The whole reply would pass the bound of what the brain is shown; what is heard of it does not."""
    first: list[str] = []

    class Recording(FakePorts):
        def run(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
            if isinstance(request, ports.Prefill | ports.ScoreEnd | ports.Generate) and len(request.messages) > 1:
                first.append(request.messages[1].text)
            return super().run(request, cancelled)

    questions = ("apples", "pears", "plums")
    replies = {question: f"{question} one two three four five six seven eight nine ten." for question in questions}
    config = SessionConfig(memory_words=35, sampling=Sampling(max_tokens=400))
    bench = Bench(Recording(replies), config=config)
    for question in questions:
        bench.hear(say(question))
        bench.hear(silence(speaking_s if question == "plums" else 12.0))
    assert bench.floor == "speaking"
    bench.hear(say("cherries are what we want"))
    bench.hear(silence(12.0))
    check(bench)
    shown = list(dict.fromkeys(first))
    assert shown[0] == "apples" and len(shown) > 1  # in the end the oldest was forgotten
    assert [first.index(text) for text in first] == sorted(first.index(text) for text in first)  # never to come back


@pytest.mark.parametrize("frames", range(8, 30))
def test_a_sound_over_the_machine_is_read_once_more_when_it_has_ended(frames: int) -> None:
    """Only a final reading tells a shouted command from the beginning of a longer word; when it ended must not matter."""

    class Mumbling(FakePorts):
        def run(self, request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
            if isinstance(request, ports.Recognise) and self.mumbling:
                yield ports.Recognised(ticket=request.ticket, text="stop" if request.final else "stomper")
            else:
                yield from super().run(request, cancelled)

        mumbling = False

    bench = Bench(machine := Mumbling(dict(REPLIES)))
    bench.hear(say("count"))
    bench.hear(silence(1.5))
    assert bench.floor == "speaking"
    machine.mumbling = True
    bench.hear(say("stop")[:1].repeat(frames * FRAME_SAMPLES))
    bench.hear(silence(0.6))
    assert any(isinstance(event, ev.ReplyDone) and not event.complete for _, event in bench.events)

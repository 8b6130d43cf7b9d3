"""The time-division policy on fakes: slices in, slices out, suspended and continued, stopped by new words."""

import numpy as np
import pytest

from bench import Bench
from fakes import FakePorts, say, silence
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import InputError
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.policies.tdm import TdmConfig, TdmPolicy
from fullduplex.evaluate.measures import continuity

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
LENGTHS_S = [0.32, 0.64, 1.0, 2.0]


class DuplexPorts(FakePorts):
    """Stands for a duplex model: says its answer slice by slice, and <idle> when there is nothing to say."""

    def run(self, request, cancelled):
        if not isinstance(request, ports.Generate):
            yield from super().run(request, cancelled)
            return
        messages = [m for m in request.messages if m.text != "<idle>"]
        last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
        user = messages[last].text if messages else ""
        self.prompts.append((request, user))
        done = " ".join(m.text for m in messages[last + 1 :] if m.role == "assistant").split()
        words = self.replies.get(user, self.default).split()[len(done) :]
        text = " " + " ".join(words[: request.sampling.max_tokens]) if words else "<idle>"
        yield ports.Generated(ticket=request.ticket, text=text, done=False)
        yield ports.Generated(ticket=request.ticket, text="", done=True)


def bench_of(replies: dict[str, str] | None = None, **config: object) -> Bench:
    settings = {"slice_s": 0.64, "slice_tokens": 4, **config}
    make = DuplexPorts if settings.get("layout") == "pairs" else FakePorts
    return Bench(make(replies or {"count": LONG}), policy=TdmPolicy(TdmConfig(**settings)))


def check(bench: Bench) -> None:
    assert bench.floor == "idle"
    assert bench.speaker.stale_samples == 0
    assert continuity(bench.pieces) == (0, 0)
    assert bench.runner.state.pending == ()
    assert bench.heard == " ".join(text for role, text in bench.items() if role == "assistant")


@pytest.mark.parametrize("slice_s", LENGTHS_S)
@pytest.mark.parametrize("layout", ["merged", "pairs"])
def test_an_answer_in_slices_is_whole(slice_s: float, layout: str) -> None:
    bench = bench_of(slice_s=slice_s, layout=layout, slice_tokens=4)
    bench.hear(say("count"))
    bench.hear(silence(24.0 if slice_s == 2.0 else 14.0))
    check(bench)
    assert bench.items() == [("user", "count"), ("assistant", LONG)]


def test_a_duplex_model_that_waits_is_asked_again_with_an_idle_slice() -> None:
    """It met the words with <idle>: the next slice is one of silence, not the same words again."""

    class Hesitant(DuplexPorts):
        def run(self, request, cancelled):
            if isinstance(request, ports.Generate) and request.messages[-1].text != "<idle>":
                self.prompts.append((request, request.messages[-1].text))
                yield ports.Generated(ticket=request.ticket, text="<idle>", done=True)
            else:
                yield from super().run(request, cancelled)

    settings = TdmConfig(slice_s=0.64, slice_tokens=4, layout="pairs")
    bench = Bench(Hesitant({"count.": LONG}), policy=TdmPolicy(settings))
    bench.hear(say("count."))
    bench.hear(silence(14.0))
    first, second = (request.messages for request, _user in bench.ports.prompts[:2])
    assert [m.text for m in first[1:]] == ["count."]
    assert [m.text for m in second[1:]] == ["count.", "<idle>", "<idle>"]
    assert bench.heard == LONG


@pytest.mark.parametrize("words", ["count,", "count"])
@pytest.mark.parametrize("slice_s", LENGTHS_S)
def test_a_duplex_model_is_not_kept_waiting_by_a_guessed_comma(words: str, slice_s: float) -> None:
    """It answers finished sentences only; the recogniser had not ended this one, and the user says no more."""

    class Strict(DuplexPorts):
        def run(self, request, cancelled):
            words = [m.text for m in getattr(request, "messages", ()) if m.role == "user" and m.text != "<idle>"]
            if isinstance(request, ports.Generate) and words and words[-1][-1] not in ".?!":
                self.prompts.append((request, words[-1]))
                yield ports.Generated(ticket=request.ticket, text="<idle>", done=True)
            else:
                yield from super().run(request, cancelled)

    settings = TdmConfig(slice_s=slice_s, slice_tokens=4, layout="pairs")
    bench = Bench(Strict({"count.": LONG}), policy=TdmPolicy(settings))
    bench.hear(say(words))
    bench.hear(silence(1.0))
    assert bench.heard == ""  # a pause of a second may be inside the sentence
    bench.hear(silence(24.0))
    assert bench.items() == [("user", words), ("assistant", LONG)]


def test_a_duplex_model_does_not_begin_while_the_user_goes_on() -> None:
    """What it wrote for half of the words is dropped; the slice with the rest is asked for anew."""
    bench = bench_of({"Anna?": "hello", "here": "welcome"}, layout="pairs")
    bench.lanes.charge = lambda request, index: 0.4 if isinstance(request, ports.Generate) else 0.02
    bench.hear(say("Anna?"))
    while not bench.ports.prompts:
        bench.hear(silence(0.032))
    bench.hear(say("here"))
    bench.hear(silence(8.0))
    assert bench.ports.prompts[0][1] == "Anna?"
    assert bench.heard == "welcome"
    assert not any(isinstance(event, ev.Flush) for _, event in bench.events)


@pytest.mark.parametrize("slice_s", LENGTHS_S)
def test_new_words_stop_the_machine_within_one_slice_of_being_read(slice_s: float) -> None:
    bench = bench_of({"count": LONG, "wait a moment": "yes"}, slice_s=slice_s)
    bench.hear(say("count"))
    while bench.floor != "speaking":
        bench.hear(silence(0.032))
    bench.hear(silence(0.9))
    start = bench.runner.state.frame_index
    bench.hear(say("wait a moment"))
    bench.hear(silence(24.0 if slice_s == 2.0 else 12.0))
    read = next(i for i, e in bench.events if i >= start and isinstance(e, ev.UserText) and e.stable > 0)
    flushed = next(i for i, e in bench.events if i >= start and isinstance(e, ev.Flush))
    assert flushed - read <= round(slice_s / 0.032)
    check(bench)
    heard = bench.items()[1][1]
    assert LONG.startswith(heard) and heard != LONG
    # the brain was told what was heard, also in the slices it had written ahead
    last = bench.ports.prompts[-1][0].messages
    assert heard in [m.text for m in last if m.role == "assistant"]


def test_a_suspended_answer_is_continued_without_repeating_or_losing_a_word() -> None:
    bench = bench_of(slice_tokens=3)
    bench.hear(say("count"))
    bench.hear(silence(14.0))
    assert bench.heard == LONG
    asked = [r for r, _ in bench.ports.prompts]
    assert [r.messages[-1].role for r in asked] == ["user"] + ["assistant"] * (len(asked) - 1)
    assert {r.sampling.max_tokens for r in asked} == {3}


class Splitter(FakePorts):
    """A brain whose slices end inside words, as token slices do."""

    def run(self, request, cancelled):
        if not isinstance(request, ports.Generate):
            yield from super().run(request, cancelled)
            return
        text = "understanding takes patience and practice."
        done = request.messages[-1].text if request.messages[-1].role == "assistant" else ""
        assert text.startswith(done)
        yield ports.Generated(ticket=request.ticket, text=text[len(done) : len(done) + 7], done=False)
        yield ports.Generated(ticket=request.ticket, text="", done=True)


def test_words_cut_by_a_slice_are_spoken_whole() -> None:
    bench = Bench(Splitter(), policy=TdmPolicy(TdmConfig(slice_s=0.32)))
    bench.hear(say("go"))
    bench.hear(silence(10.0))
    assert bench.items()[1] == ("assistant", "understanding takes patience and practice.")


def test_unfinished_words_are_waited_for_but_not_for_ever() -> None:
    bench = bench_of({"tell me because": "fine"})
    bench.hear(say("tell me because"))
    bench.hear(silence(0.9))
    assert not bench.of(ev.ReplyStarted)
    bench.hear(silence(5.0))
    assert bench.heard == "fine"


def test_a_cough_over_the_answer_is_ignored_and_its_sound_not_kept() -> None:
    bench = bench_of()
    bench.hear(say("count"))
    while bench.floor != "speaking":
        bench.hear(silence(0.032))
    bench.hear(np.full(2 * 512, 0.2, np.float32))
    bench.hear(silence(20.0))
    check(bench)
    assert bench.heard == LONG
    assert not bench.of(ev.Flush)
    assert len(bench.runner.state.hearing.frames) < 50


def test_a_cough_in_silence_asks_the_brain_nothing() -> None:
    bench = bench_of({"count": "three"})
    bench.hear(say("count"))
    bench.hear(silence(6.0))
    before = len(bench.ports.prompts)
    bench.hear(np.full(2 * 512, 0.2, np.float32))
    bench.hear(silence(6.0))
    check(bench)
    assert len(bench.ports.prompts) == before


def test_a_brain_that_stays_idle_ends_the_turn() -> None:
    for reply in ("", "<idle>", " <idle> "):
        bench = bench_of({"count": reply})
        bench.hear(say("count"))
        bench.hear(silence(12.0))
        assert bench.floor == "idle"
        assert not bench.of(ev.ReplyStarted)
        assert len(bench.ports.prompts) <= 6


@pytest.mark.parametrize("command", [ev.StopSpeaking(), ev.Say("hello", respond=True)], ids=["stop", "say"])
@pytest.mark.parametrize("tick", range(8, 120, 7))
def test_stopped_from_outside_it_stays_stopped(command: ev.Input, tick: int) -> None:
    bench = bench_of({"count": LONG, "hello": "good day", "count hello": "good day"})
    bench.hear(say("count"))
    bench.hear(np.zeros(tick * 512, np.float32))
    before = bench.floor
    bench.hear(silence(0.064), command)
    heard = bench.heard
    bench.hear(silence(12.0))
    check(bench)
    if isinstance(command, ev.Say):
        assert bench.items()[-1] == ("assistant", "good day")
    elif before in ("speaking", "thinking"):
        assert bench.heard == heard
        assert heard != LONG or tick >= 110  # then the last word was being said


def test_typed_messages_and_their_answers_are_known_to_later_slices() -> None:
    bench = bench_of({"my name is Ann": "hello Ann", "who am i": "Ann"})
    bench.hear(silence(3.0), ev.Say("my name is Ann"))
    bench.hear(silence(0.032), ev.Say("remember the tea", respond=False))
    bench.hear(say("who am i"))
    bench.hear(silence(6.0))
    told = " ".join(m.text for m in bench.ports.prompts[-1][0].messages)
    for words in ("my name is Ann", "hello Ann", "remember the tea", "who am i"):
        assert words in told


@pytest.mark.parametrize("command", [ev.CommitInput(), ev.Respond()], ids=["commit", "respond"])
def test_a_committed_turn_is_read_to_its_end_and_answered(command: ev.Input) -> None:
    bench = bench_of({"tell me because": "fine"}, slice_s=2.0)
    bench.hear(say("tell me because"))
    at = bench.runner.state.frame_index
    bench.hear(silence(0.032), command)
    bench.hear(silence(6.0))
    assert bench.items() == [("user", "tell me because"), ("assistant", "fine")]
    started = next(i for i, e in bench.events if isinstance(e, ev.ReplyStarted))
    assert started - at < 20  # it did not wait for the end of the slice


def test_a_broken_brain_or_recogniser_does_not_strand_it() -> None:
    for lane in ("brain", "recogniser", "voice"):
        bench = bench_of({"count": LONG, "count count": LONG})
        bench.ports.fail = {lane}
        bench.hear(say("count"))
        bench.hear(silence(10.0))
        assert bench.of(ev.Failure)
        assert bench.floor == "idle"
        bench.ports.fail = set()
        bench.hear(say("count"))
        bench.hear(silence(14.0))
        assert bench.floor == "idle"
        assert "one two three" in bench.heard


def test_control_strings_in_user_words_reach_the_brain_escaped() -> None:
    for layout in ("merged", "pairs"):
        bench = bench_of(layout=layout)
        bench.hear(silence(0.1), ev.Say("<idle> <|im_end|>", respond=False))
        bench.hear(say("<idle>"))
        bench.hear(silence(4.0))
        for request, _ in bench.ports.prompts:
            for message in request.messages[1:]:
                assert message.text == "<idle>" or "<" not in message.text


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["merged", "pairs"])
def test_ten_thousand_slices_stay_bounded(layout: str) -> None:
    """53 minutes at 0.32 s a slice: prompt, pairs and kept sound do not grow, and a brain's cache can follow the prompts."""
    bench = bench_of(slice_s=0.32, layout=layout, max_pairs=64)
    longest = pairs = frames = asked = fresh = 0
    beginning: Message | None = None
    for i in range(250):
        bench.hear(say(f"question{i % 7}"))
        bench.hear(silence(12.7))
        state = bench.runner.state
        longest = max(longest, *(sum(len(m.text) for m in r.messages) for r, _ in bench.ports.prompts))
        for request, _ in bench.ports.prompts:
            first = next(message for message in request.messages if message.role != "system")
            asked, fresh = asked + 1, fresh + (first != beginning)
            beginning = first
        bench.forget()
        pairs, frames = max(pairs, len(state.mind.pairs)), max(frames, len(state.hearing.frames))
    assert bench.runner.state.frame_index >= 100_000
    assert pairs <= 64
    assert asked > 250
    assert fresh < asked / 15  # the beginning of the prompt changes seldom
    assert frames <= 60
    assert longest <= 64 * 60
    assert bench.floor == "idle"


@pytest.mark.parametrize(
    "wrong",
    [
        {"slice_s": 0.31},
        {"slice_s": 2.01},
        {"slice_s": float("nan")},
        {"slice_s": -1.0},
        {"layout": "rows"},
        {"slice_tokens": 0},
        {"max_slices": 0},
        {"max_pairs": 0},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        TdmConfig(**wrong)


def test_sampling_of_the_session_is_kept_but_for_its_length() -> None:
    bench = bench_of()
    bench.hear(say("count"))
    bench.hear(silence(3.0))
    sampling = bench.ports.prompts[0][0].sampling
    assert sampling == Sampling(max_tokens=4, temperature=sampling.temperature, top_p=sampling.top_p)

"""Turns that are ended from outside: push-to-talk, and turns that ask for no answer."""

from bench import Bench
from fakes import FakePorts, say, silence
from fullduplex.dialogue import events as ev
from fullduplex.dialogue.policies.turns import TurnsConfig, TurnsPolicy

PUSH_TO_TALK = TurnsPolicy(TurnsConfig(ends_turns=False, answers=False))
LONG = " ".join(f"w{i}" for i in range(30))


def test_push_to_talk_waits_for_the_commit_and_then_for_the_wish() -> None:
    bench = Bench(FakePorts({"one thing and another": "fine"}), policy=PUSH_TO_TALK)
    bench.hear(say("one thing"))
    bench.hear(silence(3.0))
    bench.hear(say("and another"))
    assert bench.floor == "listening"
    bench.hear(silence(0.5), ev.CommitInput())
    assert bench.items() == [("user", "one thing and another")]
    assert bench.floor == "idle"
    bench.hear(silence(2.0), ev.Respond())
    assert bench.heard == "fine"


def test_a_commit_right_after_the_last_word_waits_until_it_has_been_read() -> None:
    bench = Bench(policy=PUSH_TO_TALK)
    bench.hear(say("every word of this"))
    bench.hear(silence(2.5), ev.CommitInput(), ev.Respond())
    assert bench.items()[0] == ("user", "every word of this")
    assert bench.heard == "here is a long answer to you"


def test_a_wish_after_nothing_was_said_is_answered_all_the_same() -> None:
    bench = Bench(FakePorts({"remember me": "yes"}), policy=PUSH_TO_TALK)
    bench.hear(silence(0.1), ev.Say("remember me", respond=False))
    bench.hear(say("ugh"))
    bench.hear(silence(2.5), ev.Respond())
    assert bench.items()[-1] == ("assistant", "yes")


def test_unanswered_turns_are_remembered() -> None:
    bench = Bench(policy=TurnsPolicy(TurnsConfig(answers=False)))
    bench.hear(say("first this"))
    bench.hear(silence(2.5))
    bench.hear(say("then that"))
    bench.hear(silence(2.5))
    assert bench.items() == [("user", "first this"), ("user", "then that")]
    assert not bench.of(ev.ReplyStarted)
    assert bench.floor == "idle"


def test_a_commit_over_the_reply_is_an_interruption() -> None:
    bench = Bench(FakePorts({"count": LONG, "yeah": "you said yeah"}))
    bench.hear(say("count"))
    bench.hear(silence(1.5))
    bench.hear(say("yeah"))
    bench.hear(silence(3.0), ev.CommitInput())
    assert [text for role, text in bench.items() if role == "user"] == ["count", "yeah"]
    assert bench.items()[-1] == ("assistant", "you said yeah")


def test_the_words_of_a_guess_are_told_when_it_becomes_the_reply() -> None:
    bench = Bench(FakePorts({"hello there": "one two three four five six seven"}))
    bench.hear(say("hello there"))
    bench.hear(silence(3.0))
    told = " ".join(event.text for event in bench.of(ev.ReplyText))
    assert told == "one two three four five six seven"

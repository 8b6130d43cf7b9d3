"""Two judgements of the turn policy: has the user finished, and was that an interruption?"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullduplex.dialogue.listening.hearing import Hearing, HearingConfig, heard_out
from fullduplex.dialogue.policies.endpoint import EndpointConfig, EndpointEvidence, end_probability
from fullduplex.dialogue.policies.overlap import OverlapConfig, Verdict, judge_overlap

END, OVERLAP = EndpointConfig(), OverlapConfig()
PROBABILITY = st.one_of(st.none(), st.floats(0.0, 1.0))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(PROBABILITY, PROBABILITY, st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.booleans())
def test_more_silence_never_makes_the_end_less_likely(
    sound: float | None, words: float | None, one_s: float, other_s: float, punctuated: bool
) -> None:
    shorter, longer = sorted((one_s, other_s))
    first, second = (
        end_probability(EndpointEvidence(sound=sound, words=words, silence_s=s, punctuated=punctuated), END)
        for s in (shorter, longer)
    )
    assert 0.0 <= first <= second <= 1.0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.16, 1.9))
def test_a_surer_judge_never_makes_the_end_less_likely(one: float, other: float, silence_s: float) -> None:
    low, high = sorted((one, other))
    for judge in ("sound", "words"):
        values = [
            end_probability(
                EndpointEvidence(**{"sound": None, "words": None, judge: p}, silence_s=silence_s, punctuated=False), END
            )
            for p in (low, high)
        ]
        assert values[0] <= values[1]


def test_the_limits_and_one_value_by_hand() -> None:
    def at(silence_s: float) -> float:
        return end_probability(EndpointEvidence(sound=1.0, words=1.0, silence_s=silence_s, punctuated=True), END)

    assert at(END.min_silence_s - 1e-6) == 0.0
    assert at(END.max_silence_s) == 1.0
    config = EndpointConfig(bias=0.5, sound=1.0, words=1.0, silence=2.0, punctuated=0.25)
    evidence = EndpointEvidence(sound=0.75, words=0.5, silence_s=0.4, punctuated=True)
    score = 0.5 + math.log(3.0) + 0.0 + 2.0 * math.log(2.0) + 0.25
    assert end_probability(evidence, config) == pytest.approx(1 / (1 + math.exp(-score)), rel=1e-12)


def heard(text: str, *, speech_s: float, silence_s: float, settled: bool = True) -> Hearing:
    speech, silence = round(speech_s / 0.032), round(silence_s / 0.032)
    sound = (np.zeros(0, np.float32),) * (speech + silence)  # only its length counts here
    return Hearing(
        ear=0,
        started=True,
        active=silence == 0,
        frames=sound,
        text=text,
        stable=len(text),
        speech_frames=speech,
        silence_frames=silence,
        read_frames=speech + silence if settled else 0,
    )


def judge(hearing: Hearing, *, machine_asked: bool, aside: bool | None = False) -> Verdict:
    read = heard_out(hearing, HearingConfig())
    return judge_overlap(hearing, OVERLAP, machine_asked=machine_asked, aside=aside, heard_out=read)


@pytest.mark.parametrize("machine_asked", [False, True])
@pytest.mark.parametrize("text", ["stop", "wait", "no", "what", "actually the other one"])
def test_a_stop_word_takes_the_floor_at_once(text: str, machine_asked: bool) -> None:
    hearing = heard(text, speech_s=0.2, silence_s=0.0)
    assert judge(hearing, machine_asked=machine_asked) is Verdict.INTERRUPT


@pytest.mark.parametrize("text", ["stop", "i would like tea", "mm-hm", ""])
def test_somebody_else_never_takes_the_floor(text: str) -> None:
    hearing = heard(text, speech_s=1.5, silence_s=0.0)
    assert judge(hearing, machine_asked=True, aside=True) is Verdict.IGNORE
    assert judge(hearing, machine_asked=True, aside=None) is Verdict.WAIT


@pytest.mark.parametrize("text", ["mm-hm", "yeah", "okay right", ""])
def test_hums_and_noises_are_waited_for_and_then_ignored(text: str) -> None:
    assert judge(heard(text, speech_s=0.3, silence_s=0.0), machine_asked=False) is Verdict.WAIT
    assert judge(heard(text, speech_s=0.3, silence_s=0.4), machine_asked=False) is Verdict.IGNORE


@pytest.mark.parametrize(
    ("text", "silence_s", "verdict"),
    [
        ("mm-hm", 0.25, Verdict.IGNORE),
        ("excell", 0.25, Verdict.WAIT),  # "Actually, …", misheard: he may go on
        ("excell", 0.36, Verdict.IGNORE),
    ],
)
def test_after_an_odd_word_the_machine_waits_a_little_longer(text: str, silence_s: float, verdict: Verdict) -> None:
    assert judge(heard(text, speech_s=0.5, silence_s=silence_s), machine_asked=False) is verdict


def test_yes_answers_a_question_of_the_machine() -> None:
    hearing = heard("yes", speech_s=0.3, silence_s=0.4)
    assert judge(hearing, machine_asked=True) is Verdict.INTERRUPT
    assert judge(hearing, machine_asked=False) is Verdict.IGNORE


def test_a_sentence_takes_the_floor_while_it_is_being_said() -> None:
    hearing = heard("i would like tea", speech_s=1.5, silence_s=0.0, settled=False)
    assert judge(hearing, machine_asked=False) is Verdict.INTERRUPT


def test_a_noise_that_does_not_end_is_let_go() -> None:
    hearing = heard("", speech_s=2 * OVERLAP.long_speech_s + 0.1, silence_s=0.0, settled=False)
    assert judge(hearing, machine_asked=False) is Verdict.IGNORE


@settings(derandomize=True, max_examples=120, deadline=None)
@given(
    st.sampled_from(["", "mm-hm", "meow", "tea", "two words", "stop", "you"]),
    st.floats(0.05, 5.0),
    st.integers(0, 40),
    st.booleans(),
)
def test_waiting_ends_with_the_silence(text: str, speech_s: float, silence: int, asked: bool) -> None:
    """A longer silence never turns a verdict into doubt, and half a second of it always settles the matter."""
    verdicts = [
        judge(heard(text, speech_s=speech_s, silence_s=0.032 * n), machine_asked=asked)
        for n in (silence, silence + 1, 20)
    ]
    assert verdicts[2] is not Verdict.WAIT
    if silence and verdicts[0] is not Verdict.WAIT:
        assert verdicts[1] is verdicts[0]

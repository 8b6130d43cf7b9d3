"""Whose voice it is: levels tell the user's from somebody across the room."""

from dataclasses import replace

import numpy as np
import pytest

from fullduplex.base.units import FRAME_SAMPLES
from fullduplex.dialogue.events import Frame
from fullduplex.dialogue.listening.hearing import (
    Hearing,
    HearingConfig,
    end_turn,
    hear,
    heard_out,
    is_aside,
    recognised,
    wants_recognition,
)
from fullduplex.evaluate.scenarios import scenario

CONFIG = HearingConfig()


class EveryVoice:
    """An ear that takes every sound for speech."""

    def init(self) -> int:
        return 0

    def step(self, pcm: np.ndarray, state: int) -> tuple[float, int]:
        return float(bool(pcm.any())), state


def heard(hearing: Hearing, levels_db: list[float | None], **options: bool) -> tuple[Hearing, list[int]]:
    """After frames of these levels (None: silence), and at which of them speech began."""
    onsets = []
    for index, level_db in enumerate(levels_db):
        pcm = np.full(FRAME_SAMPLES, 0.0 if level_db is None else 10 ** (level_db / 20), np.float32)
        hearing, onset = hear(hearing, Frame(index=index, pcm=pcm), EveryVoice(), CONFIG, **options)
        if onset:
            onsets.append(index)
    return hearing, onsets


@pytest.fixture
def enrolled() -> Hearing:
    """A user who has spoken once, at -20 dB, with quiet ends of words."""
    spoken, onsets = heard(Hearing(ear=0), [-20.0, -20.0, -45.0] * 20)
    assert onsets == [0 + 1]
    return end_turn(spoken, CONFIG, enrol=True)


def test_the_level_of_a_voice_is_its_power_and_not_the_mean_of_its_decibels(enrolled: Hearing) -> None:
    assert enrolled.user_level_db == pytest.approx(-20 + 10 * np.log10(2 / 3), abs=0.3)


def test_a_voice_across_the_room_does_not_break_in(enrolled: Hearing) -> None:
    far = [-33.0, -31.5, -40.0, None] * 30  # its loudest frames are 9.7 dB below the user's active level
    assert heard(enrolled, far, machine_speaks=True)[1] == []
    assert heard(enrolled, far)[1][0] == 1  # while the machine is silent, it may be the user who has moved away
    assert heard(enrolled, [-45.0, -42.0, None] * 30)[1] == []


def test_a_soft_beginning_does_not_delay_the_users_own_voice(enrolled: Hearing) -> None:
    began, onsets = heard(enrolled, [-50.0] * 9 + [-22.0], machine_speaks=True)
    assert onsets == [9]
    assert began.speech_frames == CONFIG.onset_frames + 2  # what went before in a murmur is not counted as speech


def test_a_voice_in_the_room_is_known_by_its_level_after_half_a_second(enrolled: Hearing) -> None:
    loud_first = [-29.0, -29.0, -33.0, -33.0, -40.0]  # 12 dB below the user; its onset is its loudest frames
    begun, onsets = heard(enrolled, loud_first, machine_speaks=True)
    assert onsets == [1]
    assert is_aside(begun, CONFIG) is None  # perhaps: nothing that it says takes the floor yet
    later, _ = heard(begun, [-33.0] * 12, machine_speaks=True)
    assert later.speech_s > CONFIG.aside_after_s
    assert is_aside(later, CONFIG) is True
    ended, _ = heard(begun, [None] * CONFIG.pause_frames, machine_speaks=True)
    assert is_aside(ended, CONFIG) is True  # it has stopped: nothing more to wait for


def test_a_user_who_speaks_a_little_more_softly_is_not_somebody_else(enrolled: Hearing) -> None:
    began, onsets = heard(enrolled, [-26.0] * 4, machine_speaks=True)
    assert onsets == [1]
    assert is_aside(began, CONFIG) is False
    assert is_aside(heard(began, [-26.0] * 30, machine_speaks=True)[0], CONFIG) is False


def test_an_aside_goes_unheard_until_it_pauses_but_the_user_does_not(enrolled: Hearing) -> None:
    begun, _ = heard(enrolled, [-30.0] * 20, machine_speaks=True)
    aside = end_turn(begun, CONFIG, enrol=False, aside=True)
    talk = [-25.0, -30.0, None, -34.0] * 20
    assert heard(aside, talk, machine_speaks=True)[1] == []
    assert heard(aside, [*talk, -18.0, -18.0], machine_speaks=True)[1] == [len(talk)]  # its run goes on
    paused = [None] * CONFIG.aside_pause_frames
    assert heard(aside, [*paused, -30.0, -30.0], machine_speaks=True)[1] == [len(paused) + 1]
    assert heard(aside, [None, -30.0, -30.0])[1] == [2]  # the machine is silent: it may be the user after all


def test_a_television_does_not_keep_a_turn_open(enrolled: Hearing) -> None:
    television = [-40.0, -35.0, -33.0, None] * 12  # its loudest frames are 12 dB below the user's level so far
    spoken, onsets = heard(enrolled, [*[-20.0] * 20, *television])
    assert onsets == [1]
    assert spoken.silence_frames == len(television) - 3  # what came before its first pause may be a soft end of words
    assert spoken.speech_frames == 20 + 3
    assert spoken.level_db == pytest.approx(-20.6, abs=0.1)
    again, onsets = heard(spoken, [*[-20.0] * 3, *television[:4]])
    assert onsets == [1]
    assert again.silence_frames == 1


def test_words_that_end_softly_are_not_cut(enrolled: Hearing) -> None:
    _, onsets = heard(enrolled, [-20.0, -20.0, *[-38.0] * (CONFIG.background_frames - 1)] * 8)
    assert onsets == [1]  # and never again: the turn was not interrupted


def test_a_television_begins_no_turn_once_the_user_is_known(enrolled: Hearing) -> None:
    assert heard(enrolled, [-40.0, -35.0, -34.0, None] * 30)[1] == []


def test_the_first_turn_of_all_ends_over_a_television_too() -> None:
    spoken, _ = heard(Hearing(ear=0), [*[-20.0] * 20, *[-38.0] * 20])
    assert spoken.silence_frames == 20 - (CONFIG.background_frames - 1)


def test_without_a_known_user_nobody_is_an_aside() -> None:
    assert is_aside(heard(Hearing(ear=0), [-60.0] * 40, machine_speaks=True)[0], CONFIG) is False


def test_before_a_user_is_known_every_voice_counts() -> None:
    assert heard(Hearing(ear=0), [-60.0, -60.0], machine_speaks=True)[1] == [1]


def test_the_battery_has_somebody_else_in_the_room() -> None:
    acts = scenario("backchannels")
    asides = [act for act in acts if act.role == "side_talk"]
    assert len(asides) == 6
    assert {act.role for act in acts} == {"turn", "backchannel", "noise", "side_talk"}
    voices = [10 * np.log10(np.mean(np.square(act.pcm[act.pcm != 0]))) for act in acts if act.role == "turn"]
    levels = [10 * np.log10(np.mean(np.square(act.pcm[act.pcm != 0]))) for act in asides]
    assert sorted(np.round(np.array(levels) - np.mean(voices))) == [-26, -26, -21, -21, -12, -12]


def readings(levels_db: list[float | None], *, machine_speaks: bool) -> list[tuple[int, bool]]:
    """Where readings are asked for, each done within its frame, and whether it was a final one."""
    hearing, asked = Hearing(ear=0), []
    for level_db in levels_db:
        hearing, _ = heard(hearing, [level_db], machine_speaks=machine_speaks)
        if wants_recognition(hearing, CONFIG, machine_speaks=machine_speaks):
            size = len(hearing.frames)
            hearing = recognised(replace(hearing, asked_frames=size), "words", (1,), CONFIG)
            asked.append((size, heard_out(hearing, CONFIG)))
    return asked


def test_long_utterances_are_read_less_often_but_before_they_are_too_long() -> None:
    sizes = [size for size, final in readings([-20.0] * 499, machine_speaks=False) if not final]
    steps = np.diff(sizes)
    assert sizes[0] == CONFIG.onset_frames + CONFIG.partial_frames  # the pre-roll holds hardly a word
    assert steps[0] == CONFIG.partial_frames
    assert np.all(steps <= np.maximum(CONFIG.partial_frames, np.ceil(CONFIG.partial_share * np.array(sizes[:-1]))))
    assert len(sizes) < 499 / CONFIG.partial_frames / 2
    read_again = recognised(replace(heard(Hearing(ear=0), [-20.0] * 480)[0], asked_frames=480), "words", (1,), CONFIG)
    assert [wants_recognition(heard(read_again, [-20.0] * n)[0], CONFIG) for n in (19, 20)] == [False, True]


@pytest.mark.parametrize("frames", range(5, 40))
def test_over_the_machine_a_sound_is_read_to_its_end_exactly_once(frames: int) -> None:
    asked = readings([*[-20.0] * frames, *[None] * 20], machine_speaks=True)
    assert [final for _, final in asked] == [False] * (len(asked) - 1) + [True]
    assert asked[-1][0] == frames + CONFIG.pause_frames
    quiet = readings([*[-20.0] * frames, *[None] * 20], machine_speaks=False)
    assert len(quiet) <= len(asked)
    assert frames <= quiet[-1][0] <= frames + CONFIG.pause_frames

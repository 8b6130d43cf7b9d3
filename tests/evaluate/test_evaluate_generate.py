"""The generator as the oracle: what it says happened, the scorers must find."""

from itertools import pairwise

import numpy as np
import pytest

from fullduplex.base.errors import InputError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.fdb.items import TASKS
from fullduplex.evaluate.fdb.score import fdb_scores
from fullduplex.evaluate.generate.labels import annotations_of, labels_of, perfect_times
from fullduplex.evaluate.generate.plan import DialogueConfig, Line, plan_dialogue, recording_of
from fullduplex.evaluate.generate.render import VOICES, make_dialogue, voice_of_clips
from fullduplex.evaluate.generate.stimuli import item_from, stimuli
from fullduplex.evaluate.measures import audible_spans
from fullduplex.evaluate.room import RoomConfig
from fullduplex.evaluate.timing.spans import Side, Word
from fullduplex.evaluate.timing.statistics import conversation_statistics
from fullduplex.evaluate.turnbench.floor import gold_of
from fullduplex.evaluate.turnbench.score import score_conversation

pytest.importorskip("soundfile")


def lines(prefix: str) -> list[Line]:
    made = [Line(name=f"{prefix}t{i}", kind="turn", length_s=2.0 + 0.3 * i, text="t") for i in range(3)]
    made += [Line(name=f"{prefix}h{i}", kind="half", length_s=1.5, text="h") for i in range(2)]
    made += [Line(name=f"{prefix}b", kind="backchannel", length_s=0.4, text="b")]
    return [*made, Line(name=f"{prefix}i", kind="interruption", length_s=1.8, text="i")]


VOICE = (lines("a"), lines("b"))


@pytest.mark.parametrize("seed", range(12))
def test_statistics_find_what_was_planned(seed: int) -> None:
    """Every gap, pause and overlap that was drawn is measured to the microsecond, and nothing else is."""
    config = DialogueConfig(num_turns=20, backchannel_share=0.0, interruption_share=0.0)
    plan = plan_dialogue(VOICE, config, seed=seed)
    found = conversation_statistics(recording_of(plan, "p"))
    moves = [(later.start_s - earlier.end_s, later.kind == "continued") for earlier, later in pairwise(plan.placed)]
    pauses = [move for move, continued in moves if continued]
    offsets = [move for move, continued in moves if not continued]
    assert found.pauses_s == pytest.approx(pauses)
    assert sorted(found.offsets_s) == pytest.approx(sorted(offsets))
    assert found.gaps_s == pytest.approx([move for move in offsets if move > 0])
    assert found.overlaps_between_s == pytest.approx([-move for move in offsets if move < 0])


@pytest.mark.parametrize("seed", range(12))
def test_draws_keep_to_their_ranges(seed: int) -> None:
    config = DialogueConfig(num_turns=30, gap_s=(0.2, 0.4), overlap_s=(0.1, 0.2), pause_s=(0.5, 0.6))
    plan = plan_dialogue(VOICE, config, seed=seed)
    for earlier, later in pairwise([p for p in plan.placed if p.kind != "backchannel"]):
        move = later.start_s - earlier.end_s
        if later.kind == "continued":
            assert 0.5 <= move <= 0.6
        elif later.kind == "interruption":
            assert earlier.cut or move <= 0
            assert move < 0
        else:
            assert 0.2 <= move <= 0.4 or -0.2 <= move <= -0.1
    for nod in (p for p in plan.placed if p.kind == "backchannel"):
        assert any(p.side != nod.side and p.start_s < nod.start_s and nod.end_s < p.end_s for p in plan.placed)
    assert plan == plan_dialogue(VOICE, config, seed=seed)


@pytest.mark.parametrize("seed", range(8))
def test_turnbench_of_a_plan_is_perfect_for_the_planner(seed: int) -> None:
    plan = plan_dialogue(VOICE, DialogueConfig(num_turns=25), seed=seed)
    gold = gold_of(annotations_of(plan))
    eot, cuts = score_conversation(gold, *perfect_times(gold))
    assert eot.recall == 1.0
    assert eot.fp == cuts.fp == cuts.fn == 0
    assert len(gold.int_positives) == sum(p.kind == "interruption" for p in plan.placed)
    assert len(gold.int_negatives) == sum(p.kind == "backchannel" for p in plan.placed)
    assert labels_of(plan)["turnbench"]["int_positives"] == len(gold.int_positives)


def test_sound_is_where_the_labels_say() -> None:
    made = make_dialogue("d", seed=5)
    for track, side in ((made.user_N, made.truth.user), (made.system_N, made.truth.system)):
        heard = [(low / EAR_RATE_HZ, high / EAR_RATE_HZ) for low, high in audible_spans(track, bridge_s=0.05)]
        loud = np.zeros(int(made.plan.duration_s * 100) + 2, bool)
        labelled = loud.copy()
        for start, end in heard:
            loud[round(start * 100) : round(end * 100)] = True
        for start, end in side.spans:
            labelled[round(start * 100) : round(end * 100)] = True
        assert np.mean(loud != labelled) < 0.02  # 10 ms hops that fall elsewhere on the shifted grid


def test_echo_and_noise_reach_the_users_microphone_only() -> None:
    clean = make_dialogue("d", seed=1)
    room = make_dialogue("d", seed=1, room=RoomConfig(echo_gain=0.5, noise_db=-40))
    assert np.array_equal(clean.system_N, room.system_N)
    assert clean.truth == room.truth
    alone = slice(*(round(edge * EAR_RATE_HZ) for edge in (0.05, 0.45)))  # before anybody speaks
    assert np.sqrt(np.mean(room.user_N[alone] ** 2)) == pytest.approx(0.01, rel=0.05)
    assert not clean.user_N[alone].any()


def test_voices_are_whole_and_different() -> None:
    named = {name: {sound.line.name for sound in voice_of_clips(name)} for name in VOICES}
    assert not set.intersection(*named.values())
    for name in VOICES:
        kinds = {sound.line.kind for sound in voice_of_clips(name)}
        assert kinds == {"turn", "half", "backchannel", "interruption"}
        halves = [sound.line.name for sound in voice_of_clips(name) if sound.line.kind == "half"]
        assert all(a[:-1] == b[:-1] for a, b in zip(halves[::2], halves[1::2], strict=True))


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="two different"):
        make_dialogue("d", voices=("bella", "bella"))
    with pytest.raises(InputError, match="no voice"):
        voice_of_clips("hal")
    with pytest.raises(InputError, match="halves"):
        plan_dialogue((VOICE[0][:3], VOICE[1][:3]), DialogueConfig(pause_share=1.0))
    with pytest.raises(InputError, match="interruption"):
        plan_dialogue((VOICE[0][:5], VOICE[1][:5]), DialogueConfig(pause_share=0.0, interruption_share=1.0))
    for bad in ({"num_turns": 0}, {"gap_s": (1, 0)}, {"gap_s": (-1, 0)}, {"pause_share": 1.5}):
        with pytest.raises(InputError):
            DialogueConfig(**bad)
    with pytest.raises(InputError, match="no task"):
        stimuli("singing", 1)
    with pytest.raises(InputError, match="count"):
        stimuli("backchannel", 0)


@pytest.mark.parametrize("task", TASKS)
def test_stimuli_are_as_printed(task: str) -> None:
    """Pauses of 0.4 to 1 s; turns over 4 s and 5 s of silence; interruptions 7 s after the context, 15 s of silence."""
    for made in stimuli(task, 8, seed=3):
        last = made.user.spans[-1][1]
        after_s = made.duration_s - last
        if task == "pause_handling":
            low, high = made.mark
            assert 0.4 <= high - low <= 1.0
            assert made.judged == (0.0, pytest.approx(last, abs=0.02))
        elif task == "smooth_turn_taking":
            assert made.mark[0] - made.user.spans[0][0] > 4.0
            assert after_s == pytest.approx(5.0, abs=0.02)
        elif task == "user_interruption":
            before = max(end for _, end in made.user.spans if end < made.mark[0])
            assert made.mark[0] - before == pytest.approx(7.0, abs=0.02)
            assert after_s == pytest.approx(15.0, abs=0.02)
            assert made.context
            assert made.interruption
        else:
            assert sum(made.truth) == pytest.approx(1.0)


def test_a_perfect_and_a_deaf_system_get_what_they_deserve() -> None:
    """Scripted behaviour on every stimulus: the scorer's verdict is known beforehand."""
    made = [stimulus for task in TASKS for stimulus in stimuli(task, 4)]

    def said(*starts: float) -> Side:
        words = tuple(Word(f"w{i}", at + 0.4 * k, at + 0.4 * k + 0.3) for i, at in enumerate(starts) for k in range(5))
        return Side(spans=tuple((at, at + 1.9) for at in starts), words=words)

    polite = []
    for stimulus in made:
        end_s = stimulus.user.spans[-1][1]
        answers = [] if stimulus.task in ("pause_handling", "backchannel") else [end_s + 0.5]
        polite.append(item_from(stimulus, said(*answers), duration_s=end_s + 5))
    for mode in ("paper", "code"):
        scores = fdb_scores(polite, mode)
        assert [scores[task].takeover_rate for task in TASKS] == [0, 0, 1, 1]
        assert scores["smooth_turn_taking"].latency_s == pytest.approx(0.5, abs=0.02)
        assert scores["user_interruption"].latency_s == pytest.approx(0.5, abs=0.02)
    deaf = [item_from(stimulus, said(0.7, 3.0), duration_s=stimulus.duration_s) for stimulus in made]
    scores = fdb_scores(deaf, "paper")
    assert [scores[task].takeover_rate for task in TASKS] == [1, 1, 1, 0]
    assert scores["smooth_turn_taking"].latency_s < 0
    assert scores["smooth_turn_taking"].latency_clipped_s == 0

"""What a duplex system should do, who does it, and a conversation measured: no sound and no model needed.

python examples/wavchat.py
"""

from fullduplex.evaluate.fdb.items import FdbItem
from fullduplex.evaluate.fdb.score import fdb_scores
from fullduplex.evaluate.generate.labels import annotations_of, perfect_times
from fullduplex.evaluate.generate.plan import Line, plan_dialogue, recording_of
from fullduplex.evaluate.timing.spans import Recording, Side, Word
from fullduplex.evaluate.timing.statistics import conversation_statistics
from fullduplex.evaluate.turnbench.floor import gold_of
from fullduplex.evaluate.turnbench.score import score_conversation
from fullduplex.evaluate.wavchat.taxonomy import load, real_time_factors

taxonomy = load()
for name in ("moshi", "minicpm-duplex", "turns"):
    system = taxonomy.system(name)
    done = [title for title, mark in system.behaviours.items() if mark == "yes"]
    print(f"{system.name}: {system.paradigm}, {system.duplex} duplex, does {', '.join(done)}")
both = real_time_factors(speech_s=4.0, computing_s=1.0)
print(f"4 s of speech in 1 s: real-time factor {both.rtf} as usual, {both.rtf_survey} as the survey has it")

# A dialogue as a plan of who speaks when; the plan is the truth that the measures must find.
lines = [
    Line(name="t", kind="turn", length_s=2.5, text="a turn"),
    Line(name="a", kind="half", length_s=1.5, text="a pause"),
]
lines += [
    Line(name="b", kind="half", length_s=1.5, text="in it"),
    Line(name="m", kind="backchannel", length_s=0.4, text="mm-hm"),
]
lines += [Line(name="i", kind="interruption", length_s=1.8, text="no, wait")]
plan = plan_dialogue((lines, lines), seed=4)
found = conversation_statistics(recording_of(plan, "planned"))
earliest_s = min(found.offsets_s)
print(
    f"{plan.duration_s:.0f} s: {len(found.pauses_s)} pauses, {len(found.gaps_s)} gaps, earliest start {earliest_s:.2f} s"
)
gold = gold_of(annotations_of(plan))
eot, _ = score_conversation(gold, *perfect_times(gold))
print(f"TurnBench for whoever knows the plan: recall {eot.recall}, false positives {eot.fp} of {eot.fp + eot.tn}")

# Two words in 0.9 s over a pause: the benchmark's paper and its released script do not agree on what that is.
words = (Word("oh", 2.0, 2.3), Word("well", 2.5, 2.9))
hummed = Recording(name="p", user=Side(), system=Side(words=words), duration_s=9.0)
item = FdbItem(task="pause_handling", recording=hummed, mark=(1.9, 3.1))
for mode in ("paper", "code"):
    print(f"as in the {mode}: takeover rate {fdb_scores([item], mode)['pause_handling'].takeover_rate}")

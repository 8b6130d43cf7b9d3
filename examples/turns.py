"""A whole spoken exchange without any model: a question, a hum over the answer, an interruption.

python examples/turns.py
"""

import numpy as np

from fullduplex.dialogue.ports import Pcm
from fullduplex.evaluate.caller import Act
from fullduplex.lm.scripted import ScriptedBrain
from fullduplex.recipes.parts import Parts
from fullduplex.recipes.report import labels_of
from fullduplex.recipes.simulate import simulate
from fullduplex.recipes.talk import TalkConfig, make_echo, make_runner
from fullduplex.speech.recogniser import Hypothesis
from fullduplex.speech.vad import EnergyVad
from fullduplex.speech.voice import ToneVoice

LINES = ("what do you know about the sea", "mm-hm", "stop tell me about rain instead")
WORD_S = 0.25


class Listener:
    """Stands for a recogniser: the loudness says which line it is, the length how much of it was said."""

    def recognise(self, pcm: Pcm, draft: tuple[int, ...] = ()) -> Hypothesis:
        loud = np.abs(pcm)[np.abs(pcm) > 0.02]
        if loud.size < 800:
            return Hypothesis("")
        line = LINES[round(float(np.median(loud)) / 0.1) - 1]
        return Hypothesis(" ".join(line.split()[: max(1, round(loud.size / 16_000 / WORD_S))]))


def said(index: int) -> Pcm:
    samples = int(16_000 * WORD_S * len(LINES[index].split()))
    return np.full(samples, 0.1 * (index + 1), np.float32) * np.where(np.arange(samples) % 80 < 40, 1, -1)


acts = (
    Act(role="turn", text=LINES[0], pcm=said(0).astype(np.float32)),
    Act(role="backchannel", text=LINES[1], pcm=said(1).astype(np.float32), when="into_reply", delay_s=1.0),
    Act(role="interruption", text=LINES[2], pcm=said(2).astype(np.float32), when="into_reply", delay_s=2.5),
)
brain = ScriptedBrain(
    ("The sea is wide, deep and salty. It covers most of the earth, and it has tides.", "Rain is wet.")
)
parts = Parts(
    ear=EnergyVad(), recogniser=Listener(), turn_end=None, brain=brain, voice=ToneVoice(), chosen={"brain": "scripted"}
)
runner = make_runner(parts, TalkConfig())
conversation = simulate(acts, runner, make_echo(enabled=False))

for label in sorted(labels_of(conversation.events)[0], key=lambda label: label.at_s):
    print(f"{label.at_s:5.1f} s  {label.lane:<8} {label.text}")
print("what both sides remember: " + " / ".join(item.text for item in runner.state.history.items))
wanted = ("answered", "stop_s_median", "false_stops", "repeated_words", "missing_words", "stale_s")
print({name: conversation.figures[name] for name in wanted})

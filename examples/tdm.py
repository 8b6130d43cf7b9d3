"""Time-division duplex (2406.15718): an answer is suspended after every slice, continued, and stopped by new words.

python examples/tdm.py
"""

from collections.abc import Callable, Iterator

import numpy as np

from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.policies.tdm import TdmConfig, TdmPolicy
from fullduplex.dialogue.session import Session
from fullduplex.evaluate import loudspeaker as ls
from fullduplex.recipes.lanes import SimulatedLanes
from fullduplex.recipes.runner import Runner
from fullduplex.speech.vad import EnergyVad

TEXT = "once upon a time there was a machine that listened while it spoke and everybody was glad.".split()


def answer(request: ports.Request, cancelled: Callable[[], bool]) -> Iterator[ports.Result]:
    """Stands for every model: goes on with TEXT where the last message stops, a tenth of a second a word."""
    if isinstance(request, ports.Recognise):
        loudness = float(np.abs(request.pcm).max())
        yield ports.Recognised(ticket=request.ticket, text="tell me a story" if loudness < 0.25 else "no wait")
    elif isinstance(request, ports.ScoreEnd):
        yield ports.EndScored(ticket=request.ticket, probability=0.9)
    elif isinstance(request, ports.Generate):
        last = request.messages[-1]
        begun = len(last.text.split()) if last.role == "assistant" else 0
        words = TEXT[begun : begun + request.sampling.max_tokens]
        print(f"  {last.role} spoke last, {begun:2} words of it said; writes: {' '.join(words) or '<idle>'}")
        yield ports.Generated(ticket=request.ticket, text="".join(f" {word}" for word in words), done=True)
    elif isinstance(request, ports.Synthesise):
        words = request.text.split()
        spans = tuple(ports.WordSpan(word, 2400 * i, 2400 * (i + 1)) for i, word in enumerate(words))
        yield ports.Synthesised(ticket=request.ticket, pcm=np.full(2400 * len(words), 0.1, np.float32), words=spans)


session = Session(ear=EnergyVad(), policy=TdmPolicy(TdmConfig(slice_s=0.64, slice_tokens=5)))
for title, interrupted in (("left alone", False), ("new words after 2.9 seconds", True)):
    print(title)
    runner, speaker = Runner(session, SimulatedLanes(answer, charge=lambda request, index: 0.05)), ls.Loudspeaker()
    inputs = ()
    for frame in range(230):
        loud = 0.2 if 20 <= frame < 40 else 0.3 if interrupted and 90 <= frame < 105 else 0.0
        reports: list[ls.Report | None] = []
        for event in runner.step(np.full(512, loud, np.float32), inputs):
            if isinstance(event, ev.AudioOut):
                speaker = ls.play(speaker, event.utterance, event.epoch, event.start, event.pcm)
            elif isinstance(event, ev.Flush):
                speaker, report = ls.flush(speaker, event.utterance, event.epoch)
                reports.append(report)
        _, speaker, report = ls.pull(speaker, 768)
        inputs = tuple(
            ev.Heard(utterance=r.utterance, samples=r.samples, epoch=r.epoch) for r in [*reports, report] if r
        )
    print("  remembered: " + " / ".join(item.text for item in runner.state.history.items))

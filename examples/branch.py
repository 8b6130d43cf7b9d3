"""Speculation by keeping states: two futures of one conversation, and the one that did not happen is forgotten.

python examples/branch.py
"""

import numpy as np

from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.desk import SessionState
from fullduplex.dialogue.policies.turns import TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.dialogue.snapshot import encode
from fullduplex.speech.vad import EnergyVad

SPEECH, SILENCE = np.full(512, 0.2, np.float32), np.zeros(512, np.float32)
session = Session(ear=EnergyVad(), policy=TurnsPolicy())


def answers(asked: list[ev.Event], words: str) -> tuple[ev.Input, ...]:
    """Stands for the models: what they would say to the session's requests."""
    results: list[ev.Input] = []
    for event in asked:
        match event:
            case ev.Ask(ports.Recognise(ticket=ticket)):
                results.append(ports.Recognised(ticket=ticket, text=words))
            case ev.Ask(ports.JudgeEnd(ticket=ticket)):
                results.append(ports.EndJudged(ticket=ticket, probability=0.4))
            case ev.Ask(ports.ScoreEnd(ticket=ticket)):
                results.append(ports.EndScored(ticket=ticket, probability=0.3))
            case ev.Ask(ports.Generate(ticket=ticket, messages=messages)):
                print(f"    the brain begins to answer {messages[-1].text!r}")
                results.append(ports.Generated(ticket=ticket, text="Half past nine.", done=True))
    return tuple(results)


def run(state: SessionState, sound: list[np.ndarray], words: str) -> SessionState:
    """Step the session over `sound`; each result rides on the next frame."""
    inputs: tuple[ev.Input, ...] = ()
    for pcm in sound:
        events, state = session.step(ev.Frame(index=state.frame_index, pcm=pcm, inputs=inputs), state)
        inputs = answers(events, words)
        for event in events:
            if isinstance(event, ev.TurnChanged | ev.ReplyStarted | ev.Cancel):
                print(f"    {event}")
    return state


print("the caller pauses; a guess is made, the conversation itself has not changed:")
pause = run(session.init(), [SILENCE] * 20 + [SPEECH] * 30 + [SILENCE] * 6, "what time is it")
print(f"    guess: {pause.guess and pause.guess.text!r}, history: {pause.history.items}")
kept = encode(pause)
print("one future, the pause goes on: the guess is committed")
done = run(pause, [SILENCE] * 40, "what time is it")
print("another future from the same state, the caller goes on: the guess is rolled back")
other = run(pause, [SPEECH] * 20 + [SILENCE] * 40, "what time is it in Rome")
print(f"replies: {done.reply and done.reply.answers!r} and {other.reply and other.reply.answers!r}")
print(f"the state that both came from is untouched: {encode(pause) == kept}")

"""Conversations as text and back, to the bit; hostile text is refused."""

import json

import numpy as np
import pytest

from fakes import FakeEar
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import FormatError, InputError
from fullduplex.dialogue import events as ev
from fullduplex.dialogue import ports
from fullduplex.dialogue.desk import SessionConfig
from fullduplex.dialogue.policies.slices import SlicePair
from fullduplex.dialogue.policies.tdm import TdmMind, TdmPolicy
from fullduplex.dialogue.policies.turns import TurnsMind, TurnsPolicy
from fullduplex.dialogue.session import Session
from fullduplex.dialogue.snapshot import decode, encode, to_plain
from fullduplex.dialogue.turns import Floor

PCM = np.array([0.0, -0.0, 1e-45, 0.1, np.float32(1 / 3), 1.0], np.float32)
MESSAGES = (Message("user", "héllo \u2028 ‹idle> 🙂"), Message("assistant", '"quoted"\n'))
VALUES = [
    ev.Heard(utterance=1, samples=2, epoch=3),
    ev.Say("x", respond=False),
    ev.Respond(),
    ev.CommitInput(),
    ev.ClearInput(),
    ev.StopSpeaking(),
    ev.Instruct("y"),
    ev.Lost(3),
    ev.Close(),
    ev.Frame(index=4, pcm=PCM, echo_share=0.25, inputs=(ev.Say("z"), ports.Prefilled(ticket=1))),
    ev.Ask(ports.Generate(ticket=1, messages=MESSAGES, sampling=Sampling(stop=("a",)), received_chars=4)),
    ev.Ask(ports.Recognise(ticket=2, pcm=PCM, draft=(1, 2), final=True)),
    ev.Ask(ports.JudgeEnd(ticket=3, pcm=PCM)),
    ev.Ask(ports.Prefill(ticket=4, messages=MESSAGES)),
    ev.Ask(ports.ScoreEnd(ticket=5, messages=())),
    ev.Ask(ports.Synthesise(ticket=6, text="")),
    ev.Cancel(7),
    ev.AudioOut(utterance=1, epoch=0, start=0, pcm=PCM),
    ev.Flush(utterance=1, epoch=2),
    ev.TurnChanged(frame=1, before=Floor.IDLE, after=Floor.OVERLAP, cause="c"),
    ev.UserSpeech(turn=1, frame=2, active=True),
    ev.UserText(turn=1, text="a", stable=0, final=False),
    ev.ReplyStarted(utterance=1, turn=1),
    ev.ReplyText(utterance=1, text="b"),
    ev.ReplyDone(utterance=1, text="a", heard="", complete=False, cause="d"),
    ev.Resumed(utterance=1, start=5, cause="e"),
    ev.Dropped(frames=2),
    ev.DeadlineMissed(what="w", late_s=float("inf")),
    ev.Failure(port="brain", message="m"),
    ports.Recognised(ticket=1, text="t", tokens=(5,)),
    ports.Prefilled(ticket=1),
    ports.EndJudged(ticket=1, probability=0.1),
    ports.EndScored(ticket=1, probability=None),
    ports.Generated(ticket=1, text="g", done=True),
    ports.Synthesised(ticket=1, pcm=PCM, words=(ports.WordSpan("w", 0, 3),)),
    ports.Failed(ticket=1, message="f"),
    TdmMind(pairs=(SlicePair("a", "b"),)),
    TurnsMind(words=float("-inf")),
    Session(ear=FakeEar(), policy=TurnsPolicy()).init(),
    Session(ear=FakeEar(), policy=TdmPolicy()).init(),
]


def test_every_input_event_and_result_is_in_the_list() -> None:
    seen = {type(v) for v in VALUES} | {type(v.request) for v in VALUES if isinstance(v, ev.Ask)}
    for union in (ev.Input, ev.Event, ports.Result, ports.Request):
        assert set(union.__args__) <= seen


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_round_trip_keeps_every_bit(value: object) -> None:
    text = encode(value)
    assert "\n" not in text
    again = decode(text)
    assert type(again) is type(value)
    assert encode(again) == text


@pytest.mark.parametrize("value", [SessionConfig(), TurnsPolicy(), TdmPolicy()], ids=["session", "turns", "tdm"])
def test_settings_come_back_equal(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), ()])
def test_arrays_keep_type_shape_and_bits(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape).astype(dtype)
    again = decode(encode(array))
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_every_truncation_of_a_state_is_refused() -> None:
    text = encode(VALUES[9])
    for cut in range(len(text)):
        with pytest.raises(FormatError):
            decode(text[:cut])


HOSTILE = [
    '{"$":"os.system","command":"true"}',
    '{"$":"Session"}',
    '{"$":"Heard"}',
    '{"$":"Heard","utterance":1,"samples":2,"epoch":3,"more":4}',
    '{"$":["Heard"]}',
    '{"no":"type"}',
    '{"$enum":"Floor.NOWHERE"}',
    '{"$enum":"Secret.IDLE"}',
    '{"$enum":7}',
    '{"$float":"text"}',
    '{"$array":"O","shape":[1],"data":"AAAAAAAAAAA="}',
    '{"$array":"<f4","shape":[1000000000000],"data":"AAAA"}',
    '{"$array":"<f4","shape":[-1,0],"data":"AAAA"}',
    '{"$array":"<f4","shape":[1],"data":"not base64"}',
    '{"$array":"<f4","shape":[1],"data":7}',
    '{"$array":"nonsense","shape":[0],"data":""}',
    "[" * 100_000,
    '{"a":' * 50_000,
    "",
    "NaN text",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        decode(text)


@pytest.mark.parametrize("value", [object(), {"a": 1}, {1, 2}, b"bytes", np.array([object()]), np.array(["text"]), 1j])
def test_what_cannot_be_written_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        to_plain(value)


def test_foreign_types_need_to_be_named() -> None:
    text = json.dumps({"$": "Point", "x": 1})
    with pytest.raises(FormatError):
        decode(text)

    from dataclasses import dataclass

    @dataclass
    class Point:
        x: int

    assert decode(text, extra=(Point,)).x == 1

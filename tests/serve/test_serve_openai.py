"""The reference client: the `openai` package, strict in both directions."""

import asyncio
import base64
from typing import Any, get_args

import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from pydantic import BaseModel, ConfigDict, TypeAdapter

from fakes import FakePorts, read, say
from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.numerics.signal import pcm16_from_float, pcm_from_pcm16
from fullduplex.serve.gate import ServeConfig

LONG = " ".join(f"w{i}" for i in range(60))
MODELS: dict[str, type[BaseModel]] = {
    model.model_fields["type"].annotation.__args__[0]: model for model in get_args(get_args(RealtimeServerEvent)[0])
}
# The package's session model of session.created lacks what the service sends besides; its REST twin has it.
SENT_BESIDES = {"id", "object", "expires_at"}


def extras(value: Any, path: str = "") -> list[str]:
    """Fields that the package's models do not know."""
    found: list[str] = []
    if isinstance(value, BaseModel):
        found += [f"{path}.{name}" for name in (value.model_extra or {})]
        for name in type(value).model_fields:
            found += extras(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += extras(item, f"{path}[{i}]")
    return found


def check(event: dict) -> None:
    """The event is one that the package knows, with the right fields and no others."""
    model = MODELS[event["type"]]
    parsed = TypeAdapter(model, config=None).validate_python(event, strict=True)
    unknown = set(extras(parsed))
    if "session" in event:
        RealtimeSessionCreateResponse.model_validate(event["session"], strict=True)
        unknown -= {f".session.{name}" for name in SENT_BESIDES}
    assert not unknown, (event["type"], unknown)
    assert event["event_id"]


def test_the_checker_notices_what_is_wrong() -> None:
    assert MODELS["error"].model_config.get("extra") == ConfigDict(extra="allow")["extra"]
    good = {"type": "input_audio_buffer.cleared", "event_id": "e"}
    check(good)
    with pytest.raises(ValueError, match="event_id"):
        check({"type": "input_audio_buffer.cleared"})
    with pytest.raises(AssertionError):
        check({**good, "more": 1})


async def test_every_event_of_a_lively_conversation_is_valid(server) -> None:
    client = await server.connect()
    await client.send(
        "session.update",
        session={"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "alloy", "speed": 3}}},
    )
    server.ports[0].replies = {"count": LONG}
    await client.say("count")
    await client.silence(1.0)
    await client.say("no stop it")
    await client.silence(1.0)
    await client.wait("response.done", count=2)
    item = client.of("conversation.item.done")[-1]["item"]["id"]
    await client.send("conversation.item.retrieve", item_id=item)
    await client.send("conversation.item.delete", item_id=item)
    await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=10)
    await client.send("input_audio_buffer.clear")
    await client.send(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "count"}]},
    )
    await client.send("response.create", response={"metadata": {"a": "b"}})
    await client.wait("response.created", count=3)
    await asyncio.sleep(0.3)
    await client.send("output_audio_buffer.clear")
    await client.wait("output_audio_buffer.cleared")
    await client.send("session.update", session={"output_modalities": ["text"]})
    await client.wait("response.done", count=3)
    await client.send("response.create")
    await client.wait("response.output_text.done")
    await client.wait("response.done", count=4)
    for event in client.events:
        check(event)
    kinds = set(client.kinds())
    assert len(kinds) >= 26, sorted(kinds)
    statuses = [event["response"]["status"] for event in client.of("response.done")]
    assert statuses == ["cancelled", "completed", "cancelled", "completed"]
    reasons = [(event["response"]["status_details"] or {}).get("reason") for event in client.of("response.done")]
    assert reasons == ["turn_detected", None, "client_cancelled", None]
    await client.close()


class Player:
    """What an application does with the package: play in real time, stop on speech, say where it stopped."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.queue = np.zeros(0, np.float32)
        self.played = np.zeros(0, np.float32)
        self.item = ""
        self.item_samples = 0

    async def play(self) -> None:
        size = VOICE_RATE_HZ // 50
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += 0.02
            await asyncio.sleep(max(due_s - loop.time(), 0))
            chunk, self.queue = self.queue[:size], self.queue[size:]
            self.played = np.concatenate([self.played, chunk])
            self.item_samples += chunk.size

    async def listen(self, connection: Any) -> None:
        async for event in connection:
            self.events.append(event)
            if event.type == "response.output_audio.delta":
                if event.item_id != self.item:
                    self.item, self.item_samples = event.item_id, 0
                pcm = pcm_from_pcm16(base64.b64decode(event.delta))
                self.queue = np.concatenate([self.queue, pcm])
            elif event.type == "input_audio_buffer.speech_started" and self.queue.size:
                self.queue = np.zeros(0, np.float32)
                await connection.conversation.item.truncate(
                    item_id=self.item, content_index=0, audio_end_ms=self.item_samples * 1000 // VOICE_RATE_HZ
                )

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    async def wait(self, kind: str, count: int = 1) -> Any:
        async with asyncio.timeout(12):
            while True:
                found = self.of(kind)
                if len(found) >= count:
                    return found[count - 1]
                await asyncio.sleep(0.01)


async def speak(connection: Any, pcm: np.ndarray) -> None:
    size = VOICE_RATE_HZ // 50
    for i in range(0, pcm.size, size):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm16_from_float(pcm[i : i + size])).decode())
        await asyncio.sleep(0.02)


def openai_client(server: Any, key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=key, base_url=f"{server.url}/v1", websocket_base_url=f"{server.url}/v1".replace("http", "ws")
    )


def speech(text: str, silence_s: float) -> np.ndarray:
    return np.concatenate([say(text, rate_hz=VOICE_RATE_HZ), np.zeros(round(silence_s * VOICE_RATE_HZ), np.float32)])


async def test_a_conversation_with_barge_in_and_truncate(server) -> None:
    async with openai_client(server) as client, client.realtime.connect(model="fullduplex") as connection:
        player = Player()
        tasks = [asyncio.create_task(player.play()), asyncio.create_task(player.listen(connection))]
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
        )
        await player.wait("session.updated")
        server.ports[0].replies = {"count": LONG, "no stop it": "fine then"}
        await speak(connection, speech("count", 1.5))
        await speak(connection, speech("no stop it", 2.5))
        await player.wait("response.done", 2)
        for task in tasks:
            task.cancel()
    cut, whole = (event.response for event in player.of("response.done"))
    assert (cut.status, cut.status_details.reason) == ("cancelled", "turn_detected")
    assert whole.status == "completed"
    kept = cut.output[0].content[0].transcript.split()
    played = read(player.played[player.played > 0.01], rate_hz=VOICE_RATE_HZ).split()
    assert played[-2:] == ["fine", "then"]
    assert 2 <= len(kept) < 60
    assert abs(len(kept) - len(played[:-2])) <= 1  # a word may have been half played
    assert player.of("conversation.item.truncated")
    # the brain was told the same
    request = server.ports[0].prompts[-1][0]
    assert [m.text for m in request.messages if m.role == "assistant"] == [" ".join(kept)]
    for event in player.events:
        check(event.model_dump(exclude_unset=True))


async def test_a_back_channel_resumes_where_the_player_stopped(server) -> None:
    async with openai_client(server) as client, client.realtime.connect(model="fullduplex") as connection:
        player = Player()
        tasks = [asyncio.create_task(player.play()), asyncio.create_task(player.listen(connection))]
        server.ports[0].replies = {"count": " ".join(f"w{i}" for i in range(12))}
        await speak(connection, speech("count", 1.2))
        await speak(connection, speech("yeah", 3.0))
        done = await player.wait("response.done")
        for task in tasks:
            task.cancel()
    assert player.of("conversation.item.truncated")
    assert done.response.status == "completed"
    words = player.played[player.played > 0.01]
    assert read(words, rate_hz=VOICE_RATE_HZ).split() == [f"w{i}" for i in range(12)]


async def test_push_to_talk_with_sound_sent_at_once(server) -> None:
    async with openai_client(server) as client, client.realtime.connect(model="fullduplex") as connection:
        player = Player()
        tasks = [asyncio.create_task(player.play()), asyncio.create_task(player.listen(connection))]
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await player.wait("session.updated")
        audio = base64.b64encode(pcm16_from_float(say("one question ... and more", rate_hz=VOICE_RATE_HZ))).decode()
        await connection.input_audio_buffer.append(audio=audio)
        await asyncio.sleep(1.0)
        assert not player.of("response.created")
        await connection.input_audio_buffer.commit()
        await player.wait("conversation.item.input_audio_transcription.completed")
        assert not player.of("response.created")
        await connection.response.create()
        done = await player.wait("response.done")
        for task in tasks:
            task.cancel()
    transcript = player.of("conversation.item.input_audio_transcription.completed")[0].transcript
    assert transcript == "one question and more"
    assert done.response.status == "completed"


async def test_the_key_travels_in_the_header(serve_with) -> None:
    async with serve_with(ServeConfig(port=0, api_key="secret"), FakePorts) as server:
        async with openai_client(server, "secret") as client, client.realtime.connect(model="x") as connection:
            assert (await connection.recv()).type == "session.created"
        with pytest.raises(Exception, match="401"):
            async with openai_client(server, "wrong") as client, client.realtime.connect(model="x"):
                pass

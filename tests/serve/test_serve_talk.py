"""Conversations over a real socket, on fakes."""

import asyncio

from fakes import FakePorts


async def test_a_spoken_question_is_answered(server) -> None:
    client = await server.connect()
    await client.say("hello there")
    await client.silence(1.0)
    done = await client.wait("response.done")
    assert done["response"]["status"] == "completed"
    assert client.heard == "here is a long answer to you"
    assert done["response"]["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "here is a long answer to you"}
    ]
    transcript = await client.wait("conversation.item.input_audio_transcription.completed")
    assert transcript["transcript"] == "hello there"
    await client.close()

"""Conversations over a real socket, on fakes."""

import asyncio


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


async def test_two_clients_do_not_hear_each_other(server) -> None:
    one, two = await server.connect(), await server.connect()
    server.ports[0].replies = {"good morning": "first answer"}
    server.ports[1].replies = {"what time": "second answer"}
    await asyncio.gather(one.say("good morning"), two.say("what time"))
    await asyncio.gather(one.silence(0.8), two.silence(0.8))
    await asyncio.gather(one.wait("response.done"), two.wait("response.done"))
    assert (one.heard, two.heard) == ("first answer", "second answer")
    ids = [{event["event_id"] for event in client.events} for client in (one, two)]
    assert not ids[0] & ids[1]
    await one.close()
    await two.close()


async def test_text_in_text_out_without_any_sound(server) -> None:
    client = await server.connect()
    await client.send("session.update", session={"output_modalities": ["text"]})
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")
    done = await client.wait("response.done", timeout_s=5.0)
    text = "".join(event["delta"] for event in client.of("response.output_text.delta"))
    assert text == "here is a long answer to you"
    assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": text}]
    assert not client.of("response.output_audio.delta")
    await client.close()


async def test_typed_text_is_spoken_to_a_client_that_sends_no_sound(server) -> None:
    client = await server.connect()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")
    await client.send("response.create", event_id="twice")
    assert (await client.wait("error"))["error"]["code"] == "conversation_already_has_active_response"
    await client.wait("response.done", timeout_s=6.0)
    assert client.heard == "here is a long answer to you"
    await client.close()


async def test_without_answers_of_its_own_the_server_waits_for_response_create(server) -> None:
    client = await server.connect()
    detection = {"type": "server_vad", "silence_duration_ms": 200, "create_response": False}
    await client.send("session.update", session={"audio": {"input": {"turn_detection": detection}}})
    await client.wait("session.updated")
    await client.say("hello there")
    await client.silence(1.0)
    await client.wait("input_audio_buffer.committed")
    await asyncio.sleep(0.3)
    assert not client.of("response.created")
    await client.send("response.create")
    await client.wait("response.done")
    assert server.ports[0].prompts[-1][1] == "hello there"
    await client.close()


async def test_cancelling_clearing_and_refused_settings(server) -> None:
    client = await server.connect()
    server.ports[0].replies = {"count": " ".join(f"w{i}" for i in range(60))}
    await client.send("response.cancel")
    assert (await client.wait("error"))["error"]["code"] == "response_cancel_not_active"
    await client.send("input_audio_buffer.commit")
    assert (await client.wait("error", count=2))["error"]["code"] == "input_audio_buffer_commit_empty"
    await client.send(
        "session.update",
        session={"voice": "x", "tools": [{"type": "function"}], "audio": {"input": {"format": {"type": "audio/pcmu"}}}},
    )
    await client.wait("error", count=5)
    assert [e["error"]["param"] for e in client.of("error")[2:]] == [
        "session.voice",
        "session.tools",
        "session.audio.input.format",
    ]
    await client.say("count")
    await client.silence(0.8)
    await client.wait("response.output_audio.delta", count=3)
    await client.send("response.cancel")
    done = await client.wait("response.done")
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    await client.close()


async def test_the_beta_names_for_beta_clients(server) -> None:
    client = await server.connect(headers={"OpenAI-Beta": "realtime=v1"})
    await client.say("hello there")
    await client.silence(0.8)
    await client.wait("response.done")
    kinds = set(client.kinds())
    assert {"conversation.item.created", "response.audio.delta", "response.audio_transcript.done"} <= kinds
    assert not kinds & {"conversation.item.added", "conversation.item.done", "response.output_audio.delta"}
    await client.close()


async def test_a_broken_part_is_told_and_the_session_goes_on(server) -> None:
    client = await server.connect()
    server.ports[0].fail = {"brain"}
    await client.say("hello there")
    await client.silence(0.8)
    error = await client.wait("error")
    assert (error["error"]["type"], error["error"]["param"]) == ("server_error", "brain")
    await client.close()

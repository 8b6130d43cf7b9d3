"""The yardstick drives our own server over the wire: the same client that drives any other endpoint."""

import asyncio

import numpy as np
import pytest

from fakes import FakePorts, say, silence
from fullduplex.base.errors import InputError, PortError
from fullduplex.base.units import EAR_RATE_HZ
from fullduplex.evaluate.measures import audible_spans
from fullduplex.recipes.yardstick.endpoint import EndpointConfig, endpoint_system
from fullduplex.serve.gate import ServeConfig

pytest.importorskip("websockets")

LONG = " ".join(f"word{i}" for i in range(40))


async def test_an_interruption_over_the_wire(serve_with) -> None:
    """Asked, it speaks; interrupted, it falls silent well before its answer's end; then it answers again."""
    replies = {"count": LONG, "no stop it": "fine then"}
    user = np.concatenate([say("count"), silence(2.5), say("no stop it"), silence(3.0)])
    async with serve_with(ServeConfig(port=0), lambda: FakePorts(replies)) as server:
        config = EndpointConfig(url=f"{server.url.replace('http', 'ws')}/v1/realtime")
        notes: list[str] = []
        heard, machine = await asyncio.to_thread(endpoint_system(config, note=notes.append), user)
    assert heard is user
    assert machine.size == user.size
    spans = audible_spans(machine, bridge_s=0.3)
    question_end = say("count").size
    cut_start = question_end + silence(2.5).size
    cut_end = cut_start + say("no stop it").size
    assert spans
    assert spans[0][0] > question_end
    assert spans[0][0] < cut_start < spans[0][1] < cut_end + EAR_RATE_HZ  # 40 words would last until the end
    assert any(start > cut_end for start, _ in spans)
    assert not [note for note in notes if "reports" in note]


async def test_a_server_that_is_not_there_or_says_no(serve_with) -> None:
    short = silence(0.1)
    with pytest.raises(PortError, match="is the server running"):
        endpoint_system(EndpointConfig(url="ws://127.0.0.1:9/v1/realtime", open_s=2.0))(short)
    with pytest.raises(InputError, match="ws://"):
        EndpointConfig(url="http://127.0.0.1:9")
    async with serve_with(ServeConfig(port=0, api_key="secret"), FakePorts) as server:
        url = f"{server.url.replace('http', 'ws')}/v1/realtime"
        with pytest.raises(PortError, match="401"):
            await asyncio.to_thread(endpoint_system(EndpointConfig(url=url)), short)
        _, machine = await asyncio.to_thread(endpoint_system(EndpointConfig(url=url, api_key="secret")), short)
    assert machine.size == short.size


async def test_a_refused_setting_is_reported(serve_with) -> None:
    notes: list[str] = []
    async with serve_with(ServeConfig(port=0), FakePorts) as server:
        config = EndpointConfig(
            url=f"{server.url.replace('http', 'ws')}/v1/realtime", session={"type": "realtime", "colour": "red"}
        )
        await asyncio.to_thread(endpoint_system(config, note=notes.append), silence(0.5))
    assert any("colour" in note for note in notes)

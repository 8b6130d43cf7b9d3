"""The remote brain against a local server that behaves, and misbehaves."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoint import GOOD, Script, endpoint
from fullduplex.base.chat import Message, Sampling
from fullduplex.base.errors import ConfigError, InputError, PortError
from fullduplex.lm.brain import Brain
from fullduplex.lm.remote import RemoteBrain
from fullduplex.serve.tls import self_signed, tls_context

PROMPT = (Message("system", "Be brief."), Message("user", "Hi"))


@pytest.fixture
def script() -> Iterator[Script]:
    with endpoint() as state:
        yield state


def test_streams_the_reply(script: Script) -> None:
    brain: Brain = RemoteBrain(script.address, "small", "secret")
    sampling = Sampling(max_tokens=7, temperature=0.5, stop=("\n",))
    assert list(brain.stream(PROMPT, sampling, key="a")) == ["Héllo", " you"]
    path, authorization, body = script.requests[0]
    assert (path, authorization) == ("/v1/chat/completions", "Bearer secret")
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stop"]) == ("small", 7, 0.5, ["\n"])
    assert body["stream"] is True


def test_has_nothing_to_read_ahead_and_no_opinion(script: Script) -> None:
    brain = RemoteBrain(script.address, "small")
    assert brain.prefill(PROMPT, key="a").new_tokens == 0
    assert brain.end_probability(PROMPT, key="a") is None
    assert script.requests == []


def test_cancelling_ends_it(script: Script) -> None:
    script.wait = threading.Event()
    script.parts = GOOD[:4]
    heard: list[str] = []
    stream = RemoteBrain(script.address, "small").stream(PROMPT, Sampling(), key="a", cancelled=lambda: bool(heard))
    for piece in stream:
        heard.append(piece)
    assert heard == ["Héllo"]


@pytest.mark.parametrize("late", [False, True])
def test_cancelling_does_not_wait_for_a_slow_server(script: Script, late: bool) -> None:
    script.wait, script.late, script.parts = threading.Event(), late, []
    began = time.monotonic()
    stream = RemoteBrain(script.address, "small").stream(
        PROMPT, Sampling(), key="a", cancelled=lambda: time.monotonic() > began + 0.1
    )
    assert list(stream) == []
    assert script.requests  # it was asked
    assert time.monotonic() - began < 10  # the server says nothing for 20 s


def test_over_https_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    pem = self_signed(tmp_path, ["127.0.0.1"])
    with endpoint(tls_context(pem)) as script:
        with pytest.raises(PortError, match="CERTIFICATE_VERIFY_FAILED"):
            RemoteBrain(script.address, "small").models()
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        brain = RemoteBrain(script.address, "small")
        assert list(brain.stream(PROMPT, Sampling(), key="a")) == ["Héllo", " you"]
        for late in (False, True):
            script.wait, script.late, script.parts = threading.Event(), late, []
            began = time.monotonic()
            stop = began + 0.1
            assert (
                list(brain.stream(PROMPT, Sampling(), key="a", cancelled=lambda at=stop: time.monotonic() > at)) == []
            )
            assert time.monotonic() - began < 10
            script.wait.set()


def test_a_reply_that_is_given_up_leaves_no_thread(script: Script) -> None:
    script.wait, script.parts = threading.Event(), GOOD[:3]
    stream = RemoteBrain(script.address, "small").stream(PROMPT, Sampling(), key="a")
    assert next(stream) == "Héllo"
    stream.close()
    assert not any(thread.name == "hang-up" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("status", "parts", "reason"),
    [
        (401, ['{"error": {"message": "bad key"}}'], "401 Unauthorized: bad key; check the API key"),
        (404, ["nothing here"], "404 Not Found: nothing here; check the address"),
        (500, [""], "500 .*no explanation"),
        (200, GOOD[:4], "broke off"),
        (200, [], "broke off"),
        (200, ["data: {not json\n\n"], "not a chat completion"),
        (200, ['data: {"choices": 5}\n\n'], "not a chat completion"),
        (200, ['data: {"error": {"message": "out of memory"}}\n\n'], "out of memory"),
        (200, ["x" * (1 << 20) + "xx\n"], "no event stream"),
    ],
)
def test_a_server_that_fails_is_a_typed_error(script: Script, status: int, parts: list[str], reason: str) -> None:
    script.status, script.parts = status, parts
    with pytest.raises(PortError, match=reason):
        list(RemoteBrain(script.address, "small").stream(PROMPT, Sampling(), key="a"))


def test_a_silent_server_times_out(script: Script) -> None:
    script.wait = threading.Event()
    script.parts = GOOD[:3]
    stream = RemoteBrain(script.address, "small", timeout_s=0.2).stream(PROMPT, Sampling(), key="a")
    assert next(stream) == "Héllo"
    with pytest.raises(PortError, match=r"sent nothing for 0.2 s"):
        next(stream)


def test_no_server_at_all() -> None:
    with pytest.raises(PortError, match="is it running"):
        list(RemoteBrain("http://127.0.0.1:9/v1", "small").stream(PROMPT, Sampling(), key="a"))


@pytest.mark.parametrize(
    ("address", "model", "api_key", "timeout_s"),
    [
        ("ftp://x/v1", "m", "", 1.0),
        ("no address", "m", "", 1.0),
        ("http://127.0.0.1:99999/v1", "m", "", 1.0),
        ("http://127.0.0.1:abc/v1", "m", "", 1.0),
        ("http://[::1/v1", "m", "", 1.0),
        ("http://exa mple/v1", "m", "", 1.0),
        ("http://a..b/v1", "m", "", 1.0),
        (f"http://{'a' * 64}/v1", "m", "", 1.0),
        ("http://x/v1\0", "m", "", 1.0),
        ("http://x/v1\n", "m", "", 1.0),
        ("http://x/\u00e9/v1", "m", "", 1.0),
        ("http://x/v1", "m", "a\nb", 1.0),
        ("http://x/v1", "m", "a\0b", 1.0),
        ("http://x/v1", "m", "", 0.0),
        ("http://x/v1", "m", "", float("nan")),
    ],
)
def test_bad_settings_are_refused(address: str, model: str, api_key: str, timeout_s: float) -> None:
    with pytest.raises(ConfigError, match=r"must be"):
        RemoteBrain(address, model, api_key, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "address",
    ["http://alice:hunter2@x/v1", "http://alice:hunter2@/v1", "https://hunter2@x:1/v1", "HTTP://alice:hunter2@x"],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="--brain-api-key") as caught:
        RemoteBrain(address, "m")
    assert "hunter2" not in str(caught.value) and "alice" not in str(caught.value)


def test_an_empty_prompt_and_no_model_are_refused() -> None:
    with pytest.raises(InputError):
        RemoteBrain("http://x/v1", "m").stream((), Sampling(), key="a")
    with pytest.raises(ConfigError, match="model"):
        RemoteBrain("http://x/v1", "").stream(PROMPT, Sampling(), key="a")


def test_the_server_is_asked_for_its_models(script: Script) -> None:
    script.models = '{"object": "list", "data": [{"id": "llama3.2:1b"}, {"id": "qwen"}]}'
    assert RemoteBrain(script.address, "", "secret").models() == ("llama3.2:1b", "qwen")
    assert script.requests == [("/v1/models", "Bearer secret", None)]


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"data": 3}', '{"data": [3]}', "[" * 900_000, 404, 405, 501])
def test_a_server_need_not_tell_its_models(script: Script, answer: str | int) -> None:
    script.models = answer
    assert RemoteBrain(script.address, "m").models() == ()


def test_a_server_that_is_not_there_late_or_closed_to_us_is_a_typed_error(script: Script) -> None:
    with pytest.raises(PortError, match="is it running"):
        RemoteBrain("http://127.0.0.1:9/v1", "m").models()
    script.models = 401
    with pytest.raises(PortError, match="check the API key"):
        RemoteBrain(script.address, "m").models()
    script.models, script.wait = "{}", threading.Event()
    with pytest.raises(PortError, match=r"sent nothing for 0.2 s"):
        RemoteBrain(script.address, "m").models(timeout_s=0.2)


def test_a_server_that_does_not_stream_is_understood(script: Script) -> None:
    script.kind = "application/json; charset=utf-8"
    script.parts = ['{"object": "chat.completion", "choices": [{"message": {"content": " Hey, thanks!"}}]}']
    assert list(RemoteBrain(script.address, "m").stream(PROMPT, Sampling(), key="a")) == [" Hey, thanks!"]


@pytest.mark.parametrize(
    "answer", ["", "[]", "[" * 900_000, "{}", '{"choices": []}', '{"choices": [{"message": 3}]}', "{" * 2_000_000]
)
def test_a_whole_answer_that_is_none_is_refused(script: Script, answer: str) -> None:
    script.kind, script.parts = "application/json", [answer]
    with pytest.raises(PortError, match=r"no chat completion|more than"):
        list(RemoteBrain(script.address, "m").stream(PROMPT, Sampling(), key="a"))


def test_an_error_in_a_whole_answer_is_passed_on(script: Script) -> None:
    script.kind, script.parts = "application/json", ['{"error": {"message": "no such model"}}']
    with pytest.raises(PortError, match="no such model"):
        list(RemoteBrain(script.address, "m").stream(PROMPT, Sampling(), key="a"))

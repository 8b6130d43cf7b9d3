"""The page in a real browser: a WAV file is the microphone, the fakes are the models."""

import asyncio
import importlib.util
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from fakes import FakePorts, say
from fullduplex.base.units import VOICE_RATE_HZ
from fullduplex.serve.gate import ServeConfig
from fullduplex.serve.tls import self_signed, tls_context

_FOLDER = Path(__file__).parent


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(f"e2e_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


browser = _load(_FOLDER / "browser.py")
serving = _load(_FOLDER.parent / "serve" / "conftest.py").serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find_browser() is None, reason="no Chromium is installed"),
    pytest.mark.xdist_group("browser"),
]
LONG = " ".join(f"w{i}" for i in range(60))


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    """One second of silence, a question, a back-channel, an interruption."""

    def quiet(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * VOICE_RATE_HZ), np.float32)

    said = [quiet(1.0)]
    for text, pause_s in (("count", 3.0), ("yeah", 2.5), ("no stop it", 30.0)):
        said += [say(text, rate_hz=VOICE_RATE_HZ), quiet(pause_s)]
    path = tmp_path / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(VOICE_RATE_HZ)
        file.writeframes((np.concatenate(said) * 32767).astype("<i2").tobytes())
    return path


def _ports() -> FakePorts:
    return FakePorts({"count": LONG, "no stop it": "fine then"})


async def test_a_conversation_in_the_browser(microphone: Path, tmp_path: Path) -> None:
    async with (
        serving(ServeConfig(port=0), _ports) as server,
        browser.browsing(tmp_path, microphone=microphone) as page,
    ):
        await page.size(1200, 800)
        await page.open(server.url)
        await page.run("document.getElementById('start').click()")
        await page.until("fullduplexLog.filter((e) => e.type === 'response.done').length === 2", 30)
        log = await page.run("fullduplexLog")
        texts = await page.run("[...document.querySelectorAll('#transcript li')].map((li) => li.textContent)")
        layout = await page.run("[document.documentElement.scrollWidth, innerWidth]")
        assert not page.errors
    kinds = [entry["type"] for entry in log]
    # the back-channel and the interruption: silence within one render quantum each time
    flushes = [entry for entry in log if entry["type"] == "flushed"]
    assert [entry["epoch"] for entry in flushes] == [1, 2]
    assert all(0 <= entry["quanta"] <= 1 for entry in flushes)
    assert flushes[0]["played"] > 0
    assert kinds.count("resumed") == 1
    # what was played never runs backwards within a reply and goes on where the flush left it
    reply = flushes[0]["item"]
    played = [e["played"] for e in log if e["type"] in ("played", "flushed") and e["item"] == reply]
    assert played == sorted(played)
    again = next(e for e in log if e["type"] == "audio" and e["epoch"] == 1)
    assert again["start"] == flushes[0]["played"]
    assert all(e["stale"] == 0 for e in log if e["type"] == "played")
    dones = [e["event"]["response"] for e in log if e["type"] == "response.done"]
    assert [done["status"] for done in dones] == ["cancelled", "completed"]
    kept = dones[0]["output"][0]["content"][0]["transcript"].split()
    spoken_s = flushes[1]["played"] / VOICE_RATE_HZ
    assert abs(len(kept) - spoken_s / 0.192) <= 2  # a word of the fakes lasts six frames
    assert "count" in texts
    assert any(text.startswith("no stop it") for text in texts)
    assert any(text.startswith("fine then") for text in texts)
    assert layout[0] <= layout[1]


async def test_typing_stopping_and_a_narrow_screen_without_microphone(tmp_path: Path) -> None:
    async with (
        serving(ServeConfig(port=0), _ports) as server,
        browser.browsing(tmp_path, microphone=None, allow=False) as page,
    ):
        await page.size(360, 780, dark=False)
        await page.open(server.url)
        assert await page.run("document.documentElement.scrollWidth") <= 360
        await page.run(
            "document.getElementById('typed').value = 'count';document.getElementById('composer').requestSubmit()"
        )
        await page.until("document.body.dataset.floor === 'speaking'")
        banner = await page.run("document.getElementById('banner').textContent")
        assert "microphone" in banner
        await page.until("fullduplexLog.some((e) => e.type === 'played' && e.played > 12000)")
        await page.run("document.activeElement.blur()")
        await page.key("Escape", "Escape")
        await page.until("fullduplexLog.some((e) => e.type === 'response.done')")
        await page.until("document.body.dataset.floor === 'idle'")
        flush = await page.run("fullduplexLog.find((e) => e.type === 'flushed')")
        assert flush["quanta"] <= 1
        assert flush["played"] >= 12000
        heard = await page.run("document.querySelector('.machine.cut span').textContent")
        assert LONG.startswith(heard)
        assert heard
        assert not page.errors


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
async def test_devices_that_insist_on_their_own_rate(microphone: Path, tmp_path: Path, rate_hz: int) -> None:
    insist = (
        "const Native = AudioContext; globalThis.AudioContext = class extends Native { constructor(options) {"
        f" if (options.sampleRate) throw new Error('no'); super({{...options, sampleRate: {rate_hz}}}); }} }};"
    )
    ports = FakePorts(default="good morning to you")
    async with (
        serving(ServeConfig(port=0), lambda: ports) as server,
        browser.browsing(tmp_path, microphone=microphone) as page,
    ):
        await page.command("Page.addScriptToEvaluateOnNewDocument", source=insist)
        await page.open(server.url)
        await page.run("document.getElementById('start').click()")
        await page.until("fullduplexLog.some((e) => e.type === 'response.done')")
        assert f"{rate_hz} Hz" in await page.run("document.getElementById('audio-text').textContent")
        done = await page.run("fullduplexLog.find((e) => e.type === 'response.done').event.response")
        item = done["output"][0]["id"]
        log = await page.run(f"fullduplexLog.filter((e) => e.type === 'audio' && e.item === '{item}')")
        sent = max(e["start"] + e["samples"] for e in log)
        # played to the last sample; the page's own report may come a moment after the one that ended the reply
        await page.until(
            f"fullduplexLog.some((e) => e.type === 'played' && e.item === '{item}' && e.played === {sent})"
        )
    assert done["status"] == "completed"
    assert len(ports.prompts[0][1].split()) == 1  # one word was said and one was understood


async def test_clear_words_when_the_server_is_full_or_gone(tmp_path: Path) -> None:
    async with browser.browsing(tmp_path, microphone=None) as page:
        async with serving(ServeConfig(port=0, max_sessions=1), _ports) as server:
            other = await server.connect()
            await page.size(1200, 800)
            await page.open(server.url)
            await page.run("document.getElementById('start').click()")
            await page.until("document.getElementById('status').textContent === 'server full'")
            assert "taken" in await page.run("document.getElementById('banner').textContent")
            await other.close()
            await asyncio.sleep(0.2)
            await page.run("document.getElementById('start').click()")
            await page.until("document.getElementById('status').textContent === 'live'")
            await page.run("document.getElementById('start').focus(); document.activeElement.blur()")
            await page.key(" ", "Space")
            assert await page.run("document.getElementById('mute').getAttribute('aria-pressed')") == "true"
        await page.until("document.getElementById('banner').textContent.includes('shutting down')")
        await page.until("document.getElementById('status').textContent === 'disconnected'")
        await page.run("document.getElementById('start').click()")
        await page.until("document.getElementById('status').textContent === 'no server'")


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_phone_has_a_microphone_over_https_alone(microphone: Path, tmp_path: Path, encrypted: bool) -> None:
    pytest.importorskip("cryptography")
    tls = tls_context(self_signed(tmp_path / "tls", ["phone.test"])) if encrypted else None
    elsewhere = ("--host-resolver-rules=MAP phone.test 127.0.0.1", "--ignore-certificate-errors")
    async with (
        serving(ServeConfig(host="0.0.0.0", port=0, api_key="sesame"), _ports, tls=tls) as server,
        browser.browsing(tmp_path, microphone=microphone, extra=elsewhere) as page,
    ):
        await page.size(360, 780)
        await page.open(server.url.replace("127.0.0.1", "phone.test") + "/#key=sesame")
        assert await page.run("isSecureContext") is encrypted
        await page.until("!document.getElementById('key-row').hidden")
        assert "sesame" not in await page.run("location.href")
        await page.run("document.getElementById('start').click()")
        if encrypted:
            await page.until("fullduplexLog.some((e) => e.type === 'played' && e.played > 12000)")
        else:
            await page.until("document.getElementById('banner').textContent.includes('https')")
        assert await page.run("document.documentElement.scrollWidth") <= 360
        assert not page.errors


def test_a_browser_is_looked_for_by_name() -> None:
    found = browser.find_browser()
    assert found is not None
    assert shutil.which(found)

"""A headless Chromium with sound devices: it plays into a room that we made, and its microphone hears what we give it.

Chromium's canceller gets its reference from a real output stream. Without a sound device there is none (nothing is taken
out), so a PulseAudio of our own offers a null sink as loudspeaker and the monitor of another as microphone.

Axes: N samples.
"""

import asyncio
import importlib.util
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
from aiohttp import web
from echo.battery import FAR_S, MARKER_S, Session
from echo.figures import delay_samples, shifted
from numpy.typing import NDArray

from fullduplex.base.units import EAR_RATE_HZ, samples_from_s
from fullduplex.numerics.resample import resample
from fullduplex.numerics.signal import pcm_from_pcm16

__all__ = ["Take", "missing", "record"]

Pcm = NDArray[np.float32]

HERE = Path(__file__).parent
_DEVICE_HZ = 48_000
_WARM_S = 12.0  # the buffers between browser and sound server find their sizes
_SCRIPT = """
load-module module-native-protocol-unix socket={socket} auth-anonymous=1
load-module module-null-sink sink_name=speaker rate=48000 channels=2
load-module module-null-sink sink_name=room rate=48000 channels=1
load-module module-remap-source master=room.monitor source_name=microphone
set-default-sink speaker
set-default-source microphone
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Take:
    """Both microphones at 16 kHz, on the session's time, and how the recording went."""

    raw: Pcm
    cancelled: Pcm
    notes: dict[str, Any]


def _driver() -> ModuleType:
    path = HERE.parents[1] / "tests" / "e2e" / "browser.py"
    spec = importlib.util.spec_from_file_location("echo_browser", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing() -> list[str]:
    """What has to be installed before anything can be measured here."""
    names = [] if _driver().find_browser() else ["Chromium (Debian: chromium)"]
    programs = {"pulseaudio": "pulseaudio", "pacat": "pulseaudio-utils"}
    return names + [
        f"{program} (Debian: {package})" for program, package in programs.items() if not shutil.which(program)
    ]


@asynccontextmanager
async def _sound_server(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A PulseAudio of our own; the environment in which programs find it."""
    socket, script = folder / "native", folder / "devices.pa"
    script.write_text(_SCRIPT.format(socket=socket))
    (folder / "daemon.conf").write_text("default-sample-rate = 48000\nalternate-sample-rate = 48000\n")
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_CONFIG_PATH": str(folder),
        "PULSE_SERVER": f"unix:{socket}",
    }
    process = await asyncio.create_subprocess_exec(
        *("pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while True:
                if socket.exists():
                    break
                await asyncio.sleep(0.05)
        yield environment
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _site(far: Path, takes: dict[str, bytes]) -> AsyncIterator[str]:
    """The page with its sound, and where it sends what it heard."""

    async def receive(request: web.Request) -> web.Response:
        takes[request.match_info["name"]] = await request.read()
        return web.Response(text="kept")

    def file(path: Path) -> Any:
        async def answer(request: web.Request) -> web.FileResponse:
            return web.FileResponse(path)

        return answer

    app = web.Application(client_max_size=1 << 28)
    app.router.add_get("/", file(HERE / "page.html"))
    app.router.add_get("/recorder.js", file(HERE / "recorder.js"))
    app.router.add_get("/far.wav", file(far))
    app.router.add_post("/take/{name}", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def record(session: Session, folder: Path, *, play: bool = True) -> Take:
    """Play a session to the browser, and through it, in real time.

    Args:
        session: what to play.
        folder: an empty one for everything that is needed meanwhile.
        play: False is the control: the microphone hears an echo of what the browser never plays.
    """
    far, mic = folder / "far.wav", folder / "mic.wav"
    first = samples_from_s(FAR_S, EAR_RATE_HZ)
    for path, pcm in ((far, session.far[first:]), (mic, session.mic)):
        soundfile.write(path, np.clip(resample(pcm, EAR_RATE_HZ, _DEVICE_HZ), -1, 1), _DEVICE_HZ, subtype="PCM_16")
    takes: dict[str, bytes] = {}
    driver = _driver()
    async with _sound_server(folder) as environment, _site(far, takes) as url:
        os.environ.update({name: environment[name] for name in ("XDG_RUNTIME_DIR", "PULSE_SERVER")})
        async with driver.browsing(folder, microphone=None, fake=False) as page:
            await page.open(url)
            await page.until("globalThis.ready === true")
            order = json.dumps({"play": play, "after_s": FAR_S - MARKER_S})
            cancels = await page.run(f"start({order})")
            await asyncio.sleep(_WARM_S)
            player = await asyncio.create_subprocess_exec(
                "pacat", "--playback", "--device=room", "--file-format=wav", str(mic), env=environment
            )
            await player.wait()
            await asyncio.sleep(1.0)
            notes = {"echo_cancellation": cancels, **await page.run("finish()"), "errors": page.errors}
    return _take(session, takes, notes)


def _take(session: Session, takes: dict[str, bytes], notes: dict[str, Any]) -> Take:
    """On the session's time: the browser's own delay is taken out, by the marker, for each microphone."""
    if notes["marker"] < 0 or notes["late"] or notes["holes"] or notes["echo_cancellation"] != [False, True]:
        raise RuntimeError(f"the browser did not record as asked: {notes}; nothing else may run meanwhile, try again")
    marked = slice(*(samples_from_s(s, _DEVICE_HZ) for s in (MARKER_S - 0.1, MARKER_S + 0.2)))
    sent = resample(session.mic[: samples_from_s(FAR_S, EAR_RATE_HZ)], EAR_RATE_HZ, _DEVICE_HZ)[marked]
    expected = notes["marker"] - notes["first"] - samples_from_s(MARKER_S, _DEVICE_HZ)
    length = session.mic.size * _DEVICE_HZ // EAR_RATE_HZ
    tracks: dict[str, Pcm] = {}
    for name in ("raw", "cancelled"):
        pcm = pcm_from_pcm16(takes[name])
        delay = delay_samples(shifted(pcm, expected, length)[marked], sent, most=samples_from_s(0.07, _DEVICE_HZ))
        notes[f"{name}_delay_ms"] = round(1000 * delay / _DEVICE_HZ, 2)
        tracks[name] = resample(shifted(pcm, expected + delay, length), _DEVICE_HZ, EAR_RATE_HZ)
    return Take(**tracks, notes=notes)

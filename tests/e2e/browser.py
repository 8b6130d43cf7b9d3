"""A headless Chromium, driven over its DevTools socket."""

import asyncio
import base64
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _first_line(path: Path) -> str:
    """Of a file that may not exist yet, or not be complete."""
    text = path.read_text() if path.exists() else ""
    return text.split("\n")[0] if "\n" in text else ""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[dict]] = {}
        self._count = 0
        self.errors: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for raw in self._socket:
            message = json.loads(raw.data)
            if "id" in message:
                self._waiting.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", details["text"]))
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])

    async def command(self, method: str, **params: Any) -> dict:
        self._count += 1
        future = self._waiting[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._count, "method": method, "params": params})
        message = await asyncio.wait_for(future, 20)
        assert "error" not in message, message
        return message["result"]

    async def run(self, script: str) -> Any:
        result = await self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str, timeout_s: float = 20.0) -> Any:
        """The first true value of an expression."""
        async with asyncio.timeout(timeout_s):
            while True:
                value = await self.run(script)
                if value:
                    return value
                await asyncio.sleep(0.05)

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.command(f"{domain}.enable")
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def size(self, width: int, height: int, *, dark: bool = True) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        result = await self.command("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(result["data"]))

    async def key(self, key: str, code: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.command("Input.dispatchKeyEvent", type=kind, key=key, code=code, text=key if key == " " else "")

    async def close(self) -> None:
        await self._socket.close()
        await self._reader


@asynccontextmanager
async def browsing(
    folder: Path, *, microphone: Path | None, allow: bool = True, fake: bool = True, extra: tuple[str, ...] = ()
) -> AsyncIterator[Page]:
    """A browser whose microphone plays a WAV file in a loop (or hears its test tone, or is denied).

    `fake` False: with the sound devices of the machine.
    """
    path = find_browser()
    assert path is not None
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--autoplay-policy=no-user-gesture-required",
        *(["--use-fake-device-for-media-stream"] if fake else []),
        "--use-fake-ui-for-media-stream" if allow else "--deny-permission-prompts",
        f"--user-data-dir={folder / 'profile'}",
        "--remote-debugging-port=0",
        *extra,
    ]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}")
    process = await asyncio.create_subprocess_exec(
        path, *flags, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    port_file = folder / "profile" / "DevToolsActivePort"
    try:
        async with asyncio.timeout(30):
            while True:
                port = _first_line(port_file)
                if port:
                    break
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as reply:
                target = next(t for t in await reply.json() if t["type"] == "page")
            socket = await http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
            page = Page(socket)
            try:
                yield page
            finally:
                await page.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()

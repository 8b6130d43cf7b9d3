"""A store in a temporary folder, a catalogue of small assets, wheels and tarballs made on the spot, and a local hub."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fullduplex.assets.catalogue import Catalogue, parse_catalogue

CONTENT = b"the bytes of a small model " * 4000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, name: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel pip accepts, with `members` inside."""
    stem = f"{name.replace('-', '_')}-{version}"
    target = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, data in members.items():
            wheel.writestr(member, data)
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return target


def write_tarball(folder: Path, name: str, version: str, members: dict[str, bytes]) -> Path:
    target = folder / f"{name}-{version}.tgz"
    with tarfile.open(target, "w:gz") as tarball:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tarball.addfile(info, io.BytesIO(data))
    return target


def catalogue_of(sources: str, content: bytes = CONTENT, name: str = "tiny", file: str = "model.bin") -> Catalogue:
    """A catalogue of one asset with one file; `sources` is the TOML list."""
    return parse_catalogue(
        f"""
        [[asset]]
        name = "{name}"
        kind = "brain"
        title = "A tiny model"
        licence = "MIT"
        notes = "made by a test"
        default = true
        [[asset.file]]
        name = "{file}"
        size_bytes = {len(content)}
        sha256 = "{sha256(content)}"
        sources = {sources}
        """
    )


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store; the hub is switched off until a test asks for one, and pip looks at no index."""
    monkeypatch.setenv("FULLDUPLEX_ASSETS", str(tmp_path / "store"))
    monkeypatch.delenv("FULLDUPLEX_MIRROR", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "store"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip is set to use."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@dataclass
class Hub:
    """What the local hub serves and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after_bytes: int | None = None
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)


def _handler(hub: Hub) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            hub.requests.append((self.path, wanted))
            data = hub.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
            body = data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: hub.cut_after_bytes] if hub.cut_after_bytes is not None else body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield state
    server.shutdown()
    thread.join()
    server.server_close()

"""Files of a model hub over HTTP: resumed where they stopped, hashed before they count.

The hub's address is `HF_ENDPOINT`, else the public hub's; a file's URL is ENDPOINT/OWNER/NAME/resolve/REVISION/PATH.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from fullduplex.assets.catalogue import AssetFile, HubPart
from fullduplex.assets.progress import Progress, Report
from fullduplex.base.errors import AssetError

__all__ = ["TIMEOUT_S", "HubUnreachable", "download", "hub_url"]

TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 20


class HubUnreachable(AssetError):
    """No connection to the hub at all, so there is no point in asking it for other files."""


def hub_url(part: HubPart) -> str:
    """The address of a file of the hub."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    path = urllib.parse.quote(part.path)
    return f"{endpoint}/{part.repository}/resolve/{urllib.parse.quote(part.revision)}/{path}"


def download(part: HubPart, file: AssetFile, partial: Path, report: Report, timeout_s: float = TIMEOUT_S) -> None:
    """Download one file into `partial`, continuing what is already there, and check its size and SHA-256.

    A broken connection leaves `partial` for the next call. Bytes that hash wrong are deleted. Raises `AssetError`,
    `HubUnreachable` when no connection could be made.
    """
    url = hub_url(part)
    if not url.startswith(("http://", "https://")):
        raise AssetError(f"the hub's address must be http or https: {url}")
    have = partial.stat().st_size if partial.exists() else 0
    if have > file.size_bytes:
        partial.unlink()
        have = 0
    if have < file.size_bytes:
        try:
            _receive(url, file, partial, report, timeout_s)
        except urllib.error.HTTPError as error:
            raise AssetError(f"{url} answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise HubUnreachable(f"{url}: {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            got = partial.stat().st_size if partial.exists() else 0
            raise AssetError(f"{url}: broken off after {got} of {file.size_bytes} bytes ({error})") from None
    _check(url, file, partial)


def _receive(url: str, file: AssetFile, partial: Path, report: Report, timeout_s: float) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT and _starts_at(response, have)
        start = have if resumed else 0
        _check_announced(url, file, start, response.headers.get("Content-Length"))
        with partial.open("ab" if resumed else "wb") as target:
            done = start
            while chunk := response.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > file.size_bytes:
                    break
                target.write(chunk)
                report(Progress(stage="download", what=file.name, done_bytes=done, total_bytes=file.size_bytes))


def _starts_at(response: http.client.HTTPResponse, offset: int) -> bool:
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")


def _check_announced(url: str, file: AssetFile, start: int, length: str | None) -> None:
    """Refuse a file of another size before a byte of it is downloaded."""
    if length is not None and length.isdigit() and start + int(length) != file.size_bytes:
        raise AssetError(f"{url}: the file there has {start + int(length)} bytes, expected {file.size_bytes}")


def _check(url: str, file: AssetFile, partial: Path) -> None:
    size_bytes = partial.stat().st_size
    if size_bytes < file.size_bytes:
        raise AssetError(f"{url}: broken off after {size_bytes} of {file.size_bytes} bytes; run again to continue")
    with partial.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        partial.unlink()
        raise AssetError(f"{url}: SHA-256 is {digest}, expected {file.sha256}; the bytes were dropped")

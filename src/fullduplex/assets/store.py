"""Where assets live on disk, and how the rest of the package finds them. Nothing here downloads.

The store is one folder per asset under `FULLDUPLEX_ASSETS`, else `~/.cache/fullduplex/assets`; the variable is read at
each call. An asset's folder appears by one rename after every byte was checked, so a folder that is there is whole
unless someone changed it later; `find` looks at names and sizes, `verify` reads and hashes everything.
"""

import hashlib
import os
from pathlib import Path

from fullduplex.assets.catalogue import Asset, Catalogue, builtin_catalogue
from fullduplex.base.errors import AssetError

__all__ = ["file_sha256", "find", "is_complete", "path", "store_root", "verify"]


def store_root() -> Path:
    """The folder of the store, which may not exist yet."""
    configured = os.environ.get("FULLDUPLEX_ASSETS")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "fullduplex" / "assets"


def is_complete(folder: Path, asset: Asset) -> bool:
    """Whether every file of `asset` is in `folder` with its right size."""
    for file in asset.files:
        try:
            if (folder / file.name).stat().st_size != file.size_bytes:
                return False
        except OSError:
            return False
    return True


def find(name: str, catalogue: Catalogue | None = None) -> Path | None:
    """The folder of an installed asset, or None when it is not installed whole.

    Raises `AssetError` when the catalogue has no such asset.
    """
    asset = (catalogue or builtin_catalogue()).asset(name)
    folder = store_root() / asset.name
    return folder if is_complete(folder, asset) else None


def path(name: str, file: str | None = None, catalogue: Catalogue | None = None) -> Path:
    """The folder of an installed asset, or one `file` in it.

    Raises `AssetError` that says what to run when the asset is not installed, or names the files it has.
    """
    asset = (catalogue or builtin_catalogue()).asset(name)
    if file is not None and file not in {known.name for known in asset.files}:
        names = ", ".join(known.name for known in asset.files)
        raise AssetError(f"asset {name} has no file {file!r}; it has: {names}")
    folder = find(name, catalogue)
    if folder is None:
        raise AssetError(
            f"asset {name} ({asset.title}) is not installed in {store_root()}; run: fullduplex assets get {name}"
        )
    return folder if file is None else folder / file


def verify(name: str, catalogue: Catalogue | None = None) -> tuple[str, ...]:
    """Read every file of an asset and compare it with the catalogue; returns what is wrong, empty when all is well."""
    asset = (catalogue or builtin_catalogue()).asset(name)
    folder = store_root() / asset.name
    problems: list[str] = []
    for file in asset.files:
        target = folder / file.name
        try:
            size_bytes = target.stat().st_size
            digest = file_sha256(target) if size_bytes == file.size_bytes else ""
        except OSError as error:
            problems.append(f"{target}: {error.strerror or error}")
            continue
        if size_bytes != file.size_bytes:
            problems.append(f"{target}: {size_bytes} bytes, expected {file.size_bytes}")
        elif digest != file.sha256:
            problems.append(f"{target}: SHA-256 is {digest}, expected {file.sha256}")
    return tuple(problems)


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

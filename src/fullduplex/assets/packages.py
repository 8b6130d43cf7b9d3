"""Packages of a registry as mere archives: fetched by the registry's own client, opened, one data member taken out.

pip and npm are asked so that the index the user configured is the one used. Nothing is installed, built, imported or
run: wheels only (`--only-binary`), no dependencies, no npm scripts (`npm pack` of a registry package runs none).
"""

import fnmatch
import hashlib
import importlib.util
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from fullduplex.assets.catalogue import AssetFile, Package, PackageInfo, PackagePart
from fullduplex.assets.progress import Progress, Report
from fullduplex.base.errors import AssetError

__all__ = ["archive_name_matches", "assemble", "download_command", "fetch_package"]

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.25


def download_command(package: Package, info: PackageInfo, folder: Path) -> list[str]:
    """The client's command that puts `package` into `folder`. Raises `AssetError` when there is no client."""
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise AssetError(f"{package} needs npm, which is not installed")
        return [npm, "pack", package.requirement, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    if importlib.util.find_spec("pip") is None:
        raise AssetError(f"{package} needs pip, which {sys.executable} does not have; run: python -m ensurepip")
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--no-cache-dir", "--only-binary=:all:", "--progress-bar=off", "-d", str(folder), package.requirement]
    return command if info.platform is None else [*command, "--platform", info.platform]


def fetch_package(package: Package, info: PackageInfo, folder: Path, report: Report) -> Path:
    """Download a package's archive into `folder` and return its path. Raises `AssetError` with the client's words."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as name:
        workspace = Path(name)
        _run(download_command(package, info, workspace), package, info, workspace, report)
        archives = [entry for entry in workspace.iterdir() if entry.suffix in {".whl", ".tgz"}]
        if len(archives) != 1:
            found = ", ".join(sorted(entry.name for entry in workspace.iterdir())) or "nothing"
            raise AssetError(f"{package}: expected one archive, the download left {found}")
        target = folder / archives[0].name
        archives[0].replace(target)
        return target


def _run(command: list[str], package: Package, info: PackageInfo, workspace: Path, report: Report) -> None:
    """Run the client; its temporary files go to `workspace`, where their growth is the progress."""
    environment = {**os.environ, "TMPDIR": str(workspace), "TEMP": str(workspace)}
    with tempfile.TemporaryFile(dir=workspace) as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while True:
                try:
                    status = process.wait(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    done = min(_folder_bytes(workspace), info.size_bytes or sys.maxsize)
                    what = package.requirement
                    report(Progress(stage="download", what=what, done_bytes=done, total_bytes=info.size_bytes))
        except BaseException:
            process.kill()
            process.wait()
            raise
        if status != 0:
            output.seek(0)
            words = output.read().decode("utf-8", "replace").strip().splitlines()
            raise AssetError(f"{package}: {command[0]} failed: {' / '.join(words[-2:]) or f'status {status}'}")


def _folder_bytes(folder: Path) -> int:
    total = 0
    for entry in folder.rglob("*"):
        try:
            total += entry.stat().st_size if entry.is_file() else 0
        except OSError:  # the client renamed or removed it meanwhile
            continue
    return total


def archive_name_matches(package: Package, file_name: str) -> bool:
    """Whether a file in a folder is an archive of `package`, by the registries' naming rules."""
    if package.registry == "npm":
        return file_name == f"{package.name.lstrip('@').replace('/', '-')}-{package.version}.tgz"
    pieces = file_name.split("-")
    return (
        file_name.endswith(".whl")
        and len(pieces) >= 5
        and pieces[0].replace("_", "-").lower() == package.name.replace("_", "-").lower()
        and pieces[1] == package.version
    )


def assemble(parts: list[tuple[Path, PackagePart]], file: AssetFile, target: Path, report: Report) -> None:
    """Join the members of `parts` (archive, part) into `target` and check size and SHA-256.

    Never writes more than the file's size, whatever an archive claims. Raises `AssetError`; `target` is then removed.
    """
    digest = hashlib.sha256()
    done = 0
    try:
        with target.open("wb") as sink:
            for archive, part in parts:
                for chunk in _chunks(archive, part.member):
                    done += len(chunk)
                    if done > file.size_bytes:
                        raise AssetError(f"{part}: more than the expected {file.size_bytes} bytes")
                    sink.write(chunk)
                    digest.update(chunk)
                    report(Progress(stage="extract", what=file.name, done_bytes=done, total_bytes=file.size_bytes))
        if done != file.size_bytes:
            raise AssetError(f"{parts[-1][1]}: {done} bytes, expected {file.size_bytes}")
        if digest.hexdigest() != file.sha256:
            raise AssetError(f"{parts[-1][1]}: SHA-256 is {digest.hexdigest()}, expected {file.sha256}")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _chunks(archive: Path, pattern: str) -> Iterator[bytes]:
    """The one member of a wheel or npm tarball whose name matches `pattern`, piece by piece.

    What goes wrong while it is read is the archive's fault; what the reader of the pieces does with them is not seen here.
    """
    damaged = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)
    try:
        with ExitStack() as stack:
            if archive.suffix == ".whl":
                wheel = stack.enter_context(zipfile.ZipFile(archive))
                names = [info.filename for info in wheel.infolist() if not info.is_dir()]
                stream: IO[bytes] | None = wheel.open(_only(names, pattern, archive))
            else:
                tarball = stack.enter_context(tarfile.open(archive, "r:gz"))
                names = [info.name for info in tarball.getmembers() if info.isreg()]
                stream = tarball.extractfile(_only(names, pattern, archive))
            if stream is None:
                raise AssetError(f"{archive.name}: {pattern} is not a file")
            stack.enter_context(stream)
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
    except damaged as error:
        raise AssetError(f"{archive.name} is damaged: {error}") from None


def _only(names: list[str], pattern: str, archive: Path) -> str:
    found = sorted({name for name in names if fnmatch.fnmatchcase(name, pattern)})
    safe = [
        name for name in found if not name.startswith(("/", "\\")) and ".." not in name.replace("\\", "/").split("/")
    ]
    if len(safe) != 1 or names.count(safe[0]) != 1:
        raise AssetError(f"{archive.name}: {pattern!r} must match exactly one member, it matches {safe or 'none'}")
    return safe[0]

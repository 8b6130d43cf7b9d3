"""Where pictures go."""

from pathlib import Path

from fullduplex.base.errors import InputError

__all__ = ["make_folder"]


def make_folder(out: Path | None) -> None:
    """Make the folder named by --out before any work is done.

    Raises: InputError when it cannot be made.
    """
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out is {out}, which cannot be made a folder ({error.strerror})") from error

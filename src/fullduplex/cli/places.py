"""Where results go: made, and found out to be writable, before anything long is computed."""

from pathlib import Path

from fullduplex.base.errors import InputError

__all__ = ["make_folder", "writable"]


def make_folder(folder: Path, option: str = "--out") -> Path:
    """`folder`, which the user named by `option` and which exists now.

    Raises: InputError when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(folder, option, error) from error
    return folder


def writable(path: Path, option: str = "--out") -> Path:
    """The file `path`, which the user named by `option` and which can be written.

    Raises: InputError when nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise _refusal(path, option, error) from error
    return path


def _refusal(path: Path, option: str, error: OSError) -> InputError:
    return InputError(f"{option} is {path}, which cannot be written: {error.strerror}; name another place")

"""Tensors on disk, whole or not at all.

A file is one line of text, `fullduplex-archive 1 <sha256>`, then what `torch.save` wrote. The digest is there because
torch's reader does not check the bytes of a tensor: a flipped bit would load as a wrong number. A write goes to a
neighbour file first and takes the name in one step, so a power cut leaves the old file or the new one. Loading runs
no code from the file (`weights_only`).
"""

import hashlib
import io
import os
import pickle
from pathlib import Path

import torch

from fullduplex.base.errors import FormatError
from fullduplex.base.files import whole_file

__all__ = ["read_archive", "write_archive"]

_MAGIC = b"fullduplex-archive 1 "
_HEADER_BYTES = len(_MAGIC) + 64 + 1


def write_archive(path: Path, payload: dict[str, object]) -> None:
    """Write tensors, numbers, strings and nested dicts, lists, tuples of them to `path`, atomically."""
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    body = buffer.getbuffer()
    with whole_file(path) as neighbour, neighbour.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n")
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def read_archive(path: Path) -> dict[str, object]:
    """What `write_archive` wrote, tensors on the CPU.

    Raises:
        FormatError: the file is of another kind, truncated or damaged, or holds something other than data.
    """
    content = path.read_bytes()
    header, body = content[:_HEADER_BYTES], content[_HEADER_BYTES:]
    if not header.startswith(_MAGIC):
        raise FormatError(f"{path.name} is not a fullduplex archive; expected it to start with {_MAGIC.decode()!r}")
    if header[len(_MAGIC) : -1] != hashlib.sha256(body).hexdigest().encode():
        raise FormatError(f"{path.name} is truncated or damaged: its checksum does not match; restore an older copy")
    try:
        payload = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise FormatError(f"{path.name} cannot be read as plain tensors: {error}") from error
    if not isinstance(payload, dict):
        raise FormatError(f"{path.name} holds a {type(payload).__name__}; expected a dict")
    return payload

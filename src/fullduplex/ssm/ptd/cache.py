"""Perturbations on disk: a search is done once for a matrix and its settings.

A file holds E alone; everything else follows from A and E. Its name is the hash of the matrix, the settings and the
version of the search, so nothing stale is ever read. A file that cannot be read or written costs time and nothing else.
"""

import hashlib
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullduplex.base.files import cache_folder, whole_file
from fullduplex.ssm.ptd.perturb import Ptd, PtdConfig, checked_matrix, finish, ptd

__all__ = ["VERSION", "cached_ptd"]

VERSION = 1  # raise it when the search finds something else for the same settings

_log = logging.getLogger(__name__)


def cached_ptd(
    a_NN: ArrayLike,
    config: PtdConfig | None = None,
    *,
    folder: Path | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Ptd:
    """`fullduplex.ssm.ptd.perturb.ptd`, looked up first.

    Args:
        a_NN: the matrix.
        config: the settings; None for the defaults.
        folder: where to keep results; None for `cache_folder("ptd")`.
        report: called after every step of a search that has to be made.

    Raises:
        InputError, UnstableError: as `ptd`.
    """
    a_NN, config = checked_matrix(a_NN), config or PtdConfig()
    file = (folder or cache_folder("ptd")) / f"{_key(a_NN, config)}.npz"
    kept_NN = _read(file, a_NN)
    if kept_NN is not None:
        return finish(a_NN, kept_NN, config)
    found = ptd(a_NN, config, report=report)
    _write(file, found.e_NN)
    return found


def _key(a_NN: NDArray[Any], config: PtdConfig) -> str:
    digest = hashlib.sha256(f"ptd {VERSION} {a_NN.shape} {a_NN.dtype} {config!r}".encode())
    digest.update(np.ascontiguousarray(a_NN).tobytes())
    return digest.hexdigest()[:32]


def _read(file: Path, a_NN: NDArray[Any]) -> NDArray[Any] | None:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            e_NN = archive["e_NN"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s cannot be read (%s); searching again", file, error)
        return None
    if e_NN.shape != a_NN.shape or e_NN.dtype != a_NN.dtype or not np.all(np.isfinite(e_NN)):
        _log.warning("%s holds something else; searching again", file)
        return None
    return e_NN


def _write(file: Path, e_NN: NDArray[Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as neighbour, neighbour.open("wb") as stream:
            np.savez(stream, e_NN=e_NN)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the result is not kept", file, error)

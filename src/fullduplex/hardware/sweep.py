"""Many independent points through one function: in this process, or on Ray where one machine is not enough."""

import re
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeVar

from fullduplex.base.errors import InputError, MissingExtraError

__all__ = ["run_points"]

P = TypeVar("P")
R = TypeVar("R")
_BATCHES_A_WORKER = 4
_CONNECT_S = 5.0
_PLACE = re.compile(r"(?:ray://)?[^/\s]+:\d{1,5}")


def run_points(
    work: Callable[[P], R],
    points: Sequence[P],
    *,
    ray: str | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[R]:
    """`work` of every point, in the order of `points`.

    Args:
        work: a function of a module (workers import it), without side effects.
        ray: None for this process; "local" starts Ray here with a worker for each core unless it runs already;
            anything else is the address of a cluster, "auto" for the one this machine belongs to.
        progress: called after each point (on Ray: as its batch comes back).

    Raises: MissingExtraError when Ray is asked for and not installed. InputError when the cluster does not answer.
    """
    if ray is None:
        return [_done(work(point), progress) for point in points]
    cluster = _connect(ray)
    workers = max(1, int(cluster.cluster_resources().get("CPU", 1)))
    size = max(1, -(-len(points) // (workers * _BATCHES_A_WORKER)))
    task = cluster.remote(_batch)
    batches = [task.remote(work, points[start : start + size]) for start in range(0, len(points), size)]
    waiting = {reference: index for index, reference in enumerate(batches)}
    found: list[list[R]] = [[] for _ in batches]
    while waiting:
        ready, _ = cluster.wait(list(waiting), num_returns=1)
        for reference in ready:
            index = waiting.pop(reference)
            found[index] = cluster.get(reference)
            for _ in found[index]:
                progress()
    return [result for batch in found for result in batch]


def _batch(work: Callable[[P], R], points: Sequence[P]) -> list[R]:
    return [work(point) for point in points]


def _done(result: R, progress: Callable[[], object]) -> R:
    progress()
    return result


def _connect(address: str) -> Any:
    if address not in ("local", "auto") and not _PLACE.fullmatch(address):
        raise InputError(f"{address!r} is no address of a Ray cluster; give local, auto or HOST:PORT")
    try:
        cluster = import_module("ray")
    except ImportError as error:
        raise MissingExtraError("ray", "sweep") from error
    if cluster.is_initialized():
        return cluster
    try:
        if address == "local":
            cluster.init(include_dashboard=False, log_to_driver=False, logging_level="error")
            return cluster
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
        cluster.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r}: {error}; give local, auto or HOST:PORT, or start one with "
            "`ray start --head`"
        ) from error
    return cluster

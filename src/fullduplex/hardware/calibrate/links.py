"""Measured all-reduces (the CSV files of Vidur's network profiles) as a link: a curve, or the ring that fits it best.

A ring that waits at every hop takes longer the more devices it has; what is measured inside a node hardly depends on their
number up to a megabyte. So a stage may take its all-reduce times from the curve itself.
"""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from fullduplex.base.errors import FormatError, InputError
from fullduplex.hardware.checks import whole
from fullduplex.hardware.device import Link

__all__ = ["fit_ring", "measured_link", "read_all_reduce"]

_SIZE, _MEDIAN = "size", "time_stats.all_reduce.median"
_DEVICES, _IN_NODE = "num_workers", "devices_per_node"
_POINTS = 48

Curve = tuple[tuple[float, float], ...]


def read_all_reduce(path: Path, num_devices: int) -> Curve:
    """(bytes, seconds) of `num_devices` devices of one node, ascending; medians of about a dozen sizes an octave.

    Raises: FormatError for a file that is no such table. InputError when it has no row of so many devices.
    """
    whole(num_devices, 2, "num_devices")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (float(row[_SIZE]), float(row[_MEDIAN]) / 1000, int(row[_DEVICES]), int(row[_IN_NODE]))
                for row in csv.DictReader(file)
            ]
    except KeyError as error:
        raise FormatError(f"{path.name} has no column {error}; expected {_SIZE}, {_MEDIAN}, {_DEVICES}") from error
    except (OSError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name} cannot be read as measured all-reduces: {error}") from error
    found = [(size, time_s) for size, time_s, devices, inside in rows if devices == inside == num_devices]
    if not found:
        known = sorted({devices for _, _, devices, inside in rows if devices == inside})
        raise InputError(f"{path.name} has no all-reduce of {num_devices} devices in a node; it has {known}")
    table = np.array(sorted(found))
    edges = np.unique(np.geomspace(table[0, 0], table[-1, 0] * (1 + 1e-9), _POINTS + 1))
    place = np.searchsorted(edges, table[:, 0], side="right")
    groups = [table[place == index] for index in np.unique(place)]
    return tuple((float(np.median(group[:, 0])), float(np.median(group[:, 1]))) for group in groups)


def measured_link(link: Link, curve: Curve) -> Link:
    """`link` with the all-reduce times of `curve`; everything else on it keeps its latency and bandwidth."""
    return dataclasses.replace(link, all_reduce=curve)


def fit_ring(curve: Curve, num_devices: int) -> tuple[Link, float]:
    """The latency of a hop and the bandwidth with which a ring comes nearest, and its mean relative error.

    2 (P - 1) (hop + bytes / P / bandwidth), least squares of relative errors with both above 0.
    """
    whole(num_devices, 2, "num_devices")
    sizes, times_s = np.array(curve).T
    hops = 2 * (num_devices - 1)
    columns = np.stack([np.full(len(sizes), hops), hops * sizes / num_devices], axis=1) / times_s[:, None]
    hop_s, a_byte_s = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)[0]
    link = Link(bytes_per_s=1 / max(float(a_byte_s), 1e-15), hop_s=max(0.0, float(hop_s)))
    ring_s = hops * (link.hop_s + sizes / num_devices / link.bytes_per_s)
    return link, float(np.abs(ring_s / times_s - 1).mean())

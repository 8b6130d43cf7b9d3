"""A graph of integers: edges with a capacity in either direction, checked once.

Axes: N edges. Edge i is the pair of arcs 2i (tail to head) and 2i + 1 (head to tail).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.base.errors import InputError

__all__ = ["Graph", "check_ends", "make_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes 0 to num_nodes - 1; build one with `make_graph`."""

    num_nodes: int
    tail_N: Int64Array
    head_N: Int64Array
    forward_N: Float64Array
    backward_N: Float64Array

    def arc_heads(self) -> list[int]:
        """Where each arc leads, 2N of them."""
        return np.stack([self.head_N, self.tail_N], axis=1).ravel().tolist()

    def arc_capacities(self) -> list[float]:
        """What each arc carries, 2N of them."""
        return np.stack([self.forward_N, self.backward_N], axis=1).ravel().tolist()

    def arcs_of_nodes(self) -> list[list[int]]:
        """The arcs that leave each node. Self loops are left out: nothing is gained by them."""
        tails = np.stack([self.tail_N, self.head_N], axis=1).ravel()
        order = np.argsort(tails, kind="stable")
        order = order[np.repeat(self.tail_N != self.head_N, 2)[order]]
        ends = np.searchsorted(tails[order], np.arange(self.num_nodes + 1)).tolist()
        arcs = order.tolist()
        return [arcs[start:stop] for start, stop in pairwise(ends)]


def make_graph(
    num_nodes: int,
    tails: Int64Array | list[int],
    heads: Int64Array | list[int],
    forward: Float64Array | list[float],
    backward: Float64Array | list[float],
) -> Graph:
    """A checked graph.

    Args:
        num_nodes: at least 1.
        tails, heads: node numbers, N of each; parallel edges and self loops may occur.
        forward, backward: capacities from tail to head and from head to tail, 0 to inf.

    Raises: InputError for lists of different lengths, a node out of range, a negative capacity or NaN.
    """
    tail_N, head_N = np.asarray(tails, dtype=np.int64), np.asarray(heads, dtype=np.int64)
    forward_N, backward_N = np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)
    if len({tail_N.shape, head_N.shape, forward_N.shape, backward_N.shape}) != 1 or tail_N.ndim != 1:
        shapes = ", ".join(str(array.shape) for array in (tail_N, head_N, forward_N, backward_N))
        raise InputError(f"tails, heads, forward and backward have shapes {shapes}; expected one (N,) for all")
    ends = np.concatenate([tail_N, head_N])
    if num_nodes < 1 or (ends.size and (ends.min() < 0 or ends.max() >= num_nodes)):
        raise InputError(f"an edge ends outside the {num_nodes} nodes; expected node numbers 0 to {num_nodes - 1}")
    capacities = np.concatenate([forward_N, backward_N])
    if not (capacities >= 0).all():
        raise InputError(f"a capacity is {capacities[~(capacities >= 0)][0]}; expected 0 to inf")
    return Graph(num_nodes=num_nodes, tail_N=tail_N, head_N=head_N, forward_N=forward_N, backward_N=backward_N)


def check_ends(graph: Graph, source: int, target: int) -> None:
    """Refuse ends that are no nodes, or the same node.

    Raises: InputError.
    """
    for name, node in (("source", source), ("target", target)):
        if not 0 <= node < graph.num_nodes:
            raise InputError(f"{name} is node {node}; expected 0 to {graph.num_nodes - 1}")
    if source == target:
        raise InputError(f"source and target are the same node {source}; expected two different ends")

"""Maximum flow with the cut that proves it.

Dinic's algorithm (1970) on floating-point capacities: levels by breadth-first search from the sink, then augmenting
paths down the levels until none is left. Every augmentation takes the whole of some arc, whose rest is then exactly 0,
and only the reverses of arcs on the path can become positive, so the search ends as it does in exact arithmetic and
no capacity is too small to count. The value returned is the capacity of the cut, which no flow can exceed; the flow
itself agrees with it up to rounding.

Breadth-first searches look at every arc and run on whole frontiers as arrays; the paths use few arcs, those that lie on
a shortest way from source to sink, and run over lists of these alone.

Axes: A arcs with a capacity, two for every edge, sorted by the node they leave; F a frontier of nodes; D arcs down the
levels.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullduplex.base.arrays import Float64Array, Int64Array
from fullduplex.links.graph import Graph, check_ends
from fullduplex.links.widest import widest_path

__all__ = ["Flow", "max_flow", "max_flow_ref"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A maximum flow and a minimum cut.

    Args:
        value: capacity of the cut; inf when a path of infinite capacity joins the ends.
        flow_N: net flow along each edge, tail to head; zeros when the value is infinite.
        cut: edges that cross from the source's side to the sink's; empty when the value is infinite, or 0 because
            nothing joins the ends.
        source_side: whether each node lies on the source's side.
    """

    value: float
    flow_N: Float64Array
    cut: tuple[int, ...]
    source_side: tuple[bool, ...]


def max_flow(graph: Graph, source: int, target: int) -> Flow:
    """The most that can flow from source to target when every edge is used at once.

    Raises: InputError when an end is no node or both are the same.
    """
    check_ends(graph, source, target)
    capacities = np.concatenate([graph.forward_N, graph.backward_N])
    if np.isinf(capacities).any():
        if widest_path(graph, source, target).width == math.inf:
            everywhere = (True,) * graph.num_nodes
            return Flow(value=math.inf, flow_N=np.zeros(graph.tail_N.size), cut=(), source_side=everywhere)
        # The cut needs no infinite edge, so more than all the finite ones together is as good as infinite.
        graph = _with_ceiling(graph, 2 * float(capacities[np.isfinite(capacities)].sum()))
    return _proven(graph, *_dinic(graph, source, target))


def _proven(graph: Graph, flow_N: Float64Array, reaches_sink: NDArray[np.bool_]) -> Flow:
    """The flow with the capacity of the cut around the nodes that no longer reach the sink."""
    side = ~reaches_sink
    out = side[graph.tail_N] & ~side[graph.head_N]
    back = ~side[graph.tail_N] & side[graph.head_N]
    crossing = np.where(out, graph.forward_N, 0.0) + np.where(back, graph.backward_N, 0.0)
    return Flow(
        value=math.fsum(crossing.tolist()),
        flow_N=flow_N,
        cut=tuple(np.flatnonzero(crossing > 0).tolist()),
        source_side=tuple(side.tolist()),
    )


def _with_ceiling(graph: Graph, most: float) -> Graph:
    return Graph(
        num_nodes=graph.num_nodes,
        tail_N=graph.tail_N,
        head_N=graph.head_N,
        forward_N=np.minimum(graph.forward_N, most),
        backward_N=np.minimum(graph.backward_N, most),
    )


def _dinic(graph: Graph, source: int, target: int) -> tuple[Float64Array, NDArray[np.bool_]]:
    """The net flow along every edge, and which nodes still reach the sink."""
    rest = _Rest(graph)
    while True:
        level = rest.levels(source, target)
        if level[source] < 0:
            return rest.flow(graph), level >= 0
        rest.push(_block(*rest.downhill(level, source), (source, target)))


class _Rest:
    """What is left of every arc, and the two searches over it."""

    def __init__(self, graph: Graph) -> None:
        tails = np.stack([graph.tail_N, graph.head_N], axis=1).ravel()
        order = np.argsort(tails, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        self._order = order
        self.reverse_A: Int64Array = place[order ^ 1]
        self.head_A: Int64Array = np.stack([graph.head_N, graph.tail_N], axis=1).ravel()[order]
        self.left_A: Float64Array = np.stack([graph.forward_N, graph.backward_N], axis=1).ravel()[order]
        self.left_A[self.head_A == tails[order]] = 0.0  # a self loop gains nothing
        self.moved_A: Float64Array = np.zeros(order.size)
        self.first: Int64Array = np.searchsorted(tails[order], np.arange(graph.num_nodes + 1))
        self._down_D: Int64Array = order[:0]
        self._stamp: Int64Array = np.empty(graph.num_nodes, np.int64)

    def _arcs_of(self, node_F: Int64Array, first: Int64Array) -> tuple[Int64Array, Int64Array]:
        """The places from `first[node]` to `first[node + 1]` of all nodes in a row, and where each node's places end."""
        count_F = first[node_F + 1] - first[node_F]
        end_F = count_F.cumsum()
        return (first[node_F + 1] - end_F).repeat(count_F) + np.arange(end_F[-1]), end_F

    def _distinct(self, nodes: Int64Array) -> Int64Array:
        number = np.arange(nodes.size)
        self._stamp[nodes] = number
        return nodes[self._stamp[nodes] == number]

    def levels(self, source: int, target: int) -> Int64Array:
        """Arcs from each node to the sink through what is left; -1 where there is no way, or only one past the source."""
        open_A = self.left_A[self.reverse_A] > 0
        first = np.concatenate([[0], open_A.cumsum()])[self.first]
        head_A = self.head_A[open_A]
        level = np.full(first.size - 1, -1)
        level[target] = distance = 0
        node_F = np.array([target])
        while node_F.size and level[source] < 0:
            distance += 1
            nodes = head_A[self._arcs_of(node_F, first)[0]]
            nodes = nodes[level[nodes] < 0]
            level[nodes] = distance
            node_F = self._distinct(nodes)
        return level

    def downhill(self, level: Int64Array, source: int) -> tuple[list[float], list[int], dict[int, int], dict[int, int]]:
        """The arcs that lie on shortest ways: what is left of each, where it leads, each node's first and last place."""
        open_A = self.left_A > 0
        begin: dict[int, int] = {}
        end: dict[int, int] = {}
        found: list[Int64Array] = []
        total, node_F = 0, np.array([source])
        for below in range(int(level[source]) - 1, -1, -1):
            arcs, end_F = self._arcs_of(node_F, self.first)
            down = open_A[arcs] & (level[self.head_A[arcs]] == below)
            ends = (total + down.cumsum()[end_F - 1]).tolist()
            nodes = node_F.tolist()
            begin.update(zip(nodes, [total, *ends[:-1]], strict=True))
            end.update(zip(nodes, ends, strict=True))
            found.append(arcs[down])
            total = ends[-1]
            node_F = self._distinct(self.head_A[found[-1]])
        self._down_D = np.concatenate(found)
        return self.left_A[self._down_D].tolist(), self.head_A[self._down_D].tolist(), begin, end

    def push(self, changed: tuple[list[float], list[float]]) -> None:
        """Take over what is left of the arcs of `downhill`, and what was moved along each."""
        left_D, moved_D = (np.asarray(values) for values in changed)
        self.left_A[self._down_D] = left_D
        # No arc down the levels is the reverse of another.
        self.left_A[self.reverse_A[self._down_D]] += moved_D
        self.moved_A[self._down_D] += moved_D

    def flow(self, graph: Graph) -> Float64Array:
        """Net flow along every edge."""
        moved = np.empty(self.moved_A.size)
        moved[self._order] = self.moved_A - self.moved_A[self.reverse_A]
        return moved[::2].reshape(graph.tail_N.shape)


def _block(
    left: list[float], heads: list[int], begin: dict[int, int], end: dict[int, int], ends: tuple[int, int]
) -> tuple[list[float], list[float]]:
    """Push until every way down the levels is blocked. Returns what is left of each arc and what was moved along it."""
    source, target = ends
    moved = [0.0] * len(left)
    nodes, path = [source], []
    while nodes:
        node = nodes[-1]
        if node == target:
            emptied = _augment(left, moved, path)
            del nodes[emptied + 1 :], path[emptied:]
            continue
        at, last = begin[node], end[node]
        while at < last and not left[at] > 0:
            at += 1
        begin[node] = at
        if at < last:
            path.append(at)
            nodes.append(heads[at])
        else:
            nodes.pop()  # a dead end: the arc that led here is passed over
            if path:
                begin[nodes[-1]] = path.pop() + 1
    return left, moved


def _augment(left: list[float], moved: list[float], path: list[int]) -> int:
    """Push along `path` as much as it takes; which of its arcs is the first that this empties."""
    amount = min([left[arc] for arc in path])
    emptied = 0
    for position in range(len(path) - 1, -1, -1):
        arc = path[position]
        left[arc] -= amount
        moved[arc] += amount
        if left[arc] == 0:
            emptied = position
    return emptied


def max_flow_ref(graph: Graph, source: int, target: int) -> Flow:
    """The slow twin of `max_flow` for finite capacities: one shortest way after the other (Edmonds and Karp 1972)."""
    heads, left, arcs = graph.arc_heads(), graph.arc_capacities(), graph.arcs_of_nodes()
    moved = [0.0] * graph.tail_N.size
    while True:
        leaves_by: dict[int, int] = {target: -1}  # towards the sink
        waiting = deque([target])
        while waiting:
            node = waiting.popleft()
            for arc in arcs[node]:
                if heads[arc] not in leaves_by and left[arc ^ 1] > 0:
                    leaves_by[heads[arc]] = arc ^ 1
                    waiting.append(heads[arc])
        if source not in leaves_by:
            reaches_sink = np.array([node in leaves_by for node in range(graph.num_nodes)])
            return _proven(graph, np.asarray(moved), reaches_sink)
        path, node = [], source
        while node != target:
            path.append(leaves_by[node])
            node = heads[path[-1]]
        amount = min(left[arc] for arc in path)
        for arc in path:
            left[arc] -= amount
            left[arc ^ 1] += amount
            moved[arc >> 1] += -amount if arc & 1 else amount

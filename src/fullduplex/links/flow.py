"""Maximum flow with the cut that proves it.

Dinic's algorithm (1970) on floating-point capacities: levels by breadth-first search from the sink, then augmenting
paths down the levels until none is left. Every augmentation takes the whole of some arc, whose rest is then exactly 0,
and only the reverses of arcs on the path can become positive, so the search ends as it does in exact arithmetic and
no capacity is too small to count. The value returned is the capacity of the cut, which no flow can exceed; the flow
itself agrees with it up to rounding.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from fullduplex.base.arrays import Float64Array
from fullduplex.links.graph import Graph, check_ends
from fullduplex.links.widest import widest_path

__all__ = ["Flow", "max_flow"]


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
    moved, reaches_sink = _dinic(graph, source, target)
    side = ~np.asarray(reaches_sink)
    out = side[graph.tail_N] & ~side[graph.head_N]
    back = ~side[graph.tail_N] & side[graph.head_N]
    crossing = np.where(out, graph.forward_N, 0.0) + np.where(back, graph.backward_N, 0.0)
    return Flow(
        value=math.fsum(crossing.tolist()),
        flow_N=np.asarray(moved),
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


def _dinic(graph: Graph, source: int, target: int) -> tuple[list[float], list[bool]]:
    """The net flow along every edge, and which nodes still reach the sink."""
    heads, left, arcs = graph.arc_heads(), graph.arc_capacities(), graph.arcs_of_nodes()
    moved = [0.0] * graph.tail_N.size
    while True:
        level = _levels(heads, left, arcs, source, target)
        if level[source] < 0:
            return moved, [distance >= 0 for distance in level]
        _block(heads, left, arcs, level, moved, (source, target))


def _levels(heads: list[int], left: list[float], arcs: list[list[int]], source: int, target: int) -> list[int]:
    """Edges from each node to the sink through what is left; -1 where there is no way, or only one past the source."""
    level = [-1] * len(arcs)
    level[target] = 0
    waiting = deque([target])
    while waiting:
        node = waiting.popleft()
        if node == source:
            break  # whatever is farther from the sink is on no shortest way
        farther = level[node] + 1
        for arc in arcs[node]:
            there = heads[arc]
            if level[there] < 0 and left[arc ^ 1] > 0:
                level[there] = farther
                waiting.append(there)
    return level


def _block(
    heads: list[int],
    left: list[float],
    arcs: list[list[int]],
    level: list[int],
    moved: list[float],
    ends: tuple[int, int],
) -> None:
    """Push until every way down the levels is blocked."""
    source, target = ends
    unseen = [0] * len(arcs)  # the first arc of each node that may still be open
    path: list[int] = []
    node = source
    while True:
        if node == target:
            node = _augment(heads, left, moved, path)
            continue
        mine, at, below = arcs[node], unseen[node], level[node] - 1
        while at < len(mine) and not (left[mine[at]] > 0 and level[heads[mine[at]]] == below):
            at += 1
        unseen[node] = at
        if at < len(mine):
            path.append(mine[at])
            node = heads[mine[at]]
        elif path:
            level[node] = len(arcs)  # a dead end: no node looks for this level
            node = heads[path.pop() ^ 1]
        else:
            return


def _augment(heads: list[int], left: list[float], moved: list[float], path: list[int]) -> int:
    """Push along `path`, cut it at the first arc this empties, and return the node to go on from."""
    amount = min(left[arc] for arc in path)
    emptied = 0
    for position in range(len(path) - 1, -1, -1):
        arc = path[position]
        left[arc] -= amount
        left[arc ^ 1] += amount
        moved[arc >> 1] += -amount if arc & 1 else amount
        if left[arc] == 0:
            emptied = position
    node = heads[path[emptied] ^ 1]
    del path[emptied:]
    return node
